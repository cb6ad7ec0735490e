"""The wheels of locks, downloaded once, and an index on loopback that all ways fetch them from."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from benchmarks.locks import Lock, LockError
from tests.support.index import Index

_LIMIT = 1800.0


def bring(
    locks: Iterable[Lock],
    folder: Path,
    *,
    python: str,
    env: Mapping[str, str],
    say: Callable[[str], None],
) -> None:
    """Download what locks name, for ``python``, with the settings that its pip has.

    Raises:
        LockError: pip cannot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for lock in locks:
        text = (lock.folder / "requirements.txt").read_text()
        mark = folder / f"{lock.name}.txt"
        if mark.exists() and mark.read_text() == text:
            continue
        say(f"downloading the wheels of {lock.name}")
        options = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--quiet"]
        files = ["--dest", str(folder), "-r", str(lock.folder / "requirements.txt")]
        done = subprocess.run(
            [python, "-m", "pip", "download", *options, *files],
            check=False,
            capture_output=True,
            text=True,
            env=dict(env),
            timeout=_LIMIT,
        )
        if done.returncode != 0:
            raise LockError(f"the wheels of {lock.name}: {done.stderr.strip()[-400:]}")
        mark.write_text(text)


def publish(folder: Path, index: Index) -> dict[str, int]:
    """Let an index have all wheels of a folder; return the bytes of each distribution's largest."""
    from packaging.utils import parse_wheel_filename

    sizes: dict[str, int] = {}
    for path in sorted(folder.glob("*.whl")):
        index.publish(path)
        name = str(parse_wheel_filename(path.name)[0])
        sizes[name] = max(sizes.get(name, 0), path.stat().st_size)
    return sizes
