"""Files of a project, written whole beside those that they are to replace, then renamed.

A command that is killed leaves its drafts. The kernel holds a lock on each for as long as its
command lives, so that the next command knows which of them to take away.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

_MARK = ".envkit-"


def replace(contents: Mapping[Path, bytes], *, executable: bool = False) -> None:
    """Write files, in the places of those that may be there, whose modes they get.

    All drafts are there before the first is renamed: what fails for want of room fails before.

    Args:
        contents: path -> content.
        executable: whether a file that is not there yet is made executable.

    Raises:
        OSError: the disk refuses; it names the file that was to be written.
    """
    with ExitStack() as stack:
        drafts: list[tuple[Path, Path]] = []
        for path, content in contents.items():
            with _about(path):
                _sweep(path)
                draft = stack.enter_context(_draft(path))
                draft.write_bytes(content)
                if path.exists():
                    draft.chmod(path.stat().st_mode & 0o7777)
                elif executable:
                    draft.chmod(0o755)
                drafts.append((draft, path))
        for draft, path in drafts:
            with _about(path):
                draft.replace(path)


@contextmanager
def _about(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """Lend the place of a draft, which is taken away if it is still there at the end."""
    draft = path.with_name(f".{path.name}{_MARK}{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        # Without locks on this filesystem, what is left is left for good.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield draft
    finally:
        draft.unlink(missing_ok=True)
        os.close(descriptor)


def _sweep(path: Path) -> None:
    """Take away the drafts of commands that do not live any more."""
    beginning = f".{path.name}{_MARK}"
    for name in os.listdir(path.parent):
        if not name.startswith(beginning):
            continue
        with contextlib.suppress(OSError), open(path.with_name(name), "rb") as left:
            fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(left.name)
