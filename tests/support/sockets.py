"""Sockets that are there, and behind which is no engine that would do its work."""

import contextlib
import os
import pickle
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# Who is nobody in particular (passwd(5)).
_NOBODY = 65534


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Lend a folder whose path is short enough for that of a socket (unix(7))."""
    with tempfile.TemporaryDirectory(prefix="envkit-", dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def stale(place: Path) -> Path:
    """Make a socket behind which nobody is any more."""
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(place / "stale.sock"))
    return place / "stale.sock"


@contextlib.contextmanager
def answering(place: Path, *answers: bytes | None) -> Iterator[Path]:
    """Listen, and give one connection after the other its answer; None is never to answer.

    What was asked is not looked at. After the last answer nobody is there.
    """
    waiting = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place / "answering.sock"))
        server.listen()

        def serve() -> None:
            for answer in answers:
                with contextlib.suppress(OSError):
                    client, _ = server.accept()
                    waiting.append(client)
                    if answer is not None:
                        client.recv(1 << 16)
                        client.sendall(answer)
                        client.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield place / "answering.sock"
        finally:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for client in waiting:
                client.close()


def response(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """Return an answer of HTTP, after which the connection ends."""
    named = (f"{name.replace('_', '-')}: {value}" for name, value in headers.items())
    lines = [f"HTTP/1.1 {status}", *named, f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def as_nobody(work: Callable[[], T]) -> T:
    """Do some work as a user who may do little, and return what it does, or raise that."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
        try:
            answer: object = work()
        except BaseException as error:
            answer = error
        with open(writer, "wb") as pipe:
            pickle.dump(answer, pipe)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    result = pickle.loads(text)  # noqa: S301
    if isinstance(result, BaseException):
        raise result
    return result  # type: ignore[no-any-return]
