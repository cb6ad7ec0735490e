"""Where things stand in the store, and how they come to stand there: whole, or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

from envkit import mutex, refusals
from envkit.errors import EnvkitError, UsageError
from envkit.procfs import user_name
from envkit.store import unsynced


@cache
def _bucket(root: Path, name: str) -> Path:
    """Return the folder of a bucket that is asked for once a distribution."""
    return root / name


class Store(NamedTuple):
    """A folder of versioned buckets, whose entries appear by one rename and never change.

    A bucket's number is raised when the form of its entries changes, so that two versions of
    envkit can share a store.

    Attributes:
        root: the folder.
    """

    root: Path

    @property
    def wheels(self) -> Path:
        """Unpacked wheels, each under the sha256 of its archive."""
        return self.root / "wheels-v1"

    @property
    def builds(self) -> Path:
        """Wheels built here, each under the sha256 of its sdist and what it was built for."""
        return self.root / "builds-v1"

    def places(self, name: str) -> tuple[str, str]:
        """Return where an entry of this name can be, one that has a distribution."""
        return f"{self.wheels}/{name}", f"{self.builds}/{name}"

    def entries(self) -> list[Path]:
        """Return the folders of all wheels, builds and byte-code."""
        buckets = (self.wheels, self.builds, self.bytecode)
        return sorted(path for bucket in buckets if bucket.is_dir() for path in bucket.iterdir())

    @property
    def bytecode(self) -> Path:
        """Byte-code of entries, for one kind of interpreter each."""
        return _bucket(self.root, "bytecode-v1")

    @property
    def selections(self) -> Path:
        """Which entry a pin means on one kind of interpreter."""
        return _bucket(self.root, "selections-v1")

    @property
    def ready(self) -> Path:
        """Folders of entries, linked ahead of time for the next environment."""
        return self.root / "ready-v1"

    @property
    def interpreters(self) -> Path:
        """What interpreters said of themselves."""
        return self.root / "interpreters-v1"

    @property
    def skeletons(self) -> Path:
        """Empty environments, one for each interpreter."""
        return self.root / "skeletons-v1"

    @property
    def archives(self) -> Path:
        """Wheels and sdists as they were fetched, for pip to install in images."""
        return self.root / "archives-v1"

    @property
    def assets(self) -> Path:
        """Large files, each under its sha256."""
        return self.root / "assets-v1"

    @property
    def tools(self) -> Path:
        """Environments that hold tools for interpreters which envkit's own do not support."""
        return self.root / "tools-v1"

    @property
    def spares(self) -> Path:
        """The other halves of environments, one for each project."""
        return self.root / "spares-v1"

    @property
    def set_aside(self) -> Path:
        """Entries that were found altered, which nothing uses any more."""
        return self.root / "set-aside"

    @property
    def collection(self) -> str:
        """The file that who uses entries holds together, and who takes them away alone."""
        return f"{self.root}/collection.lock"

    @property
    def scratch(self) -> Path:
        """What will not stay: folders of running commands, and what was thrown away."""
        return self.root / "tmp"

    def prepare(self, say: Callable[[str], None] = lambda _: None) -> None:
        """Make the store's folder if it is not there; look at what a power loss may have damaged.

        Whoever uses the store does this first.

        Args:
            say: called with a line before what can take time.

        Raises:
            UsageError: it cannot be a folder, or others can write to it as well.
            RefusedError: the system refuses.
        """
        with self._writable():
            self.root.mkdir(parents=True, exist_ok=True, mode=0o755)
            self.scratch.mkdir(exist_ok=True, mode=0o755)
            if unsynced.of_earlier_starts(self.root):
                from envkit.store import recovery

                recovery.recover(self.root, self.put_aside, say)
        refuse_shared(str(self.root))
        # What others could write, they could alter, whatever the user's umask has to say of it.
        os.umask(os.umask(0o022) | 0o022)

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = f"{self.root}: the store cannot be written"
            hint = "Make that possible, or name another folder with $ENVKIT_STORE."
            raise refusals.explained(error, what=what, hint=hint) or UsageError(
                f"{what}: {error.strerror}", hint
            ) from None

    @contextmanager
    def in_use(self, say: Callable[[str], None] = lambda _: None) -> Iterator[None]:
        """Keep every entry where it is; many can do so at once.

        Args:
            say: called with a line if a collection is going on and has to be waited for.
        """
        self.prepare(say)
        with mutex.hold(self.collection, shared=True, what="a collection of the store", say=say):
            yield

    def put_aside(self, path: str) -> Path:
        """Take the entry that a file belongs to out of use, and return where the entry was.

        Raises:
            EnvkitError: the filesystem refuses.
        """
        entry = self.root.joinpath(*Path(path).relative_to(self.root).parts[:2])
        try:
            self.set_aside.mkdir(exist_ok=True, mode=0o755)
            entry.rename(self.set_aside / f"{entry.name}-{time.time_ns()}")
        except FileNotFoundError:
            pass  # somebody else was first
        except OSError as error:
            raise EnvkitError(
                f"{entry} was altered and cannot be set aside: {error.strerror}"
            ) from None
        return entry

    @contextmanager
    def temporary(self) -> Iterator[Path]:
        """Lend a folder on the store's filesystem, taken away at the end.

        Folders that killed commands left behind are taken away as well: the kernel holds a lock
        on each for as long as its command lives, or a program that it started.
        """
        self.prepare()
        with self._writable():
            folder, descriptor = self._make_temporary()
        try:
            yield folder
        finally:
            # What cannot be taken away now, as something still writes there, is taken away later.
            with contextlib.suppress(OSError):
                remove_tree(folder)
            os.close(descriptor)

    def _make_temporary(self) -> tuple[Path, int]:
        """Make a folder, and return it with the descriptor that holds the lock on it."""
        import tempfile

        # Nobody sweeps between the making of a folder and the lock on it.
        with self._alone():
            folder = Path(tempfile.mkdtemp(dir=self.scratch))
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.set_inheritable(descriptor, True)
            self._sweep()
        return folder, descriptor

    def sweep(self) -> None:
        """Take away what killed commands left behind, and what installations threw away."""
        with self._alone():
            self._sweep()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Have the folder of temporary folders to oneself."""
        descriptor = os.open(self.scratch, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _sweep(self) -> None:
        for folder in self.scratch.iterdir():
            try:
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            except OSError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(folder)
            except OSError:
                pass  # its command lives, or something that it started still writes there
            finally:
                os.close(descriptor)


def locate(configured: Path | None, environ: Mapping[str, str]) -> Store:
    """Return the store of this user.

    Args:
        configured: the folder that the settings name, if any.
        environ: the environment, for the platform's own place ($XDG_DATA_HOME and the like).

    Raises:
        UsageError: no place is named, and none can be told without a home folder.
    """
    if configured:
        return Store(root=Path(os.path.abspath(configured)))
    if environ.get("XDG_DATA_HOME"):
        return Store(root=Path(environ["XDG_DATA_HOME"]) / "envkit")
    if sys.platform == "linux" and os.path.isabs(environ.get("HOME", "")):
        # As platformdirs has it, whose import takes as long as a small installation.
        return Store(root=Path(environ["HOME"]) / ".local" / "share" / "envkit")
    import platformdirs

    folder = platformdirs.user_data_path("envkit")
    if not folder.is_absolute():
        raise UsageError("There is no home folder to keep the store in", "Set $ENVKIT_STORE.")
    return Store(root=folder)


def refuse_shared(path: str) -> None:
    """Make sure that a folder or file is this user's or root's, and that nobody else can write it.

    Raises:
        UsageError: it is somebody else's, or others can write it; the message says which.
    """
    status = os.stat(path)
    if status.st_uid not in (0, os.geteuid()):
        owner = user_name(status.st_uid)
        raise UsageError(
            f"{path} belongs to user {owner}, who could change what is installed from it",
            "A store is one user's: name one of your own with $ENVKIT_STORE.",
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(
            f"{path} can be written by others, who could change what is installed from it",
            f"Take that away (`chmod go-w {path}`) if you trust what is in it.",
        )


def publish(draft: Path, entry: Path) -> None:
    """Let a finished folder appear in the store by one rename, noted as not on the disk yet.

    Where another process was first, the draft is taken away: both are made of the same bytes.

    Raises:
        OSError: the disk refuses.
    """
    entry.parent.mkdir(parents=True, exist_ok=True)
    try:
        unsynced.note(entry)
        draft.rename(entry)
    except OSError:
        if not entry.is_dir():
            raise
        remove_tree(draft)


def write_whole(path: Path, text: str) -> None:
    """Write a small file, in the place of one that may be there, by rename.

    Raises:
        OSError: the disk refuses.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with refusals.naming(draft):
            draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def remove_tree(folder: str | Path) -> None:
    """Take a folder away; what has gone already is no error.

    shutil does the same, but takes as long to import as to remove what an upgrade replaces.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    remove_tree(entry.path)
                else:
                    _unlink(entry.path)
        os.rmdir(folder)
    except FileNotFoundError:
        return


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
