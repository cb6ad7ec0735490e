"""Byte-code of the store's entries: compiled once, linked into every environment.

The files are hash-based and unchecked (PEP 552): the store's sources never change, so that no
interpreter needs to look at them, and the same source gives the same bytes everywhere.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from envkit import process
from envkit.store import manifest
from envkit.store.layout import Store, publish
from envkit.store.manifest import SITE, TREE, File, Manifest

_WORKER = Path(__file__).with_name("bytecode_worker.py")


def entry(store: Store, source: str, kind: str) -> Path:
    """Return where the byte-code of an entry is kept, once it has been compiled.

    Args:
        store: the store.
        source: the folder of the entry.
        kind: the interpreter's cache tag and magic number, which decide the form of byte-code.
    """
    return store.bytecode / f"{os.path.basename(source)}-{kind}"


def compile_all(
    store: Store, sources: Sequence[str], *, executable: str, kind: str, idle: bool
) -> None:
    """Compile entries of the store, as many at once as there are processors.

    Args:
        store: the store.
        sources: the folders of the entries; those compiled already cost nothing.
        executable: the interpreter to compile with.
        kind: its cache tag and magic number, joined by a hyphen.
        idle: leave the processors to whoever else wants them.

    Raises:
        ToolError: the interpreter failed.
    """
    from concurrent.futures import ThreadPoolExecutor

    with store.temporary() as folder, ThreadPoolExecutor(os.cpu_count() or 1) as pool:

        def compile_one(number: int, source: str) -> None:
            wheel = manifest.read(source)
            if wheel:
                draft = folder / str(number)
                compile_entry(
                    store, wheel, executable=executable, kind=kind, draft=draft, idle=idle
                )

        list(pool.map(compile_one, range(len(sources)), sources))


def compile_entry(
    store: Store, wheel: Manifest, *, executable: str, kind: str, draft: Path, idle: bool
) -> Manifest:
    """Compile an entry's sources and return its byte-code, which is then in the store.

    Args:
        store: the store.
        wheel: the entry.
        executable: the interpreter to compile with.
        kind: its cache tag and magic number, joined by a hyphen.
        draft: a path on the store's filesystem to make it at.
        idle: leave the processors to whoever else wants them.

    Raises:
        ToolError: the interpreter failed.
    """
    place = entry(store, wheel.path, kind)
    known = manifest.read(str(place))
    if known:
        return known
    lines, targets = _plan(wheel, draft, tag=kind.rpartition("-")[0])
    for folder in targets:
        os.makedirs(os.path.join(draft, TREE, folder), exist_ok=True)
    draft.mkdir(exist_ok=True)
    if lines:
        nice = ["nice", "-n", "10"] if idle else []
        process.check(
            [*nice, executable, "-s", "-S", str(_WORKER)],
            what=f"Compiling {wheel.name} failed",
            # A set's order, and with it the bytes, depends on the seed of the string hashes.
            env=_clean_environment(),
            stdin="".join(lines),
        )
    compiled = Manifest(
        path=str(place),
        name=wheel.name,
        version=wheel.version,
        folders={
            folder: tuple(sorted(found))
            for folder, names in targets.items()
            if (found := _described(os.path.join(draft, TREE, folder), names))
        },
    )
    compiled.write(str(draft))
    publish(draft, place)
    return compiled


def _plan(wheel: Manifest, draft: Path, tag: str) -> tuple[list[str], Mapping[str, list[str]]]:
    """Return the worker's input, and the files that it may make by their folder."""
    lines: list[str] = []
    targets: dict[str, list[str]] = {}
    for folder, file in wheel.files():
        if folder.partition("/")[0] != SITE or not file.name.endswith(".py"):
            continue
        cache, name = f"{folder}/__pycache__", f"{file.name[:-3]}.{tag}.pyc"
        targets.setdefault(cache, []).append(name)
        source = os.path.join(wheel.path, TREE, folder, file.name)
        target = os.path.join(draft, TREE, cache, name)
        shown = f"{folder}/{file.name}".partition("/")[2]
        lines.append(f"{source}\t{target}\t{shown}\n")
    return lines, targets


def _described(folder: str, names: list[str]) -> list[File]:
    found = []
    for name in names:
        try:
            with open(os.path.join(folder, name), "rb") as file:
                os.fchmod(file.fileno(), 0o444)
                status = os.fstat(file.fileno())
                digest = hashlib.sha256(file.read()).hexdigest()
        except FileNotFoundError:
            continue
        found.append(
            File(
                name=name,
                executable=False,
                size=status.st_size,
                mtime=status.st_mtime_ns,
                inode=status.st_ino,
                sha256=digest,
            )
        )
    return found


def _clean_environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "PYTHONHASHSEED": "0"}
