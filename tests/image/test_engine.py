"""What an engine is asked to do, by the newest engine here and by the distribution's own."""

import gc
import hashlib
import json
import signal
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from envkit.engines import container
from envkit.engines.container import Once
from envkit.engines.engine import Engine
from envkit.errors import EnvkitError, Interrupted, MissingError, ToolError, UsageError
from tests.support import engines
from tests.support.tiny_images import LABEL, TINY, archive, tar


@pytest.fixture(params=["engine", "older_engine"], scope="module")
def real(request: pytest.FixtureRequest) -> engines.Engine:
    """An engine of the tests' own."""
    found: engines.Engine = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def ours(real: engines.Engine) -> Iterator[Engine]:
    """The same, as it is spoken with here."""
    with Engine(real.environ) as made:
        yield made


@contextmanager
def _interrupted(after: float) -> Iterator[None]:
    """Interrupt what is done here, so many seconds later."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, after)
    try:
        try:
            yield
        except Interrupted as error:
            # A socket that nothing had hold of yet when that came is closed here.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                traceback.clear_frames(error.__traceback__)
                gc.collect()
        else:
            pytest.fail("it was not interrupted")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_facts(real: engines.Engine, ours: Engine) -> None:
    said: dict[str, Any] = json.loads(real.ask("version", "--format", "{{json .Server}}"))
    facts = ours.facts()
    assert (facts.version, facts.os) == (said["Version"], said["Os"])
    assert facts.architecture == said["Arch"]
    assert facts.api_version == min(said["ApiVersion"], "1.45")
    assert facts.containerd_images is False
    assert facts.builder_version == ("" if facts.version.startswith("20.") else "2")


def test_images_come_and_go(real: engines.Engine, ours: Engine) -> None:
    data = archive()
    assert ours.inspect(TINY) is None
    assert ours.images(LABEL) == ()
    ours.load(data[at : at + 500] for at in range(0, len(data), 500))
    image = ours.require(TINY)
    assert image.id == real.ask("image", "inspect", TINY, "--format", "{{.Id}}")
    assert image.layers == (f"sha256:{hashlib.sha256(tar({'file': b'hello'})).hexdigest()}",)
    assert (image.labels, image.tags) == ({LABEL: "yes"}, (TINY,))
    assert (image.os, image.architecture) == ("linux", "amd64")
    assert (image.config["User"], image.config["Cmd"]) == ("me", ["x"])
    assert image.created == "2023-11-14T22:13:20Z"
    assert [(one.command, one.size) for one in ours.history(TINY)] == [("by hand", image.size)]
    (listed,) = ours.images(f"{LABEL}=yes")
    assert (listed.id, listed.tags, listed.size) == (image.id, image.tags, image.size)
    assert ours.images(f"{LABEL}=no") == ()
    ours.tag(image.id, "localhost:5000/envkit-tests/other")
    assert ours.require(image.id).tags == (TINY, "localhost:5000/envkit-tests/other:latest")
    assert ours.remove(TINY)
    assert not ours.remove(TINY)
    assert ours.require(image.id).tags == ("localhost:5000/envkit-tests/other:latest",)
    assert ours.remove("localhost:5000/envkit-tests/other")
    assert ours.inspect(image.id) is None


def test_an_image_that_is_not_there(ours: Engine) -> None:
    for ask in (ours.require, ours.history, lambda name: ours.tag(name, "x"), ours.push):
        with pytest.raises(MissingError, match="has no image 'envkit-tests/none"):
            ask("envkit-tests/none")


@pytest.mark.parametrize("name", ["", ":1", "a@sha256:00", "host/"])
def test_what_is_no_name(ours: Engine, base: str, name: str) -> None:
    with pytest.raises(UsageError, match="is no name for an image"):
        ours.tag(base, name)


@pytest.mark.parametrize("name", ["Upper", "a b", "a:b:c", "-a"])
def test_a_name_that_the_engine_refuses(ours: Engine, base: str, name: str) -> None:
    with pytest.raises(ToolError, match="could not tag") as raised:
        ours.tag(base, name)
    assert name in raised.value.message


@pytest.mark.parametrize("junk", [b"junk" * 500, archive()[:2000]])
def test_loading_what_is_no_archive(ours: Engine, junk: bytes) -> None:
    with pytest.raises(ToolError, match="could not load an image"):
        ours.load([junk])


def test_what_the_source_of_an_image_raises_comes_out(real: engines.Engine, ours: Engine) -> None:
    raised: list[BaseException] = [ValueError("x"), OSError(5, "x"), UsageError("x"), Interrupted()]

    def broken(error: BaseException) -> Iterator[bytes]:
        yield archive()[:1000]
        raise error

    for error in raised:
        with pytest.raises(type(error)) as caught:
            ours.load(broken(error))
        assert caught.value is error
    assert TINY not in real.images()


def test_a_command_that_ends(real: engines.Engine, ours: Engine, base: str) -> None:
    code = (
        "import os,sys; print(os.environ['A'], os.getuid()); print('e', file=sys.stderr); exit(3)"
    )
    command = ("python3", "-c", code)
    once = Once(base, command, environment={"A": "ä b"}, user="12:34")
    assert container.run_once(ours, once) == (3, "ä b 12\n", "e\n")
    assert real.containers() == []


def test_a_command_gets_files_and_no_network(ours: Engine, base: str) -> None:
    command = ("sh", "-c", "cat /srv/in; ls /sys/class/net")
    ended = container.run_once(ours, Once(base, command, files=tar({"srv/in": b"content\n"})))
    assert ended == (0, "content\nlo\n", "")


@pytest.mark.parametrize(
    ("image", "command", "words"),
    [
        ("", ["envkit-nothing"], "has no program 'envkit-nothing'"),
        ("", ["/envkit/nothing"], "has no program '/envkit/nothing'"),
        ("envkit-tests/none", ["true"], "has no image 'envkit-tests/none'"),
    ],
)
def test_a_command_that_is_missing(
    real: engines.Engine, ours: Engine, base: str, image: str, command: list[str], words: str
) -> None:
    with pytest.raises(MissingError, match=words):
        container.run_once(ours, Once(image or base, command))
    assert real.containers() == []


@pytest.mark.parametrize("once", [{"files": b"junk" * 999}, {"user": "nobody-knows-me"}])
def test_a_command_that_cannot_be_run(
    real: engines.Engine, ours: Engine, base: str, once: dict[str, Any]
) -> None:
    with pytest.raises(EnvkitError, match="'true'"):
        container.run_once(ours, Once(base, ["true"], **once))
    assert real.containers() == []


def test_a_command_that_does_not_end(real: engines.Engine, ours: Engine, base: str) -> None:
    with pytest.raises(ToolError, match=r"'sleep' in '.*' did not end within 1 s"):
        container.run_once(ours, Once(base, ["sleep", "100"], patience=1.0))
    assert real.containers() == []


@pytest.mark.parametrize("after", [0.001, 0.01, 0.03, 0.06, 0.1, 0.15, 0.3])
def test_a_command_that_is_interrupted(
    real: engines.Engine, ours: Engine, base: str, after: float
) -> None:
    with _interrupted(after):
        container.run_once(ours, Once(base, ["sleep", "100"]))
    assert real.containers() == []
    assert not any("sleep 100" in command for command in real.busy())


def test_two_at_once(ours: Engine, base: str) -> None:
    # The same connection serves, whatever became of what it was asked before.
    with _interrupted(0.2):
        container.run_once(ours, Once(base, ["sleep", "100"]))
    assert container.run_once(ours, Once(base, ["echo", "ok"])).stdout == "ok\n"
