"""A stand-in for Amazon S3 on loopback: objects that are looked at and read, and nothing else.

Source: Amazon S3 API Reference, HeadObject, GetObject, "Error responses".
"""

import contextlib
import http.server
from collections.abc import Mapping
from typing import ClassVar

from .loopback import answering

_ERROR = "<Error><Code>{code}</Code><Message>{code}</Message></Error>"


class S3:
    """The server, which runs while it is entered.

    Attributes:
        objects: what there is: bucket/key -> content.
        refusing: whether nobody may read anything.
    """

    def __enter__(self) -> "S3":
        self.objects: dict[str, bytes] = {}
        self.refusing = False
        self._cleanup = contextlib.ExitStack()
        outer = self

        class Handler(_Handler):
            s3: ClassVar[S3] = outer

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server = self._cleanup.enter_context(answering(server))
        return self

    def __exit__(self, *exception: object) -> None:
        self._cleanup.close()

    @property
    def environ(self) -> Mapping[str, str]:
        """The variables by which a client finds it, and that are as good as an account."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._server.server_port}",
            "AWS_ACCESS_KEY_ID": "anybody",
            "AWS_SECRET_ACCESS_KEY": "anything",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    s3: ClassVar[S3]

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def _answer(self, *, with_content: bool) -> None:
        path, _, query = self.path.lstrip("/").partition("?")
        content = self.s3.objects.get(path)
        if self.s3.refusing:
            self._refuse(403, "AccessDenied")
            return
        if content is None or "list-type" in query:
            self._refuse(404, "NoSuchKey")
            return
        asked = self.headers.get("Range", "").removeprefix("bytes=")
        first, _, last = asked.partition("-")
        start = int(first or 0)
        part = content[start : int(last) + 1 if last else None]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", '"one"')
        self.send_header("Last-Modified", "Tue, 14 Nov 2023 22:13:20 GMT")
        if asked:
            end = start + len(part) - 1
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
        self.end_headers()
        if with_content:
            self.wfile.write(part)

    def _refuse(self, status: int, code: str) -> None:
        body = _ERROR.format(code=code).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
