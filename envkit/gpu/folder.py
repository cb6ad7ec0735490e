"""The folder in which leases are kept, and who may work in it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from envkit.errors import EnvkitError, MissingError, RefusedError, UsageError

# Where a machine has its leases, once `envkit gpu setup` was run there.
MACHINE = Path("/var/lib/envkit/gpu")

# Everything for the group, whose files new ones become; nothing for others; nobody takes away or
# renames what is another's (chmod(1), set-group-ID and restricted deletion flag).
MODE = 0o3770

_SETUP = "`envkit gpu setup` makes one that the users of this machine share."


class Folder:
    """A folder whose files everybody who may enter it can open, whoever made them.

    Attributes:
        path: the folder.
        is_shared: whether it is the machine's, rather than one user's own.
    """

    def __init__(self, path: Path, *, is_shared: bool) -> None:
        self.path = path
        self.is_shared = is_shared

    def prepare(self) -> None:
        """Make sure that leases can be kept here; a user's own folder is made.

        Raises:
            MissingError: it is not there.
            UsageError: everybody could alter what is in it.
            RefusedError: this user may not work in it.
        """
        if not self.is_shared:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            mode = self.path.stat().st_mode
        except FileNotFoundError:
            raise MissingError(f"{self.path}: there is no such folder for leases", _SETUP) from None
        if not stat.S_ISDIR(mode):
            raise UsageError(f"{self.path}: not a folder, as leases are kept in", _SETUP)
        if mode & stat.S_IWOTH:
            raise UsageError(f"{self.path}: everybody could take away others' leases here", _SETUP)
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise self._refused(self.path, errno.EACCES)

    def open(self, name: str, *, writing: bool = True) -> int | None:
        """Return a descriptor of a file; it is not inherited.

        Args:
            name: the file.
            writing: whether it is made if it is not there; if not, None is returned then.

        Raises:
            RefusedError: it cannot be opened.
        """
        path = self.path / name
        while True:
            try:
                # Without O_CREAT, which the kernel refuses for another's file in such a folder
                # (proc_sys_fs(5), protected_regular).
                return os.open(path, os.O_RDWR if writing else os.O_RDONLY)
            except FileNotFoundError:
                if not writing:
                    return None
            except OSError as error:
                raise self._refused(path, error.errno or 0) from None
            try:
                self._make(path)
            except OSError as error:
                raise self._refused(path, error.errno or 0) from None

    def _make(self, path: Path) -> None:
        """Let an empty file appear that has its mode from the start, whatever the umask."""
        draft = self.path / f".{os.urandom(8).hex()}"
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.fchmod(descriptor, 0o666 if self.is_shared else 0o600)
            os.link(draft, path)
        except FileExistsError:
            pass  # another process was first
        finally:
            os.close(descriptor)
            os.unlink(draft)

    def _refused(self, path: Path, number: int) -> EnvkitError:
        message = f"{path}: cannot be opened: {os.strerror(number)}"
        if number not in (errno.EACCES, errno.EPERM):
            return RefusedError(message)
        group = _group(self.path)
        hint = f"Be a member of the group {group} (`sudo usermod -aG {group} $USER`, log in anew)."
        return RefusedError(message, hint if self.is_shared else "")


def locate(configured: Path | None, environ: Mapping[str, str]) -> Folder:
    """Return the folder of leases: the configured one, the machine's, or else the user's own.

    Args:
        configured: the folder that the settings name, if any.
        environ: the environment (XDG Base Directory Specification, $XDG_STATE_HOME).
    """
    if configured:
        return Folder(configured, is_shared=True)
    if MACHINE.exists():
        return Folder(MACHINE, is_shared=True)
    home = environ.get("HOME") or "/"
    state = environ.get("XDG_STATE_HOME") or os.path.join(home, ".local", "state")
    return Folder(Path(state, "envkit", "gpu"), is_shared=False)


def setup_commands(path: Path, group: str) -> Sequence[Sequence[str]]:
    """Return the commands by which an administrator makes a folder that a group shares.

    Args:
        path: the folder.
        group: the name of the group; it is made if it is not there.
    """
    return (
        ("groupadd", "--force", "--system", group),
        ("install", "--directory", "--mode=755", str(path.parent)),
        (
            *("install", "--directory", "--owner=root", f"--group={group}"),
            *(f"--mode={MODE:o}", str(path)),
        ),
    )


def _group(path: Path) -> str:
    """Return the name of the group that a folder belongs to, or its number."""
    import grp

    number = path.stat().st_gid
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
