"""Which files of a folder are in a build context: it is walked once, and only where it must be."""

from __future__ import annotations

import os
from collections.abc import Iterable

from envkit.contexts import ignore, reading
from envkit.errors import UsageError

# What is left out whatever `.dockerignore` says: the history, and what tools can make again.
NEVER = frozenset(
    (
        *(b".git", b"__pycache__", b".mypy_cache", b".pytest_cache", b".ruff_cache"),
        *(b".hypothesis", b".ipynb_checkpoints", b".tox", b".nox"),
    )
)


def walk(
    root: bytes, rules: ignore.Rules, never: Iterable[bytes]
) -> list[tuple[bytes, os.stat_result]]:
    """Return the name and status of all that is kept, in the order of the bytes of the names.

    So a folder comes before what is in it, which is kept as well where a rule takes back what is in
    a folder that is left out. Other folders that are left out are not opened.

    Args:
        root: the folder.
        rules: what is left out.
        never: paths in it that are left out whatever the rules say.

    Raises:
        UsageError: there is no such folder.
        RefusedError: the system refuses.
    """
    return _Walk(root, rules, frozenset(never)).run()


class _Walk:
    def __init__(self, root: bytes, rules: ignore.Rules, never: frozenset[bytes]) -> None:
        self._root = root
        self._rules = rules
        self._never = never
        self._found: dict[bytes, os.stat_result] = {}
        # Folders that are left out unless something in them is not.
        self._aside: dict[bytes, os.stat_result] = {}
        self._left: list[tuple[bytes, ignore.State]] = []

    def run(self) -> list[tuple[bytes, os.stat_result]]:
        self._enter(b"", self._rules.start)
        while self._left:
            name, state = self._left.pop()
            self._enter(name, state)
        return sorted(self._found.items())

    def _enter(self, name: bytes, state: ignore.State) -> None:
        path = os.path.join(self._root, name) if name else self._root
        prefix = name + b"/" if name else b""
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    self._judge(entry, prefix + entry.name, state)
        except PermissionError as error:
            if name not in self._aside:
                raise reading.refused(error, error.filename or path, name) from None
        except OSError as error:
            if not reading.has_gone(error):
                raise reading.refused(error, path, name) from None
            if not name:
                raise UsageError(f"{os.fsdecode(path)} is not a folder") from None

    def _judge(self, entry: os.DirEntry[bytes], name: bytes, state: ignore.State) -> None:
        if entry.name in NEVER or name in self._never:
            return
        path = name.decode("utf-8", "surrogateescape")
        ignored, below = self._rules.judge(path, state)
        is_folder = entry.is_dir(follow_symlinks=False)
        if ignored and not (is_folder and self._rules.may_take_back(path, below)):
            return
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
        if is_folder:
            self._left.append((name, below))
        if ignored:
            self._aside[name] = status
        else:
            self._keep(name, status)

    def _keep(self, name: bytes, status: os.stat_result) -> None:
        self._found[name] = status
        while (name := name.rpartition(b"/")[0]) in self._aside:
            self._found[name] = self._aside.pop(name)
