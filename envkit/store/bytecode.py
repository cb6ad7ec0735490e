"""Byte-code of the store's entries: compiled once, linked into every environment.

The files are hash-based and unchecked (PEP 552): the store's sources never change, so that no
interpreter needs to look at them, and the same source gives the same bytes everywhere.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from envkit import process, refusals
from envkit.store import manifest
from envkit.store.layout import Store, publish
from envkit.store.manifest import SITE, TREE, File, Folders, Manifest

_WORKER = Path(__file__).with_name("bytecode_worker.py")

# Fewer bytes of source than this are not worth a process of their own.
_WORTH_A_PROCESS = 1_000_000


class Live(NamedTuple):
    """An environment in use, to be given byte-code as it is made.

    Attributes:
        site: the path of its site-packages.
        mutex: the file to hold a lock on meanwhile.
        witness: a file of the environment that any installation replaces.
        state: the witness's inode and mtime in ns, as they are now.
    """

    site: str
    mutex: str
    witness: str
    state: tuple[int, int]


def find(store: Store, source: str, kind: str) -> str:
    """Return the folder of an entry's byte-code for a kind of interpreter; empty without it."""
    place = f"{store.bytecode}/{os.path.basename(source)}-{kind}"
    return place if os.path.isdir(place) else ""


def entry(store: Store, source: str, kind: str) -> Path:
    """Return where the byte-code of an entry is kept, once it has been compiled.

    Args:
        store: the store.
        source: the folder of the entry.
        kind: the interpreter's cache tag and magic number, which decide the form of byte-code.
    """
    return store.bytecode / f"{os.path.basename(source)}-{kind}"


def compile_all(
    store: Store,
    sources: Sequence[str],
    *,
    executable: str,
    kind: str,
    idle: bool = False,
    first: Sequence[str] = (),
    live: Live | None = None,
) -> None:
    """Compile entries of the store, with as many processes as there are processors.

    Args:
        store: the store.
        sources: the folders of the entries, none of which has byte-code yet.
        executable: the interpreter to compile with.
        kind: its cache tag and magic number, joined by a hyphen.
        idle: leave a processor to whoever else wants one.
        first: folders among the sources whose packages are compiled before the others, each with
            what it imports, in the order of the imports.
        live: an environment whose sources these are, to be given each file at once.

    Raises:
        ToolError: the interpreter failed.
        OSError: the disk refuses.
    """
    wheels = {source: manifest.folders(source) for source in sources}
    with store.temporary() as folder:
        ranked: list[tuple[tuple[bool, bool, int], str]] = []
        for source, folders in wheels.items():
            draft = folder / os.path.basename(source)
            draft.mkdir()
            for line in _plan(source, folders, draft, tag=kind.rpartition("-")[0]):
                # What few people import comes last: tests, what others need, what lies deep.
                path = line.partition("\t")[0]
                rank = "/tests/" in path, source not in first, path.count("/")
                ranked.append((rank, line))
        lines = [line for _, line in sorted(ranked, key=lambda one: one[0])]
        roots = [root for source in wheels if source in first for root in _roots(wheels[source])]
        size = sum(file.size for folders in wheels.values() for _, file in manifest.files(folders))
        # Whoever imports meanwhile is left a processor.
        processors = max(1, (os.cpu_count() or 1) - idle)
        workers = max(1, min(processors, size // _WORTH_A_PROCESS))
        _run(executable, lines, workers, roots=roots, live=live)
        for source in wheels:
            draft = folder / os.path.basename(source)
            _describe(source, draft)
            publish(draft, entry(store, source, kind))


def _plan(entry: str, folders: Folders, draft: Path, tag: str) -> Iterator[str]:
    """Yield a worker's lines for an entry."""
    for folder, files in folders.items():
        sources = [file.name for file in files if file.name.endswith(".py")]
        if folder.partition("/")[0] != SITE or not sources:
            continue
        cache = f"{draft}/{TREE}/{folder}/__pycache__"
        below = folder.partition("/")[2]
        for name in sources:
            source = f"{entry}/{TREE}/{folder}/{name}"
            shown = f"{below}/{name}" if below else name
            yield f"{source}\t{cache}/{name[:-3]}.{tag}.pyc\t{shown}\n"


def _roots(folders: Folders) -> Iterator[str]:
    """Yield the places of an entry's packages and modules at the top level."""
    for folder, files in folders.items():
        scheme, _, below = folder.partition("/")
        if scheme == SITE and "/" not in below:
            for file in files:
                if file.name == "__init__.py" or (not below and file.name.endswith(".py")):
                    yield f"{below}/{file.name}" if below else file.name


def _run(
    executable: str,
    lines: Sequence[str],
    workers: int,
    *,
    roots: Sequence[str],
    live: Live | None,
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def work(worker: int) -> None:
        settings = {
            "roots": list(roots),
            # The lock that linking takes would keep two of them from each other.
            "live": live._asdict() if live and worker == 0 else None,
            "worker": worker,
            "workers": workers,
        }
        completed = process.run(
            [executable, "-s", "-S", str(_WORKER)],
            # The order of a set, and with it the bytes, depends on the seed of string hashes.
            env={**kept, "PYTHONHASHSEED": "0"},
            stdin=json.dumps(settings) + "\n" + "".join(lines),
        )
        if completed.stdout:
            raise refusals.from_json(json.loads(completed.stdout))
        if completed.returncode:
            raise process.failure(completed, "Compiling to byte-code failed")

    if not lines:
        return
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, range(workers)))


def _describe(source: str, draft: Path) -> None:
    """Write what the byte-code that was made for an entry consists of."""
    wheel = manifest.read(source)
    folders = {}
    tree = f"{draft}/{TREE}"
    for parent, _, names in os.walk(tree):
        if names:
            files = [_file(parent, name) for name in sorted(names)]
            folders[os.path.relpath(parent, tree)] = tuple(files)
    about = Manifest(path=str(draft), name=wheel.name, version=wheel.version)
    manifest.write(str(draft), about, dict(sorted(folders.items())))


def _file(folder: str, name: str) -> File:
    with open(f"{folder}/{name}", "rb") as file:
        os.fchmod(file.fileno(), 0o444)
        status = os.fstat(file.fileno())
        sha256 = hashlib.sha256(file.read()).hexdigest()
    return File(
        name=name,
        executable=False,
        size=status.st_size,
        mtime=status.st_mtime_ns,
        inode=status.st_ino,
        sha256=sha256,
    )
