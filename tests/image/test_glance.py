"""What is seen of an engine's images without the SDK is what the SDK sees."""

import os

import pytest

from envkit.engines.connecting import Connecting
from envkit.engines.glance import Glance
from envkit.errors import EnvkitError, MissingError
from tests.support import engines, sockets
from tests.support.sockets import response


@pytest.fixture(params=["engine", "older_engine"])
def connecting(request: pytest.FixtureRequest) -> Connecting:
    """Each engine, with which nobody is connected yet."""
    real: engines.Engine = request.getfixturevalue(request.param)
    return Connecting({**os.environ, **real.environ})


def test_it_sees_what_the_sdk_sees(connecting: Connecting, base: str) -> None:
    glance = Glance(connecting)
    found = glance.require(base)
    assert found == connecting.engine.inspect(base) == glance.inspect(found.id)
    assert glance.history(base) == connecting.engine.history(base)
    assert glance.inspect("nobody/has-this:1") is None
    assert glance.inspect("sha256:" + "0" * 64) is None
    with pytest.raises(MissingError, match="has no image 'nobody/has-this:1'"):
        glance.require("nobody/has-this:1")


def test_it_gives_names(connecting: Connecting, base: str) -> None:
    glance = Glance(connecting)
    image = glance.require(base)
    for name in ("glance:1", "127.0.0.1:5000/team/glance:1.2_x-y"):
        glance.tag(image.id, name)
        named = glance.inspect(name)
        assert named
        assert named.id == image.id
        assert name in named.tags
        connecting.engine.remove(name)
        assert glance.inspect(name) is None
    with pytest.raises(MissingError):
        glance.tag("nobody/has-this:1", "glance:1")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"no HTTP\r\n\r\n",
        response(b"{", status="200 OK"),
        response(b"[]", status="200 OK"),
        response(b'{"message": "broken"}', status="500 Internal Server Error"),
    ],
)
def test_what_is_not_plain_is_asked_of_the_sdk(answer: bytes) -> None:
    with sockets.folder() as place, sockets.answering(place, answer) as address:
        connecting = Connecting({"DOCKER_HOST": f"unix://{address}"})
        # After its one answer nobody is there, which the SDK's connection explains.
        with pytest.raises(EnvkitError, match="Docker Engine"):
            Glance(connecting).inspect("app")


def test_nobody_is_there() -> None:
    connecting = Connecting({"DOCKER_HOST": "unix:///nonexistent/docker.sock"})
    with pytest.raises(MissingError, match="No Docker Engine"):
        Glance(connecting).history("app")
