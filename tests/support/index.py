"""A package index on this machine alone, with faults on request."""

import base64
import contextlib
import hmac
import http.server
import os
import shutil
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from packaging.utils import canonicalize_name

from .distributions import Distribution
from .loopback import answering
from .simple import Entry, describe, negotiate, project_page, root_page

_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy", "ftp_proxy", "no_proxy"})
_CERTIFICATES = frozenset({"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"})
# What public indexes say of files: pip keeps those that may be kept.
_UNCHANGING = (("Cache-Control", "max-age=365000000, immutable, public"),)
# Seconds within which a command has to come to ask for something.
_PATIENCE = 60


@dataclass(frozen=True, kw_only=True)
class _Fault:
    cut_after: int | None = None
    data: bytes | None = None
    delay: float = 0
    status: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Response:
    status: int
    body: bytes = b""
    kind: str = "text/plain"
    headers: tuple[tuple[str, str], ...] = ()
    cut_after: int | None = None


class Index:
    """A simple index, which serves while it is entered as a context manager.

    Published files are copied into folder, which pip can also use as `--find-links`. With a
    username and a password, every request must carry both (basic authentication). With tls, it
    speaks https.

    requests holds the path of every GET in the order of arrival, as decoded text without query:
    `/simple/alpha/`, `/files/alpha-1.0-py3-none-any.whl`, and that path with `.metadata` added.

    Faults are of one file's content, are added up, and last until `heal`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        username: str | None = None,
        password: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.requests: list[str] = []
        self._username = username
        self._password = password
        self._tls = tls
        self._scheme = "https" if tls else "http"
        self._entries: dict[str, Entry] = {}
        self._faults: dict[str, _Fault] = {}
        self._closing = threading.Event()
        self._server: _Server | None = None
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> "Index":
        scratch = tempfile.TemporaryDirectory(prefix="index-")
        self._scratch = self._cleanup.enter_context(scratch)
        self._server = self._cleanup.enter_context(answering(_Server(self, self._tls)))
        self._cleanup.callback(self._closing.set)
        return self

    def __exit__(self, *exception: object) -> None:
        self._cleanup.close()

    @property
    def host(self) -> str:
        """`address:port`; RuntimeError before the index is entered."""
        if self._server is None:
            raise RuntimeError("the index is not serving: enter it first")
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        """The address of the index, without credentials; it ends in `/simple/`."""
        return f"{self._scheme}://{self.host}/simple/"

    @property
    def url_with_credentials(self) -> str:
        """The address of the index with its username and password, where it has them."""
        if self._username is None or self._password is None:
            return self.url
        credentials = f"{quote(self._username, safe='')}:{quote(self._password, safe='')}"
        return f"{self._scheme}://{credentials}@{self.host}/simple/"

    def publish(self, path: Path, *, yanked: str | None = None) -> str:
        """Offer a copy of a wheel or an sdist, in the place of any of its name; return the name.

        yanked is the reason for which it is withdrawn, possibly empty (PEP 592).
        """
        target = self.folder / path.name
        if path != target:
            shutil.copyfile(path, target)
        self._entries[path.name] = describe(target, yanked=yanked)
        return path.name

    def add(self, *distributions: Distribution) -> None:
        """Make and publish the archive of each distribution: its wheel, or its sdist."""
        for distribution in distributions:
            self.publish(distribution.archive(self.folder))

    def remove(self, filename: str) -> None:
        """Stop offering a file; KeyError if it was not published."""
        del self._entries[filename]
        (self.folder / filename).unlink()

    def sha256(self, filename: str) -> str:
        """Return the hash that the index states for a file; KeyError if it was not published."""
        return self._entries[filename].sha256

    def downloads(self, filename: str) -> int:
        """Return how often a file itself was asked for, its metadata not counted."""
        return self.requests.count(f"/files/{filename}")

    def wait_for(self, filename: str) -> None:
        """Wait until a file is asked for; a failure if that takes too long."""
        until = time.monotonic() + _PATIENCE
        while not self.downloads(filename):
            assert time.monotonic() < until, f"nobody asks for {filename}"
            time.sleep(0.02)

    def cut_after(self, filename: str, count: int) -> None:
        """Announce the whole file, send its first count bytes, and hang up."""
        self._faults[filename] = replace(self._fault(filename), cut_after=count)

    def replace_bytes(self, filename: str, data: bytes) -> None:
        """Send data instead of the file, and state the file's own hash and size as before."""
        self._faults[filename] = replace(self._fault(filename), data=data)

    def delay(self, filename: str, seconds: float) -> None:
        """Wait before each answer; an index that is being closed waits no longer."""
        self._faults[filename] = replace(self._fault(filename), delay=seconds)

    def status(self, filename: str, code: int) -> None:
        """Answer with an HTTP status, 403 or 503 say, and without the file."""
        self._faults[filename] = replace(self._fault(filename), status=code)

    def heal(self, filename: str) -> None:
        """Take away all faults of a file."""
        self._faults.pop(filename, None)

    def pip_environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """Return base changed so that pip and pip-tools know this index and nothing else.

        Configuration files, caches, proxies, certificates, netrc and keyrings of the machine are
        out of reach.
        pip tries again neither what fails nor what breaks off, for the sake of short tests.
        """
        kept = {
            name: value
            for name, value in base.items()
            if not name.upper().startswith("PIP_")
            and name.lower() not in _PROXIES
            and name not in _CERTIFICATES
        }
        return kept | {
            "NETRC": os.devnull,
            "NO_PROXY": "127.0.0.1",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_INDEX_URL": self.url_with_credentials,
            "PIP_KEYRING_PROVIDER": "disabled",
            "PIP_NO_CACHE_DIR": "1",
            "PIP_NO_INPUT": "1",
            "PIP_RESUME_RETRIES": "0",
            "PIP_RETRIES": "0",
            "PIP_ROOT_USER_ACTION": "ignore",
            # pip-tools keeps files by name and version alone, and those repeat between tests.
            "PIP_TOOLS_CACHE_DIR": self._scratch,
        }

    def respond(self, target: str, *, accept: str, authorization: str) -> _Response:
        """Answer one GET of a request target, with the two headers that matter."""
        path = unquote(urlsplit(target).path)
        self.requests.append(path)
        if not self._admits(authorization):
            challenge = ("WWW-Authenticate", 'Basic realm="index"')
            return _Response(status=HTTPStatus.UNAUTHORIZED, headers=(challenge,))
        area, *rest = path.removeprefix("/").split("/")
        if area == "simple":
            return self._page(rest, negotiate(accept))
        if area == "files" and len(rest) == 1:
            return self._file(rest[0])
        return _Response(status=HTTPStatus.NOT_FOUND)

    def _admits(self, authorization: str) -> bool:
        if self._username is None:
            return True
        credentials = f"{self._username}:{self._password or ''}".encode()
        expected = f"Basic {base64.b64encode(credentials).decode()}"
        return hmac.compare_digest(authorization.encode(), expected.encode())

    def _page(self, rest: list[str], kind: str) -> _Response:
        entries = list(self._entries.values())
        if rest == [""]:
            body = root_page((entry.project for entry in entries), kind)
            return _Response(status=HTTPStatus.OK, body=body, kind=kind)
        name = canonicalize_name(rest[0]) if rest else ""
        if rest != [name, ""]:
            return _redirect(f"/simple/{name}/" if name else "/simple/")
        listed = [entry for entry in entries if entry.project == name]
        if not listed:
            return _Response(status=HTTPStatus.NOT_FOUND)
        return _Response(status=HTTPStatus.OK, body=project_page(name, listed, kind), kind=kind)

    def _file(self, filename: str) -> _Response:
        described = self._entries.get(filename.removesuffix(".metadata"))
        if described is not None and filename.endswith(".metadata"):
            status = HTTPStatus.NOT_FOUND if described.metadata is None else HTTPStatus.OK
            return _Response(status=status, body=described.metadata or b"")
        if described is None:
            return _Response(status=HTTPStatus.NOT_FOUND)
        fault = self._fault(filename)
        self._closing.wait(fault.delay)
        if fault.status is not None:
            return _Response(status=fault.status)
        body = (self.folder / filename).read_bytes() if fault.data is None else fault.data
        return _Response(
            status=HTTPStatus.OK,
            body=body,
            kind="application/octet-stream",
            headers=_UNCHANGING,
            cut_after=fault.cut_after,
        )

    def _fault(self, filename: str) -> _Fault:
        return self._faults.get(filename, _Fault())


def _redirect(path: str) -> _Response:
    return _Response(status=HTTPStatus.MOVED_PERMANENTLY, headers=(("Location", path),))


class _Server(http.server.ThreadingHTTPServer):
    # A client that was killed, or that has its file, leaves a thread which nobody waits for.
    daemon_threads = True

    def __init__(self, index: Index, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.index = index
        self._tls = tls

    def finish_request(
        self, request: "socket.socket | tuple[bytes, socket.socket]", client_address: Any
    ) -> None:
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        assert isinstance(request, socket.socket)
        # In the connection's own thread. A client need not trust this server, nor end politely.
        with (
            contextlib.suppress(ssl.SSLError, ConnectionError),
            self._tls.wrap_socket(request, server_side=True) as secured,
        ):
            super().finish_request(secured, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        response = self.server.index.respond(
            self.path,
            accept=self.headers.get("Accept", ""),
            authorization=self.headers.get("Authorization", ""),
        )
        # Clients that are killed or that time out are what some tests are about.
        with contextlib.suppress(ConnectionError):
            self._send(response)

    def _send(self, response: _Response) -> None:
        self.send_response(response.status)
        self.send_header("Content-Type", response.kind)
        self.send_header("Content-Length", str(len(response.body)))
        for name, value in response.headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(response.body[: response.cut_after])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: `Index.requests` is the log."""
