"""The skeleton: what virtualenv makes of an interpreter, before anything is installed."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

from envkit import process
from envkit.environment.tree import Layout, Leaf, Pointed, Written
from envkit.interpreter import Interpreter
from envkit.store.layout import Store, publish

# What a stored skeleton calls its environment, until it is put into one. Like the paths that it
# gives way to, it needs no quoting in any shell.
_PLACE = "/envkit-skeleton/place/.venv"
_PROMPT = "envkit-skeleton-prompt"


class Skeleton(NamedTuple):
    """The part that makes a folder a virtual environment.

    Attributes:
        entry: the folder of the stored skeleton.
        interpreter: the Python that it is for.
        changes: what stands in the stored files, and what stands for it in the environment's.
    """

    entry: str
    interpreter: Interpreter
    changes: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        return "virtualenv-skeleton"

    @property
    def version(self) -> str:
        return ""

    @property
    def compiled(self) -> str:
        return ""

    @property
    def source(self) -> str:
        return " ".join(
            [self.name, os.path.basename(self.entry), *(new for _, new in self.changes)]
        )

    def leaves(self, layout: Layout) -> Iterator[tuple[str, dict[str, Leaf]]]:
        # Made beforehand, so that the first import of a top-level module leaves site-packages be.
        yield f"{layout.site}/__pycache__", {}
        for parent, folders, names in os.walk(self.entry):
            names += [name for name in folders if os.path.islink(f"{parent}/{name}")]
            folder = os.path.relpath(parent, self.entry)
            yield (
                "" if folder == "." else folder,
                {name: _leaf(os.path.join(parent, name), self.changes) for name in names},
            )


def make(store: Store, interpreter: Interpreter, location: str, prompt: str) -> Skeleton:
    """Return the part that makes a folder a virtual environment.

    Args:
        store: keeps the skeleton of each interpreter.
        interpreter: the Python that it is for.
        location: the path that the environment will have, absolute.
        prompt: what activation shows.

    Raises:
        ToolError: virtualenv failed.
    """
    changes = _changes(location, prompt)
    (place, _), (shown, _) = changes
    return Skeleton(str(_stored(store, interpreter, place, shown)), interpreter, changes)


def again(
    store: Store, interpreter: Interpreter, location: str, prompt: str, source: str
) -> Skeleton | None:
    """Return the part that has a source, whichever virtualenv made it; None if it is not there.

    Args:
        store: the store.
        interpreter: the Python that it is for.
        location: as for `make`.
        prompt: as for `make`.
        source: what the part said of itself.
    """
    entry = store.skeletons / source.split(" ")[1]
    found = Skeleton(str(entry), interpreter, _changes(location, prompt))
    return found if found.source == source and entry.is_dir() else None


def _changes(location: str, prompt: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return what stands in stored files for a location and a prompt, each with what it is."""
    if _needs_no_quotes(location) and _needs_no_quotes(prompt):
        return (_PLACE, location), (_PROMPT, prompt)
    # Each shell quotes in its own way, which virtualenv knows.
    return (location, location), (prompt, prompt)


def _needs_no_quotes(text: str) -> bool:
    """Return whether a text stands for itself in every shell."""
    return bool(re.fullmatch(r"[A-Za-z0-9_@%+=:,./-]+", text))


def _leaf(path: str, changes: Iterable[tuple[str, str]]) -> Leaf:
    if os.path.islink(path):
        return Pointed(os.readlink(path))
    with open(path, "rb") as file:
        content = file.read()
        executable = bool(os.fstat(file.fileno()).st_mode & stat.S_IXUSR)
    for old, new in changes:
        content = content.replace(os.fsencode(old), os.fsencode(new))
    return Written(content, executable)


def _stored(store: Store, interpreter: Interpreter, place: str, prompt: str) -> Path:
    """Return the folder of a skeleton whose files name `place`, making it if need be."""
    identity = "\0".join(
        [interpreter.executable, str(interpreter.modified), virtualenv_state(), place, prompt]
    )
    entry = store.skeletons / hashlib.sha256(os.fsencode(identity)).hexdigest()[:24]
    if entry.is_dir():
        return entry
    with store.temporary() as folder:
        # virtualenv writes its target's path into the scripts. It is given one that ends in the
        # path that is meant, and what comes before, which needs no quoting, is taken out again.
        root = folder / "root"
        target = Path(f"{root}{place}")
        process.check(
            [
                *(sys.executable, "-m", "virtualenv", "--quiet", "--no-seed"),
                *("--python", interpreter.executable, "--prompt", prompt, str(target)),
            ],
            what=f"virtualenv could not make an environment for {interpreter.executable}",
            # Python looks for modules in the folder that it is started in.
            cwd=folder,
        )
        for parent, _, names in os.walk(target):
            for name in names:
                path = Path(parent, name)
                if not path.is_symlink():
                    _clean(path, str(root))
        publish(target, entry)
    return entry


def _clean(path: Path, root: str) -> None:
    content = path.read_bytes().replace(os.fsencode(root), b"")
    if path.name == "pyvenv.cfg":
        # The command that made it differs between machines, and nothing reads it.
        lines = content.splitlines(keepends=True)
        content = b"".join(line for line in lines if not line.startswith(b"command ="))
    path.write_bytes(content)


def virtualenv_state() -> str:
    """Return what tells one installed virtualenv from another.

    It is found without being imported, which would take longer than all else in an installation.
    """
    found = PathFinder.find_spec("virtualenv")
    origin = found.origin if found and found.origin else ""
    return f"{origin} {os.stat(origin).st_mtime_ns if origin else 0}"
