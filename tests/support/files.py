"""A server of files on loopback that cuts, stalls, lies and refuses, as it is told to."""

import base64
import contextlib
import http.server
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from .loopback import answering


@dataclass
class Served:
    """A file, and what is wrong with it.

    Attributes:
        content: its bytes.
        cuts: after so many bytes each, one after another, the connection is cut.
        stalls: for so many seconds nothing comes, once, in the middle.
        status: is answered in place of it, so many times; always if that is negative.
        says: the length that is said; by default the right one.
        ranges: whether it can be asked for from the middle on.
        pace: seconds between pieces of 64 KiB.
        endless: whether no length is said, and the end of the connection is that of the file.
        password: a user and a password, without which nothing is answered.
        tags: its entity tags, one a request, as it changes meanwhile.
        asked: the first byte that each request for it was answered from.
    """

    content: bytes | memoryview
    cuts: list[int] = field(default_factory=list)
    stalls: float = 0
    status: tuple[int, int] = (200, 0)
    says: int | None = None
    ranges: bool = True
    pace: float = 0
    endless: bool = False
    password: str = ""
    tags: list[str] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)


class Files:
    """The server, which runs while it is entered."""

    def __enter__(self) -> "Files":
        self.served: dict[str, Served] = {}
        self._cleanup = contextlib.ExitStack()

        class Handler(_Handler):
            files: ClassVar[Mapping[str, Served]] = self.served

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server = self._cleanup.enter_context(answering(server))
        return self

    def __exit__(self, *exception: object) -> None:
        self._cleanup.close()

    def serve(self, name: str, content: bytes | memoryview) -> Served:
        """Serve a file."""
        self.served[name] = Served(content)
        return self.served[name]

    def url(self, name: str) -> str:
        """Return the address of a file."""
        return f"http://127.0.0.1:{self._server.server_port}/{name}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: ClassVar[Mapping[str, Served]]

    def do_GET(self) -> None:
        file = self.files.get(self.path.partition("?")[0].lstrip("/"))
        if file is None:
            self.send_error(404)
            return
        asked = self.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and file.ranges else 0
        tag = file.tags.pop(0) if file.tags else ""
        if self.headers.get("If-Range", tag) != tag:
            start = 0
        file.asked.append(start)
        pair = base64.b64encode(file.password.encode()).decode()
        if file.password and self.headers.get("Authorization") != f"Basic {pair}":
            self.send_error(401)
            return
        code, times = file.status
        if times:
            file.status = (code, times - 1)
            self.send_error(code)
            return
        if start >= len(file.content) > 0 and start:
            self.send_error(416)
            return
        rest = file.content[start:]
        self.send_response(206 if start else 200)
        if file.endless:
            self.close_connection = True
        else:
            length = len(rest) if file.says is None else file.says
            self.send_header("Content-Length", str(length))
        if tag:
            self.send_header("ETag", tag)
        if start:
            end = len(file.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(file.content)}")
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self._send(file, rest)

    def _send(self, file: Served, rest: bytes | memoryview) -> None:
        if file.cuts:
            rest = rest[: file.cuts.pop(0)]
            self.close_connection = True
        if file.stalls:
            self.wfile.write(rest[: len(rest) // 2])
            self.wfile.flush()
            seconds, file.stalls = file.stalls, 0
            time.sleep(seconds)
            self.close_connection = True
            return
        for place in range(0, len(rest), 1 << 16):
            self.wfile.write(rest[place : place + (1 << 16)])
            if file.pace:
                time.sleep(file.pace)
        if file.says is not None:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""
