"""What servers answer that is no file, or not the one that was asked for."""

import contextlib
import http.server
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from envkit.assets import sources, transfer
from envkit.assets.transfer import Transfer, Wish
from envkit.errors import EnvkitError, ToolError
from envkit.store.layout import Store
from tests.assets.test_transfer import sha256
from tests.support import loopback

CONTENT = bytes(range(256)) * 2000

# Answers a request, the number of which is given.
Answer = Callable[[http.server.BaseHTTPRequestHandler, int], None]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_PAUSES", (0.01,) * 4)
    monkeypatch.setattr(sources, "_TIMEOUT", (1.0, 0.5))
    monkeypatch.setenv("NETRC", "/dev/null")


@pytest.fixture
def answering() -> Iterator[Callable[[Answer], str]]:
    """Makes a server that answers in some way, and returns its address."""
    cleanup = contextlib.ExitStack()

    def make(answer: Answer) -> str:
        asked: list[int] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(1)
                answer(self, len(asked))

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        port = cleanup.enter_context(loopback.answering(server)).server_port
        return f"http://127.0.0.1:{port}/file?token=secret"

    with cleanup:
        yield make


def send(
    handler: http.server.BaseHTTPRequestHandler, code: int, body: bytes, **headers: str
) -> None:
    handler.send_response(code)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def refused(store: Store, wish: Wish) -> str:
    with pytest.raises(EnvkitError) as raised:
        Transfer(store, lambda _: None).bring([wish])
    text = f"{raised.value.message} {raised.value.hint}"
    assert "secret" not in text
    assert not [name for name in os.listdir(store.assets) if not name.endswith(".lock")]
    return text


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda h, _: send(h, 204, b""), "no file (HTTP 204"),
        (lambda h, _: send(h, 202, b"later"), "no file (HTTP 202"),
        (lambda h, _: send(h, 302, b"moved"), "no file (HTTP 302"),
        (lambda h, _: send(h, 416, b""), "refused (HTTP 416"),
        (lambda h, _: send(h, 206, CONTENT), "no file (HTTP 206"),
        (lambda h, _: send(h, 200, CONTENT, Content_Encoding="gzip"), "comes as gzip"),
        (lambda h, _: send(h, 302, b"", Location="/file"), "in a circle"),
        (lambda h, _: send(h, 302, b"", Location="file:///etc/passwd"), "cannot be asked"),
        (lambda h, _: send(h, 302, b"", Location="http://[x/"), ""),
        (lambda h, _: send(h, 401, b""), "refused (HTTP 401"),
    ],
)
def test_what_is_no_file(
    answering: Callable[[Answer], str], tmp_path: Path, answer: Answer, words: str
) -> None:
    assert words in refused(Store(tmp_path), Wish(answering(answer)))


@pytest.mark.parametrize("form", ["bytes 0-511999/512000", "bytes 9-511999/512000", "x", ""])
def test_another_part_than_was_asked_for(
    answering: Callable[[Answer], str], tmp_path: Path, form: str
) -> None:
    """No half of one answer is put to a half of another."""

    def answer(handler: http.server.BaseHTTPRequestHandler, number: int) -> None:
        if number == 1:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(CONTENT)))
            handler.send_header("ETag", '"one"')
            handler.end_headers()
            handler.wfile.write(CONTENT[:100_000])
        else:
            send(handler, 206, CONTENT[:412_000], Content_Range=form)

    with pytest.raises(ToolError, match="asked for what follows byte 100000"):
        Transfer(Store(tmp_path), lambda _: None).bring([Wish(answering(answer))])
    assert not [name for name in os.listdir(Store(tmp_path).assets) if len(name) == 64]


def test_one_that_changes_and_does_not_say_so(
    answering: Callable[[Answer], str], tmp_path: Path
) -> None:
    other = CONTENT[::-1]

    def answer(handler: http.server.BaseHTTPRequestHandler, number: int) -> None:
        if number == 1:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(CONTENT)))
            handler.end_headers()
            handler.wfile.write(CONTENT[:100_000])
        else:
            send(handler, 200, other)

    store = Store(tmp_path)
    assert Transfer(store, lambda _: None).bring([Wish(answering(answer))]) == [sha256(other)]


def test_one_that_always_begins_again_is_given_up(
    answering: Callable[[Answer], str], tmp_path: Path
) -> None:
    asked: list[int] = []

    def answer(handler: http.server.BaseHTTPRequestHandler, number: int) -> None:
        asked.append(number)
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        handler.wfile.write(CONTENT[:100_000])

    with pytest.raises(ToolError, match="incomplete read"):
        Transfer(Store(tmp_path), lambda _: None).bring([Wish(answering(answer), sha256(CONTENT))])
    assert len(asked) < 10


def test_what_nobody_foresaw_ends_it(
    answering: Callable[[Answer], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a netrc that is not text: an error, and no waiting for ever."""
    netrc = tmp_path / "netrc"
    netrc.write_bytes(b"\xff\xfe")
    monkeypatch.setenv("NETRC", str(netrc))
    said = refused(Store(tmp_path / "store"), Wish(answering(lambda h, _: send(h, 200, CONTENT))))
    assert "cannot be asked" in said


def test_it_goes_on_after_an_interruption_if_the_server_says_that_it_is_the_same(
    answering: Callable[[Answer], str], tmp_path: Path
) -> None:
    asked: list[str] = []

    def answer(handler: http.server.BaseHTTPRequestHandler, number: int) -> None:
        asked.append(handler.headers.get("Range", ""))
        if number <= 5:
            handler.send_response(200 if number == 1 else 503)
            handler.send_header("Content-Length", str(len(CONTENT)))
            handler.send_header("ETag", '"one"')
            handler.end_headers()
            handler.wfile.write(CONTENT[:100_000] if number == 1 else b"")
        else:
            size = len(CONTENT)
            send(handler, 206, CONTENT[100_000:], Content_Range=f"bytes 100000-{size - 1}/{size}")

    url, store = answering(answer), Store(tmp_path)
    with pytest.raises(ToolError):
        Transfer(store, lambda _: None).bring([Wish(url)])
    assert Transfer(store, lambda _: None).bring([Wish(url)]) == [sha256(CONTENT)]
    assert asked[-1] == "bytes=100000-"
    assert [name for name in os.listdir(store.assets) if len(name) != 64] == []
