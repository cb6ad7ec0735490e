"""A forward proxy on this machine alone, which knows hosts that nobody else knows."""

import base64
import contextlib
import http.client
import http.server
import selectors
import socket
from collections.abc import Mapping
from email.message import Message
from http import HTTPStatus
from urllib.parse import urlsplit

from .loopback import answering

# Seconds for which a host is waited for.
_PATIENCE = 30

# What is between two neighbours only (RFC 9110, 7.6.1).
_HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "proxy-authorization"}


class Proxy:
    """A proxy for http, and for https by CONNECT, which serves while it is entered.

    hosts says where each host leads that it knows, as `address:port`, whatever port is asked for;
    all others are out of its reach. With credentials, `user:password`, it wants to see them.

    requests holds what it was asked for in the order of arrival, refused or not:
    `GET http://index.invalid/simple/alpha/`, `CONNECT index.invalid:443`.
    """

    def __init__(self, hosts: Mapping[str, str], *, credentials: str = "") -> None:
        self.requests: list[str] = []
        self._hosts = hosts
        self._credentials = credentials
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> "Proxy":
        self._server = self._cleanup.enter_context(answering(_Server(self)))
        return self

    def __exit__(self, *exception: object) -> None:
        self._cleanup.close()

    @property
    def host(self) -> str:
        """Its own `address:port`."""
        return f"127.0.0.1:{self._server.server_port}"

    def admits(self, authorization: str) -> bool:
        """Return whether a `Proxy-Authorization` header is what it wants to see."""
        expected = f"Basic {base64.b64encode(self._credentials.encode()).decode()}"
        return not self._credentials or authorization == expected

    def place(self, host: str | None) -> tuple[str, int] | None:
        """Return the address and port of a host; None if it is out of reach."""
        found = self._hosts.get(host or "")
        address, _, port = (found or "").partition(":")
        return (address, int(port)) if found else None


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, proxy: Proxy) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy = proxy


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        place = self._admitted(urlsplit(self.path).hostname)
        if place is None:
            return
        split = urlsplit(self.path)
        target = split.path + (f"?{split.query}" if split.query else "")
        with contextlib.closing(http.client.HTTPConnection(*place, timeout=_PATIENCE)) as onward:
            onward.request("GET", target, headers=_passed_on(self.headers))
            answer = onward.getresponse()
            body = answer.read()
            self.send_response_only(answer.status)
            for name, value in _passed_on(answer.headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    def do_CONNECT(self) -> None:
        place = self._admitted(urlsplit(f"//{self.path}").hostname)
        if place is None:
            return
        with socket.create_connection(place, timeout=_PATIENCE) as onward:
            self.send_response_only(HTTPStatus.OK)
            self.end_headers()
            # A client that is killed, or that does not trust the host, is what tests are about.
            with contextlib.suppress(ConnectionError):
                _join(self.connection, onward)

    def _admitted(self, host: str | None) -> tuple[str, int] | None:
        """Return where a request leads; None if it was answered, with a refusal."""
        proxy = self.server.proxy
        proxy.requests.append(f"{self.command} {self.path}")
        place = proxy.place(host)
        if not proxy.admits(self.headers.get("Proxy-Authorization", "")):
            self.send_response(HTTPStatus.PROXY_AUTHENTICATION_REQUIRED)
            self.send_header("Proxy-Authenticate", 'Basic realm="proxy"')
        elif place is None:
            self.send_response(HTTPStatus.BAD_GATEWAY)
        else:
            return place
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: `Proxy.requests` is the log."""


def _passed_on(headers: Message) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}


def _join(one: socket.socket, other: socket.socket) -> None:
    """Pass on what either of two says to the other, until one of them has no more to say."""
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in selector.select():
                assert isinstance(key.fileobj, socket.socket)
                data = key.fileobj.recv(65536)
                if not data:
                    return
                key.data.sendall(data)
