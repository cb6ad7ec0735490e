"""Where things stand in the store, and how they come to stand there: whole, or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from envkit import refusals
from envkit.errors import UsageError


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

    @property
    def bytecode(self) -> Path:
        """Byte-code of entries, for one kind of interpreter each."""
        return self.root / "bytecode-v1"

    @property
    def selections(self) -> Path:
        """Which entry a pin means on one kind of interpreter."""
        return self.root / "selections-v1"

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
    def tools(self) -> Path:
        """Environments that hold tools for interpreters which envkit's own do not support."""
        return self.root / "tools-v1"

    @property
    def spares(self) -> Path:
        """The other halves of environments, one for each project."""
        return self.root / "spares-v1"

    def prepare(self) -> None:
        """Make the store's folder if it is not there.

        Raises:
            UsageError: it cannot be a folder.
            RefusedError: the system refuses.
        """
        with self._writable():
            self.root.mkdir(parents=True, exist_ok=True, mode=0o755)
            (self.root / "tmp").mkdir(exist_ok=True)

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

        parent = os.open(self.root / "tmp", os.O_RDONLY | os.O_DIRECTORY)
        try:
            # Nobody sweeps between the making of a folder and the lock on it.
            fcntl.flock(parent, fcntl.LOCK_EX)
            folder = Path(tempfile.mkdtemp(dir=self.root / "tmp"))
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.set_inheritable(descriptor, True)
            self._sweep()
        finally:
            os.close(parent)
        return folder, descriptor

    def _sweep(self) -> None:
        for folder in (self.root / "tmp").iterdir():
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
    import platformdirs

    folder = platformdirs.user_data_path("envkit")
    if not folder.is_absolute():
        raise UsageError("There is no home folder to keep the store in", "Set $ENVKIT_STORE.")
    return Store(root=folder)


def publish(draft: Path, entry: Path) -> None:
    """Let a finished folder appear in the store by one rename.

    Where another process was first, the draft is taken away: both are made of the same bytes.

    Raises:
        OSError: the disk refuses.
    """
    entry.parent.mkdir(parents=True, exist_ok=True)
    try:
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
    with refusals.naming(draft):
        draft.write_text(text, encoding="utf-8")
    draft.replace(path)


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
