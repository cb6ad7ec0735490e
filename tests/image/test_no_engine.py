"""An engine that is not there, may not be used, or does not do as one does."""

import gc
import grp
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from envkit.engines.engine import Engine
from envkit.errors import EnvkitError, MissingError, ToolError, UsageError
from tests.support import sockets
from tests.support.sockets import as_nobody, response

PING = response(b"OK", Api_Version="1.41")


# The SDK leaves a socket that cannot be connected to the collector of garbage.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Let what such a test leaves be collected before others begin."""
    yield
    gc.collect()


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder for sockets."""
    with sockets.folder() as made:
        yield made


def _error(address: str, *, patience: float = 10.0, **environ: str) -> EnvkitError:
    with pytest.raises(EnvkitError) as raised:
        Engine({"DOCKER_HOST": address, **environ}, patience=patience)
    assert "\n" not in raised.value.message + raised.value.hint
    return raised.value


def test_there_is_none(place: Path) -> None:
    error = _error(f"unix://{place}/docker.sock")
    assert isinstance(error, MissingError)
    assert error.message == (
        f"No Docker Engine at unix://{place}/docker.sock (DOCKER_HOST): no such file or directory"
    )
    assert "DOCKER_HOST" in error.hint


def test_the_socket_is_stale(place: Path) -> None:
    error = _error(f"unix://{sockets.stale(place)}")
    assert isinstance(error, MissingError)
    assert error.message.endswith("connection refused")
    assert "nobody listens" in error.hint


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("tcp://127.0.0.1:1", "connection refused"),
        ("tcp://nowhere.invalid:2375", "its name is not known"),
    ],
)
def test_nobody_listens_there(address: str, words: str) -> None:
    error = _error(address)
    assert isinstance(error, MissingError)
    assert error.message.endswith(f"{address} (DOCKER_HOST): {words}")


@pytest.mark.parametrize(
    "address", ["junk://x", "tcp://host", "fd://", "tcp://", "tcp://h:99999999"]
)
def test_the_address_makes_no_sense(address: str) -> None:
    error = _error(address)
    assert isinstance(error, UsageError)
    assert address in error.message
    assert "unix:///path" in error.hint


def test_it_is_reached_by_ssh() -> None:
    error = _error("ssh://user@nowhere.invalid")
    assert isinstance(error, MissingError)
    assert "paramiko" in error.message


def test_it_never_answers(place: Path) -> None:
    with sockets.answering(place, None, None) as address:
        error = _error(f"unix://{address}", patience=0.2)
    assert isinstance(error, ToolError)
    assert "does not answer" in error.message
    assert "restart it" in error.hint


@pytest.mark.parametrize(
    "answer",
    [
        response(b"<html>"),
        response(b"<html>", "404 Not Found"),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
        response(b"OK", "302 Found", Location="/"),
    ],
)
def test_what_answers_is_no_engine(place: Path, answer: bytes) -> None:
    with sockets.answering(place, None, *[answer] * 40) as address:
        error = _error(f"unix://{address}")
    assert isinstance(error, (MissingError, ToolError))
    assert f"unix://{address}" in error.message


def test_it_stops_answering(place: Path) -> None:
    with sockets.answering(place, None, PING) as address:
        engine = Engine({"DOCKER_HOST": f"unix://{address}"})
    with pytest.raises(ToolError, match=r"stopped while it was to tag 'a' as 'b'") as raised:
        engine.tag("a", "b")
    assert raised.value.hint == "Start it and run this again. No image was changed."
    engine.client.close()


@pytest.mark.parametrize("body", [b"{broken", b'{"stream": "x"}\n["junk"]\n', b"\xff\n"])
def test_an_answer_that_is_not_understood(place: Path, body: bytes) -> None:
    with (
        sockets.answering(place, None, PING, response(body)) as address,
        Engine({"DOCKER_HOST": f"unix://{address}"}) as engine,
        pytest.raises(ToolError, match="answered what is not understood"),
    ):
        engine.load([b"x"])


def test_an_answer_that_is_cut_off(place: Path) -> None:
    cut = response(b'{"stream": "x"}\n' * 9)[:-20]
    with (
        sockets.answering(place, None, PING, cut) as address,
        Engine({"DOCKER_HOST": f"unix://{address}"}) as engine,
        pytest.raises(ToolError, match="stopped while it was to load an image"),
    ):
        engine.load([b"x"])


def test_the_settings_of_the_command_line_are_broken(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "config.json").write_text('{"auths": {"host": {"auth": "?"}}}', encoding="utf-8")
    monkeypatch.setenv("DOCKER_CONFIG", str(place))
    with sockets.answering(place, None) as address:
        error = _error(f"unix://{address}")
    assert isinstance(error, UsageError)
    assert "config.json" in error.message


@pytest.mark.skipif(os.geteuid() != 0, reason="only an administrator can be somebody else")
@pytest.mark.parametrize(
    ("group", "mode", "words"),
    [
        ("daemon", 0o660, "usermod -aG daemon"),
        ("daemon", 0o600, "not open to any group"),
        ("root", 0o660, "not open to any group"),
    ],
)
def test_it_may_not_be_used(place: Path, group: str, mode: int, words: str) -> None:
    with sockets.answering(place, None, PING) as address:
        os.chown(address, 0, grp.getgrnam(group).gr_gid)
        address.chmod(mode)
        with pytest.raises(MissingError) as raised:
            as_nobody(lambda: Engine({"DOCKER_HOST": f"unix://{address}"}))
    assert str(address) in raised.value.message
    assert group in raised.value.message
    assert words in raised.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only an administrator can be somebody else")
def test_the_folder_of_the_socket_may_not_be_entered(place: Path) -> None:
    place.chmod(0o700)
    with pytest.raises(MissingError) as raised:
        as_nobody(lambda: Engine({"DOCKER_HOST": f"unix://{place}/docker.sock"}))
    assert "No permission" in raised.value.message
    assert f"ls -ld {place}" in raised.value.hint
