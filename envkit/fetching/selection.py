"""Which of a pin's files is the one for an interpreter, as pip would choose it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from envkit import interpreter, process
from envkit.errors import UsageError
from envkit.fetching.pages import Link
from envkit.interpreter import Interpreter
from envkit.locks.lock import Pin
from envkit.locks.names import normalize
from envkit.store import digest
from envkit.store.layout import write_whole
from envkit.versions import is_pinned

# Run by the interpreter itself, with the folder of the library `packaging`; prints a list.
TAGS = """
import json, sys
sys.path.append(sys.argv[1])
from packaging.tags import sys_tags
print(json.dumps([str(tag) for tag in sys_tags()]))
"""


def ranks(python: Interpreter, cache: Path) -> Mapping[str, int]:
    """Return the tags of the wheels that an interpreter can use, the best one with rank 0.

    Source: platform compatibility tags (PyPA; PEP 425).

    Args:
        python: the interpreter.
        cache: a folder in which answers are kept.

    Returns:
        Tag, as in "py3-none-any", -> rank; nothing where the interpreter is too old to be asked.
    """
    import packaging

    folder = str(Path(packaging.__file__).parents[1])
    remembered = _remembered(python, cache)
    try:
        tags = json.loads(remembered.read_bytes())
        known = isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)
    except (OSError, ValueError, RecursionError):
        known = False
    if not known:
        completed = process.run([python.executable, "-I", "-S", "-c", TAGS, folder], cwd=Path("/"))
        if completed.returncode:
            return {}
        tags = json.loads(completed.stdout)
        write_whole(remembered, json.dumps(tags))
    return {tag: rank for rank, tag in enumerate(tags)}


def remember(python: Interpreter, tags: Sequence[str], cache: Path) -> None:
    """Keep the tags of an interpreter that is not on this machine, for `ranks` to return."""
    cache.mkdir(parents=True, exist_ok=True)
    write_whole(_remembered(python, cache), json.dumps(tags))


def _remembered(python: Interpreter, cache: Path) -> Path:
    import packaging

    text = f"{python.compatibility} {packaging.__version__}".encode()
    return cache / f"tags-{digest.sha256_of(text)[:24]}.json"


def best(
    pin: Pin, links: Iterable[Link], ranked: Mapping[str, int], python: Interpreter
) -> Link | None:
    """Return the wheel that is to be installed for a pin.

    Args:
        pin: the pin; only files with one of its hashes come into question.
        links: the files that there are.
        ranked: what `ranks` returned.
        python: the interpreter.

    Returns:
        None where there is no wheel that the interpreter can use, or that the lock allows.
    """
    found = []
    for link in links:
        allowed = link.sha256 in pin.hashes and pin.form != "sdist"
        if allowed and _is_wheel_of(link.name, pin):
            rank, build = _rank(link.name, ranked)
            if rank is not None and _is_for(python.version, link.requires_python):
                found.append((-rank, build, link))
    return max(found, key=lambda one: one[:2])[2] if found else None


def in_folder(folder: str, pin: Pin) -> list[Link]:
    """Return the wheels of a pin that lie in a folder, their digests taken."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return [
        Link(name, Path(folder, name).as_uri(), digest.sha256(Path(folder, name)), "")
        for name in names
        if name.endswith(".whl") and normalize(name.partition("-")[0]) == pin.name
    ]


def _is_wheel_of(name: str, pin: Pin) -> bool:
    """Return whether a file is, by its name, a wheel of the version that is pinned.

    A lock in which somebody changed a version and left the hash is an error, which pip reports.
    """
    return name.endswith(".whl") and is_pinned(f"{name}--".split("-")[1], pin.version)


def _is_for(version: str, requires_python: str) -> bool:
    try:
        return interpreter.satisfies(version, requires_python.strip())
    except UsageError:
        return True  # pip, too, takes no notice of what is no specifier set, as in `>=3.6.*`


def _rank(name: str, ranked: Mapping[str, int]) -> tuple[int | None, tuple[int, str]]:
    """Return the best rank of a wheel's tags, None if none fits, and its build number.

    Source: the binary distribution format (PyPA), "File name convention".
    """
    parts = name.removesuffix(".whl").split("-")
    if len(parts) not in (5, 6):
        return None, (0, "")
    number = parts[2] if len(parts) == 6 else ""
    digits = number[: len(number) - len(number.lstrip("0123456789"))]
    tags = (
        f"{python}-{abi}-{platform}"
        for python in parts[-3].split(".")
        for abi in parts[-2].split(".")
        for platform in parts[-1].split(".")
    )
    known = [ranked[tag] for tag in tags if tag in ranked]
    return min(known, default=None), (int(digits or 0), number)
