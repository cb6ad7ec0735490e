"""What git knows of a project's files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from envkit import process
from envkit.errors import MissingError, UsageError

# git-status(1), "Porcelain Format Version 2".
_COMMIT = "# branch.oid "

# A user's name, and perhaps a password, in a URL. (`git@host:path` has no scheme, and no secret.)
_CREDENTIALS = re.compile(r"^([a-z+]+://)[^/@]*@")

# The separators of fields and of commits: they cannot be in a subject (git-log(1), %x).
_FIELD, _END = "\x1f", "\x1e"


class Commit(NamedTuple):
    """A commit: its hash in full, its date as YYYY-MM-DD, the first line of its message."""

    revision: str
    date: str
    subject: str


def resolve(root: Path, revision: str) -> str:
    """Return the hash of the commit that a revision names (gitrevisions(7)).

    Raises:
        UsageError: the folder is in no repository, or the revision names no commit in it.
        MissingError: there is no git.
    """
    command = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"]
    done = _git(root, command)
    if done.returncode:
        _refuse_outside(root)
        raise UsageError(
            f"{revision!r} names no commit in this repository",
            "`envkit history` lists the commits that changed a lock.",
        )
    return done.stdout.strip()


def show(root: Path, commit: str, name: str) -> str | None:
    """Return what a file of a folder held in a commit; None if it was not there.

    Args:
        root: the folder.
        commit: the commit's hash.
        name: the file's name in the folder.
    """
    done = _git(root, ["cat-file", "blob", f"{commit}:./{name}"])
    return None if done.returncode else done.stdout


def log(root: Path, names: Sequence[str], limit: int) -> Iterator[Commit]:
    """Yield the commits that changed some files of a folder, the newest first; none without git.

    Args:
        root: the folder.
        names: the files' names in it.
        limit: how many commits at most.
    """
    form = f"--format=%H{_FIELD}%cs{_FIELD}%s{_END}"
    try:
        done = _git(root, ["log", f"--max-count={limit}", form, "--", *names])
    except MissingError:
        return
    if done.returncode == 0:
        for record in done.stdout.split(_END)[:-1]:
            revision, date, subject = record.strip().split(_FIELD)
            yield Commit(revision, date, subject)


class Source(NamedTuple):
    """Where a folder's files are from.

    Attributes:
        revision: the commit's hash, followed by "-dirty" where tracked files were changed since.
        url: where the repository was cloned from, without credentials; empty if it was not.
    """

    revision: str
    url: str


def source(root: Path) -> Source | None:
    """Return where a folder's files are from; None where no repository has a commit of them."""
    try:
        about = _git(root, ["status", "--porcelain=v2", "--branch", "--untracked-files=no"])
        lines = about.stdout.splitlines()
        revision = next((line.split()[2] for line in lines if line.startswith(_COMMIT)), "")
        if about.returncode or revision in {"", "(initial)"}:
            return None
        changed = any(not line.startswith("#") for line in lines)
        remote = _git(root, ["remote", "get-url", "origin"])
    except MissingError:
        return None
    url = "" if remote.returncode else remote.stdout.strip()
    return Source(revision + ("-dirty" if changed else ""), _CREDENTIALS.sub(r"\1", url))


def ignores(root: Path, path: str) -> bool | None:
    """Return whether git pays no heed to a path; None where there is no repository, or no git.

    Args:
        root: a folder.
        path: relative to it.
    """
    try:
        code = _git(root, ["check-ignore", "--quiet", "--no-index", path]).returncode
    except MissingError:
        return None
    return {0: True, 1: False}.get(code)


def _refuse_outside(root: Path) -> None:
    done = _git(root, ["rev-parse", "--is-inside-work-tree"])
    if done.returncode:
        raise UsageError(f"{root}: git cannot be asked: {done.last_lines(1)}")


def _git(root: Path, arguments: Sequence[str]) -> process.Completed:
    return process.run(["git", "-C", str(root), "--no-pager", *arguments])
