"""A socket on which a service listens, and that can be emptied before the service is stopped.

A server that is told to stop closes its socket, and whoever was connected but not answered yet is
cut off. Where this process keeps the socket open as well, it can let nobody in any more, wait until
the server has taken all who are, and only then tell it to stop.

Sources: socket(7), SO_ATTACH_FILTER; Linux documentation, "Linux Socket Filtering"; tcp(7),
TCP_INFO, of which `tcpi_unacked` counts who waits where somebody listens.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from envkit.declared import ServiceConfig
from envkit.errors import UsageError

# What <asm-generic/socket.h> has, and Python has not.
_SO_ATTACH_FILTER = 26

# Where TCP_INFO has `tcpi_unacked`, and its size, in bytes.
_UNACKED, _INFO = 24, 32

# So many can be connected that nobody has answered yet.
_BACKLOG = 2048

# How often it is looked whether all have been answered, in seconds; and how long it takes at most
# until those are connected who have begun to be.
_PERIOD, _HANDSHAKE = 0.01, 0.05


class _Step(NamedTuple):
    """An instruction of the classic Berkeley packet filter."""

    code: int
    if_true: int
    if_false: int
    value: int


# Takes what comes, from the TCP header on, but no SYN: nobody begins to be connected.
_NO_SYN = (
    _Step(0x30, 0, 0, 13),  # load the byte of the flags
    _Step(0x45, 0, 1, 0x02),  # is SYN among them?
    _Step(0x06, 0, 0, 0),  # take nothing of it
    _Step(0x06, 0, 0, 0xFFFFFFFF),  # take all of it
)


class Listener:
    """A socket that listens."""

    def __init__(self, config: ServiceConfig, port: int) -> None:
        """Listen where a service is to.

        Args:
            config: the service.
            port: its port.

        Raises:
            UsageError: somebody else listens there, or it is no address of this machine's.
        """
        self._socket = _bound(config, port)
        self._socket.listen(_BACKLOG)

    @property
    def descriptor(self) -> int:
        """The number by which a program has it that inherits it."""
        return self._socket.fileno()

    def empty(self, within: float, is_served: Callable[[], bool]) -> bool:
        """Let nobody in any more, and wait until all who are have been taken by the server.

        Args:
            within: how many seconds that may take.
            is_served: whether the server still runs.

        Returns:
            Whether nobody is left; not where the system cannot do this.
        """
        if sys.platform != "linux" or not self._close_door():
            return False
        until = time.monotonic() + within
        time.sleep(_HANDSHAKE)
        while self._waiting():
            if time.monotonic() > until or not is_served():
                return False
            time.sleep(_PERIOD)
        return True

    def close(self) -> None:
        """Listen no more, whoever has inherited the socket and lives on."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _close_door(self) -> bool:
        steps = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in _NO_SYN))
        program = struct.pack("@HP", len(_NO_SYN), ctypes.addressof(steps))
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
        except OSError:
            return False
        return True

    def _waiting(self) -> int:
        """Return how many are connected that the server has not taken yet."""
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO)
        (count,) = struct.unpack_from("I", info, _UNACKED)
        return int(count)


def refuse_taken(config: ServiceConfig, port: int) -> None:
    """Make sure that nobody listens where a service is to.

    Raises:
        UsageError: somebody does, or it is no address of this machine's.
    """
    _bound(config, port).close()


def _bound(config: ServiceConfig, port: int) -> socket.socket:
    found: socket.socket | None = None
    try:
        address = socket.getaddrinfo(config.host, port, type=socket.SOCK_STREAM)[0]
        family, kind, protocol, _, place = address
        found = socket.socket(family, kind, protocol)
        # As servers do, which are not kept away by connections that have just ended.
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(place)
    except OSError as error:
        if found:
            found.close()
        reason = (error.strerror or str(error)).lower()
        is_taken = error.errno in (errno.EADDRINUSE, errno.EACCES)
        key = "port" if is_taken else "host"
        raise UsageError(
            f"services.{config.name}: cannot listen on {config.host}:{port}: {reason}",
            f"{'Free it, or choose' if is_taken else 'Choose'} another with "
            f"services.{config.name}.{key}.",
        ) from None
    return found
