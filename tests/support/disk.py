"""A disk whose power can be cut, and the starts of a machine that has it.

The disk is an ext4 filesystem in a file. What was not on it when the power went is lost: the
filesystem is told to go down at once, without its journal being flushed, and is mounted again.
"""

import contextlib
import fcntl
import os
import signal
import struct
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from .projects import Machine

# fs/ext4/ext4.h (Linux): EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32), and its flag. The program
# `godown` of xfstests does the same.
_SHUTDOWN = 0x8004587D
_WITHOUT_FLUSHING_THE_LOG = 2

_SIZE = 400 << 20

# Run before each command of a machine: to it, and what it starts, the kernel's name for this start
# of the machine is the one in a file.
_BOOTED = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"'


class UnavailableError(Exception):
    """Nothing can be mounted here."""


class Disk:
    """A filesystem at a place, which is mounted.

    Raises:
        UnavailableError: nothing can be mounted here.
    """

    def __init__(self, folder: Path) -> None:
        self._image = folder / "disk.img"
        self._starts = folder / "boot_id"
        self._parent = folder / "mounted"
        self.place = self._parent / "disk"
        self.place.mkdir(parents=True)
        # A process in a mount namespace of its own, whoever's it is, has a copy of each mount. Only
        # below a shared one do the copies go when the mount goes (mount_namespaces(7)).
        _mount("--bind", str(self._parent), str(self._parent))
        _mount("--make-shared", str(self._parent))
        try:
            self.format()
        except BaseException:
            _run("umount", str(self._parent))
            raise

    def format(self) -> None:
        """Make the filesystem, with nothing on it, and mount it."""
        with self._image.open("wb") as file:
            file.truncate(_SIZE)
        _run("mkfs.ext4", "-q", "-F", str(self._image))
        self.mount()

    def through(self) -> list[str]:
        """Return what stands before the commands of a machine, to which this start is a new one."""
        self._starts.write_text(f"{uuid.uuid4()}\n", encoding="ascii")
        shell = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", _BOOTED]
        return [*shell, str(self._starts)]

    def cut(self, *, committed: bool) -> None:
        """Let the power fail; what still runs meets with errors.

        Args:
            committed: whether some other program has made sure of a file of its own just before.
                With it everything comes to the disk that the journal has: all names and sizes of
                other files, though not what is in them.
        """
        if committed:
            with (self.place / "other").open("w") as file:
                file.write("something else")
                file.flush()
                os.fsync(file.fileno())
        descriptor = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _WITHOUT_FLUSHING_THE_LOG))
        finally:
            os.close(descriptor)

    def start_again(self, machine: Machine) -> None:
        """Start a machine anew after the power was cut: nothing runs, all comes from the disk."""
        halt(machine)
        self.unmount()
        self.mount()
        machine.through = self.through()

    def remove(self) -> None:
        """Unmount it, whatever became of it."""
        try:
            self.unmount()
        except AssertionError:
            _run("umount", "--lazy", str(self.place))
            raise
        finally:
            _run("umount", "--lazy", str(self._parent))

    def mount(self) -> None:
        """Mount it; the loop device that this takes goes when it is unmounted."""
        _mount("-o", "loop", str(self._image), str(self.place))

    def unmount(self) -> None:
        """Unmount it; nothing may use it any more."""
        # A process that was killed lets go of it a little later.
        until = time.monotonic() + 10
        while True:
            try:
                _run("umount", str(self.place))
            except AssertionError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
            else:
                return


def halt(machine: Machine) -> None:
    """Kill all that works on a machine's store, and wait until it has gone."""
    for number in machine.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    machine.rest()


@contextlib.contextmanager
def disk(folder: Path) -> Iterator[Disk]:
    """Lend a disk, whose files are in a folder, and unmount it at the end.

    Raises:
        UnavailableError: nothing can be mounted here.
    """
    made = Disk(folder)
    try:
        yield made
    finally:
        made.remove()


def _mount(*arguments: str) -> None:
    try:
        _run("mount", *arguments)
    except AssertionError as error:
        raise UnavailableError(str(error)) from None


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, f"{command[0]}: {done.stderr.strip()}"
