"""The folder in which leases are kept, and who may work in it."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from envkit import overrides
from envkit.errors import EnvkitError, MissingError, RefusedError, UsageError

# Where a machine has its leases, once `envkit gpu setup` was run there.
MACHINE = Path("/var/lib/envkit/gpu")

# Everything for the group, whose files new ones become; nothing for others; nobody takes away or
# renames what is another's (chmod(1), set-group-ID and restricted deletion flag).
MODE = 0o3770

_SETUP = "`envkit gpu setup` makes one that the users of this machine share."

# The file in which the queue is.
QUEUE = "queue"

# What such a folder has in it: the queue, files named by UUIDs, and drafts.
_FILES = re.compile(rf"{QUEUE}|(GPU|MIG)-[\w-]+|\.[0-9a-f]{{16}}", re.ASCII)


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
            UsageError: others could take away what is in it.
            RefusedError: this user may not work in it.
        """
        if not self.is_shared:
            try:
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise self._refused(self.path, error.errno or 0) from None
        if not self.check():
            raise MissingError(f"{self.path}: there is no such folder for leases", _SETUP)

    def check(self) -> bool:
        """Return whether the folder is there, having made sure that it is one for leases.

        Raises:
            UsageError: others could take away what is in it.
            RefusedError: this user may not work in it.
        """
        try:
            mode = self.path.stat().st_mode
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._refused(self.path, error.errno or 0) from None
        if not stat.S_ISDIR(mode):
            raise UsageError(f"{self.path}: not a folder, as leases are kept in", _SETUP)
        if mode & stat.S_IWOTH or (mode & stat.S_IWGRP and not mode & stat.S_ISVTX):
            raise UsageError(f"{self.path}: others could take away leases here", _SETUP)
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            is_fixed = os.statvfs(self.path).f_flag & os.ST_RDONLY
            raise self._refused(self.path, errno.EROFS if is_fixed else errno.EACCES)
        return True

    @property
    def is_for_others(self) -> bool:
        """Whether other users of the machine can have leases here as well."""
        try:
            return self.is_shared and bool(self.path.stat().st_mode & stat.S_IWGRP)
        except OSError:
            return False

    def open(self, name: str, *, writing: bool = True) -> int | None:
        """Return a descriptor of a file; it is not inherited.

        Args:
            name: the file.
            writing: whether it is made if it is not there; if not, None is returned then.

        Raises:
            RefusedError: it cannot be opened, or is no plain file.
        """
        path = self.path / name
        # Without O_CREAT, which the kernel refuses for another's file in such a folder
        # (proc_sys_fs(5), protected_regular). What is no plain file is neither followed nor waited
        # for: others may have put it there.
        flags = (os.O_RDWR if writing else os.O_RDONLY) | os.O_NOFOLLOW | os.O_NONBLOCK
        while True:
            try:
                descriptor = os.open(path, flags)
            except FileNotFoundError:
                if not writing:
                    return None
                try:
                    self._make(path)
                except OSError as error:
                    raise self._refused(path, error.errno or 0) from None
            except OSError as error:
                raise self._refused(path, error.errno or 0) from None
            else:
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    return descriptor
                os.close(descriptor)
                raise RefusedError(f"{path}: not a plain file, as leases are kept in")

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
        if number not in (errno.EACCES, errno.EPERM) or not self.is_shared:
            return RefusedError(message)
        group = _group(self.path)
        hint = f"Be a member of the group {group} (`sudo usermod -aG {group} $USER`, log in anew)."
        return RefusedError(message, hint if group else "")


def locate(configured: Path | None, environ: Mapping[str, str]) -> Folder:
    """Return the folder of leases: the configured one, the machine's, or else the user's own.

    Args:
        configured: the folder that the settings name, if any.
        environ: the environment (XDG Base Directory Specification, $XDG_STATE_HOME).
    """
    if configured or _is_there(MACHINE):
        return Folder(configured or MACHINE, is_shared=True)
    own = overrides.base(environ, "XDG_STATE_HOME", os.path.join(".local", "state"))
    return Folder(Path(own, "envkit", "gpu"), is_shared=False)


def setup_commands(path: Path, group: str, names: Sequence[str]) -> Sequence[Sequence[str]]:
    """Return the commands by which an administrator makes a folder that a group shares.

    Args:
        path: the folder.
        group: the name of the group; it is made if it is not there.
        names: the files that it gets, if it does not have them. They are root's, so that nobody can
            take one away: in such a folder one who has made a file can.

    Raises:
        UsageError: there is something else at the path.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise UsageError(f"{path}: not a folder")
    had = [one.name for one in path.iterdir()] if path.is_dir() else []
    others = [name for name in had if not _FILES.fullmatch(name)]
    if others:
        raise UsageError(f"{path}: has other things in it than leases, such as {others[0]}")
    above = [str(one) for one in reversed(path.parents) if not one.exists()]
    new = [str(path / name) for name in names if name not in had]
    commands = [
        ("groupadd", "--force", "--system", group),
        *(("mkdir", "--parents", "--mode=755", one) for one in above),
        (
            *("install", "--directory", "--owner=root", f"--group={group}"),
            *(f"--mode={MODE:o}", str(path)),
        ),
    ]
    if new:
        owner = f"root:{group}"
        commands += [("touch", *new), ("chown", owner, *new), ("chmod", "666", *new)]
    return commands


def _is_there(path: Path) -> bool:
    """Return whether there is something at a path, which this user may not be allowed to see."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _group(path: Path) -> str:
    """Return the name of the group that a folder belongs to, or its number; empty if not known."""
    import grp

    try:
        number = path.stat().st_gid
    except OSError:
        return ""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
