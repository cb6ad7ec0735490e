"""What stands in for an engine, to see which context Docker's own command line sends to one."""

import contextlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer

from .loopback import answering

_DONE = b'{"stream":"Successfully built 0123456789ab\\n"}\n'


def cli() -> str | None:
    """Return Docker's command line, if it is there."""
    return shutil.which("docker")


class Builder:
    """A listener on a socket, which takes what `docker build` sends and builds nothing.

    The command line packs the context itself if it is told not to use BuildKit.
    """

    def __enter__(self) -> "Builder":
        # A socket's path may have about a hundred bytes.
        self._cleanup = contextlib.ExitStack()
        folder = tempfile.TemporaryDirectory(prefix="builder-")
        self._home = Path(self._cleanup.enter_context(folder))
        self._socket = self._home / "socket"
        server = _Server(str(self._socket), _Handler)
        self._server = self._cleanup.enter_context(answering(server))
        return self

    def __exit__(self, *exception: object) -> None:
        self._cleanup.close()

    def build(self, root: Path, *options: str) -> subprocess.CompletedProcess[bytes]:
        """Run `docker build` on a folder; what it sends is in `sent`."""
        self._server.sent = b""
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._home),
            "DOCKER_HOST": f"unix://{self._socket}",
            "DOCKER_BUILDKIT": "0",
        }
        program = cli()
        assert program, "no docker here"
        return subprocess.run(
            [program, "build", *options, str(root)], env=environ, capture_output=True, check=False
        )

    @property
    def sent(self) -> bytes:
        """The archive that was sent last; empty if none was."""
        return self._server.sent

    def names(self, root: Path, *options: str) -> set[str]:
        """Return the names of what `docker build` sends of a folder.

        Raises:
            AssertionError: it refuses.
        """
        done = self.build(root, *options)
        assert done.returncode == 0, done.stderr
        with tarfile.open(fileobj=io.BytesIO(self.sent), errors="surrogateescape") as archive:
            return {member.name for member in archive}


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    sent = b""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(b"{}" if "/info" in self.path or "/version" in self.path else b"OK")

    def do_POST(self) -> None:
        body = bytearray()
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        self.server.sent = bytes(body)
        self._answer(_DONE)

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Api-Version", "1.41")
        self.send_header("OSType", "linux")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def copied(root: Path, environ: Mapping[str, str]) -> set[str]:
    """Return the names of what BuildKit copies for `COPY . /` of a folder's Dockerfile.

    Args:
        root: the folder.
        environ: what tells `docker buildx` of an engine.

    Raises:
        AssertionError: it refuses.
    """
    program = shutil.which("docker", path=environ["PATH"])
    assert program, "no docker here"
    with tempfile.TemporaryDirectory(prefix="copied-") as folder:
        target = Path(folder, "copied.tar")
        command = [program, "buildx", "build", "--output", f"type=tar,dest={target}", str(root)]
        done = subprocess.run(command, env=environ, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        with tarfile.open(target, errors="surrogateescape") as archive:
            return {member.name for member in archive}
