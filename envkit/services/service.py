"""What a kind of service is: the protocol that each module of one answers.

A kind is a module with a function `plan(request)`, named in `kinds.KINDS`. What that returns can be
started, asked whether it is ready, and stopped; all else, from logs to leases, is done for it.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from envkit.declared import ServiceConfig
from envkit.gpu import containers
from envkit.gpu.devices import Gpu
from envkit.project import Project

# How often it is looked whether something has ended, in seconds.
_PERIOD = 0.05

# How long one answer may take, in seconds.
_PATIENCE = 1.0


class Running(Protocol):
    """What was started: a program, or a container."""

    @property
    def identity(self) -> str:
        """What others know it by."""

    def chunks(self) -> Iterator[bytes]:
        """Yield what it prints, to its end."""

    def poll(self) -> int | None:
        """Return its exit code; None while it runs."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it."""

    def close(self) -> None:
        """Let nothing of it be left."""


class Request(NamedTuple):
    """What a service is planned from.

    Attributes:
        config: what is said of it.
        project: the project.
        folder: a folder for files that it needs, which is there.
        environ: the variables of the caller.
        locked: the distributions that the environment has: name -> version.
        label: what tells it from all other services of the machine.
        dev: whether it is to follow changes of the code.
        image: the id of the project's image that it is to run in; empty for the environment.
    """

    config: ServiceConfig
    project: Project
    folder: Path
    environ: Mapping[str, str]
    locked: Mapping[str, str]
    label: str
    dev: bool = False
    image: str = ""


class Grant(NamedTuple):
    """What a service gets to run with.

    Attributes:
        environ: its variables; those of a container are beside the image's.
        gpus: the GPUs that it may see.
        label: the label by which the container is known that has them on lease; empty for none.
        descriptors: those by which they are on lease, which its program inherits.
    """

    environ: Mapping[str, str]
    gpus: tuple[Gpu, ...] = ()
    label: str = ""
    descriptors: tuple[int, ...] = ()

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of its container."""
        return {containers.LABEL: self.label} if self.label else {}


class Service(Protocol):
    """A service that was planned: all that can be wrong with what was said of it has been."""

    @property
    def address(self) -> str:
        """Where it is reached, as in "127.0.0.1:8000"."""

    @property
    def in_container(self) -> bool:
        """Whether it runs in a container."""

    def prepare(self) -> None:
        """Take what it needs of this machine, such as its port.

        Raises:
            EnvkitError: that cannot be had.
        """

    def start(self, grant: Grant) -> Running:
        """Start it.

        Raises:
            EnvkitError: that cannot be done.
        """

    def is_ready(self) -> bool:
        """Return whether it answers as it should; within a second or so.

        Raises:
            EnvkitError: it never will.
        """

    def problem(self) -> str:
        """Return why it has ended, or is not ready, as far as it knows; may be empty."""

    def stop(self, running: Running, within: float) -> str:
        """End it in bounds, letting it finish what it does.

        Args:
            running: what was started.
            within: how many seconds it has.

        Returns:
            How it ended, in a few words.
        """

    def close(self) -> None:
        """Let go of what it has taken of this machine; it has ended, however that came about."""

    def example(self) -> str:
        """Return a command that asks it for something, to be typed into a shell; may be empty."""


def wait_for(is_so: Callable[[], bool], seconds: float) -> bool:
    """Return whether something is so before so many seconds have passed, as soon as it is."""
    until = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() >= until:
            return False
        time.sleep(_PERIOD)
    return True


def end(running: Running, within: float) -> str:
    """Ask a program to end, and make it end if it has not after so many seconds.

    Returns:
        How it ended, in a few words.
    """
    running.terminate()
    if wait_for(lambda: running.poll() is not None, within):
        return "stopped"
    running.kill()
    wait_for(lambda: running.poll() is not None, within)
    return "killed, as it did not stop in time"


def ask(host: str, port: int, path: str, *, most: int = 0) -> tuple[int, bytes]:
    """Return the status and the content of an HTTP server's answer; 0 and nothing if there is none.

    Args:
        host: the address on which it listens.
        port: its port.
        path: what is asked for.
        most: how many bytes of the content are wanted; an answer can be without end.
    """
    connection = http.client.HTTPConnection(reached(host), port, timeout=_PATIENCE)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(most) if most else b""
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def shown(host: str) -> str:
    """Return a host as it stands in a URL (RFC 3986, "Host")."""
    return f"[{host}]" if ":" in host else host


def reached(host: str) -> str:
    """Return where somebody on this machine reaches what listens on an address."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
