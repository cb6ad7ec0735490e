"""Engines that stop in mid work, and whose disk is full."""

import gc
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from envkit.builders.build import Build, Builder
from envkit.builders.choice import choose
from envkit.engines import container
from envkit.engines.connecting import Connecting
from envkit.engines.container import Once
from envkit.engines.engine import Engine
from envkit.engines.progress import Event, Line, ignore
from envkit.errors import EnvkitError, RefusedError, ToolError
from tests.support import builds, engines
from tests.support.absence import lacking
from tests.support.base_images import BaseImages
from tests.support.disk import UnavailableError, disk
from tests.support.makes import Make
from tests.support.tiny_images import TINY, archive, tar

BASE = "envkit-tests/base:1"
WISHES = ["buildx", "api", "classic"]

# A step that says when it is there, and ends when it is asked to, as shells do not otherwise.
STEP = "RUN trap 'exit 143' TERM; echo started; sleep 103 & wait"

# More than the disk has room for, in bytes.
_MUCH = 400 << 20


# The SDK leaves a socket that cannot be connected to the collector of garbage.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Let what such a test leaves be collected before others begin."""
    yield
    gc.collect()


class Own(NamedTuple):
    """An engine of a test's own, its folder to build from, and how it is found."""

    real: engines.Engine
    root: Path
    environ: dict[str, str]

    @contextmanager
    def builder(self, wish: str) -> Iterator[Builder]:
        """Lend a builder with a connection of its own."""
        with Connecting(self.environ) as connecting:
            # What never answered is not known to have stopped.
            assert connecting.engine
            yield choose(wish, connecting, self.environ)

    def build(self, steps: str) -> Build:
        """Return a build that would replace an image."""
        return builds.build(f"FROM {BASE}\n{steps}\n", self.root, tags=(TINY,))

    def identity(self, name: str) -> str:
        """Return the id of an image, as the engine has it on disk."""
        return self.real.ask("image", "inspect", name, "--format", "{{.Id}}")


@pytest.fixture(scope="module")
def own(
    newest_make: Make, base_images: BaseImages, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Own]:
    """An engine that tests may stop, if they start it again."""
    with engines.Engine(newest_make) as made:
        base_images.load(made, BASE, None)
        environ = {**os.environ, **made.environ}
        with Engine(environ) as engine:
            engine.load([archive()])
        yield Own(made, tmp_path_factory.mktemp("root"), environ)


@pytest.fixture(scope="module")
def small(
    newest_make: Make, base_images: BaseImages, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Own]:
    """An engine on a disk that has room for little."""
    place, root = (tmp_path_factory.mktemp(name) for name in ("disk", "root"))
    with (root / "big").open("wb") as file:
        file.truncate(_MUCH)
    try:
        with (
            disk(place) as made,
            engines.Engine(newest_make, data=made.place / "data") as engine,
        ):
            base_images.load(engine, BASE, None)
            yield Own(engine, root, {**os.environ, **engine.environ})
    except UnavailableError as reason:
        lacking(reason)


@pytest.fixture
def full(small: Own) -> Iterator[Own]:
    """The same, which has its room back at the end."""
    yield small
    small.real.ask("builder", "prune", "--all", "--force")
    small.real.ask("image", "prune", "--force")


def _stopped(own: Own, work: Callable[[Callable[[], None]], object], how: str) -> EnvkitError:
    """Do some work, let the engine end when it says so, and return the error that it raises."""
    ending = threading.Thread(target=own.real.stop if how == "stop" else own.real.kill)
    try:
        with pytest.raises(EnvkitError) as raised:
            work(ending.start)
    finally:
        ending.join()
        own.real.start()
    return raised.value


@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest.mark.parametrize("wish", WISHES)
def test_it_stops_in_a_build(own: Own, wish: str, how: str) -> None:
    before = own.identity(TINY)

    def work(end: Callable[[], None]) -> None:
        def watch(event: Event) -> None:
            if isinstance(event, Line) and event.text == "started":
                end()

        with own.builder(wish) as builder:
            builder.build(own.build(STEP), watch)

    error = _stopped(own, work, how)
    assert isinstance(error, ToolError)
    assert f"unix://{own.real.socket}" in error.message
    assert error.message.endswith("stopped while it was to build the image")
    assert error.hint == "Start it and run this again. No image was changed."
    assert own.identity(TINY) == before


def test_it_stops_while_an_image_is_loaded(own: Own) -> None:

    def work(end: Callable[[], None]) -> None:
        def slow() -> Iterator[bytes]:
            data = archive(b"x" * 1_000_000)
            yield data[:1000]
            end()
            builds.wait_for(lambda: not own.real.answers())
            yield from (data for _ in range(100))

        with Engine(own.environ) as engine:
            engine.load(slow())

    error = _stopped(own, work, "kill")
    assert isinstance(error, ToolError)
    assert "stopped while it was to load an image" in error.message


def test_it_stops_while_a_command_runs(own: Own) -> None:

    def work(end: Callable[[], None]) -> None:
        threading.Timer(1, end).start()
        with Engine(own.environ) as engine:
            container.run_once(engine, Once(BASE, ["sleep", "104"]))

    error = _stopped(own, work, "kill")
    assert isinstance(error, ToolError)
    assert "stopped while it was to run 'sleep'" in error.message


@pytest.mark.parametrize("wish", WISHES)
def test_the_disk_is_full_in_a_step(full: Own, tmp_path: Path, wish: str) -> None:
    before = full.real.images()
    step = f"RUN head -c {_MUCH} /dev/zero >/big"
    with full.builder(wish) as builder, pytest.raises(RefusedError) as raised:
        builder.build(full._replace(root=tmp_path).build(step), ignore)
    assert "disk is full" in raised.value.message
    assert "No space left on device" in raised.value.message
    assert raised.value.message.startswith("Dockerfile:2: ")
    assert "docker system df" in raised.value.hint
    assert full.real.images() == before
    assert full.real.containers() == []


@pytest.mark.parametrize("wish", WISHES)
def test_the_disk_is_full_when_the_context_comes(full: Own, wish: str) -> None:
    before = full.real.images()
    with full.builder(wish) as builder, pytest.raises(RefusedError, match="disk is full"):
        builder.build(full.build("COPY big /"), ignore)
    assert full.real.images() == before


def test_the_disk_is_full_when_an_image_comes(full: Own) -> None:
    before = full.real.images()

    def large() -> Iterator[bytes]:
        piece = os.urandom(1 << 20)
        # The length that a header announces is what is written, whatever it is.
        yield tar({"layer.tar": piece * (_MUCH >> 20)})[:512]
        yield from (piece for _ in range(_MUCH >> 20))

    with Engine(full.environ) as engine, pytest.raises(RefusedError, match="disk is full"):
        engine.load(large())
    assert full.real.images() == before


def test_the_same_engine_goes_on(own: Own) -> None:
    with own.builder("api") as builder:
        built = builder.build(own.build("RUN true"), ignore)
    assert own.identity(TINY) == built.id
    with Engine(own.environ) as engine:
        once = Once(TINY, ["cat", "/x"], files=tar({"x": b"y"}))
        assert container.run_once(engine, once).stdout == "y"
