"""Every builder, for real: the same Dockerfile, the same events, the same errors."""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest

from envkit.builders.build import Build, Builder
from envkit.builders.choice import choose
from envkit.engines import container
from envkit.engines.connecting import Connecting
from envkit.engines.container import Once
from envkit.engines.engine import Engine
from envkit.engines.progress import Event, Line, ignore
from envkit.errors import EnvkitError, Interrupted, MissingError, ToolError, UsageError
from tests.support import builds, engines
from tests.support.base_images import BaseImages
from tests.support.builds import FAILING, pack, told
from tests.support.makes import Make

APP = "envkit-tests/app:1"
SECRET = "v3ry-s3cret-value"

BUILDERS = [
    *(("engine", "buildx"), ("engine", "api"), ("engine", "classic")),
    *(("older_engine", "buildx"), ("older_engine", "api"), ("older_engine", "classic")),
]

# What engines say differs little between these and the others.
few = pytest.mark.parametrize(
    "bench", [BUILDERS[0], BUILDERS[4], BUILDERS[5]], indirect=True, ids=" ".join
)
over_the_api = pytest.mark.parametrize(
    "bench", [one for one in BUILDERS if one[1] != "buildx"], indirect=True, ids=" ".join
)
by_buildx = pytest.mark.parametrize(
    "bench", [one for one in BUILDERS if one[1] == "buildx"], indirect=True, ids=" ".join
)


class Bench(NamedTuple):
    """A builder, its engine as it is and as it is spoken with, and a folder to build from."""

    builder: Builder
    wish: str
    real: engines.Engine
    engine: Engine
    root: Path
    base: str

    def build(self, text: str, **more: Any) -> Build:
        """Return a build whose base image is the one there is."""
        arguments = {"BASE": self.base, **more.pop("arguments", {})}
        return builds.build(text, self.root, arguments=arguments, **more)

    def failure(self, text: str, **more: Any) -> EnvkitError:
        """Return the error of a build that has to fail."""
        with pytest.raises(EnvkitError) as raised:
            self.builder.build(self.build(text, **more), ignore)
        return raised.value


@pytest.fixture(params=BUILDERS, ids=" ".join)
def bench(request: pytest.FixtureRequest, tmp_path: Path, base: str) -> Iterator[Bench]:
    """Each builder of each engine."""
    kind, wish = request.param
    real: engines.Engine = request.getfixturevalue(kind)
    (tmp_path / "greeting.txt").write_text("hello\n", encoding="utf-8")
    environ = {**os.environ, **real.environ, "TOKEN": SECRET}
    with Connecting(environ) as ours:
        engine = ours.engine
        yield Bench(choose(wish, ours, environ), wish, real, engine, tmp_path, base)
        engine.remove(APP)
    assert real.containers() == []


@contextmanager
def _interrupted() -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, stop)
    try:
        with pytest.raises(Interrupted):
            yield
    finally:
        signal.signal(signal.SIGALRM, before)


def _printed(events: list[Event]) -> str:
    return "\n".join(event.text for event in events if isinstance(event, Line))


def test_an_image_is_built_and_then_known(bench: Bench) -> None:
    unique = {"CODE": "0", "UNIQUE": str(bench.root)}
    text = builds.DOCKERFILE.replace("AS deps\n", "AS deps\nARG UNIQUE\n")
    build = bench.build(
        text, arguments=unique, tags=(APP, "envkit-tests/app:2"), labels={"a": "b c"}
    )
    events: list[Event] = []
    built = bench.builder.build(build, events.append)
    image = bench.engine.require(APP)
    assert (built.id, image.labels["a"]) == (image.id, "b c")
    assert image.tags == (APP, "envkit-tests/app:2")
    assert bench.engine.remove("envkit-tests/app:2")
    steps = told(events, bench.base)
    if bench.wish != "classic":
        assert [one.name.partition("]")[0] for one in steps] == [
            *("[deps 1/2", "[deps 2/2", "[stage-1 1/3", "[stage-1 2/3", "[stage-1 3/3")
        ]
        assert [one.line for one in steps] == [3, 5, 10, 11, 12]
    assert {one.state for one in steps} <= {"done", "cached"}
    assert {"one", "TWO", "no end", "hello", "oops"} <= {*_printed(events).splitlines()}
    events.clear()
    assert bench.builder.build(build, events.append).id == built.id
    assert "cached" in {one.state for one in told(events, bench.base)}
    assert _printed(events) == ""
    # Who wants none of that gets another image, as time has passed.
    assert "hello" in _again(bench, build)


def _again(bench: Bench, build: Build) -> str:
    events: list[Event] = []
    bench.builder.build(build._replace(no_cache=True), events.append)
    return _printed(events)


def test_the_composed_dockerfile_is_the_one_that_counts(bench: Bench) -> None:
    (bench.root / "Dockerfile").write_text("FROM nothing\n", encoding="utf-8")
    text = "ARG BASE\nFROM ${BASE} AS one\nFROM one AS two\nRUN false\n"
    built = bench.builder.build(bench.build(text, target="one", tags=(APP,)), ignore)
    assert bench.engine.require(built.id).layers == bench.engine.require(bench.base).layers


@by_buildx
def test_what_is_ignored_is_not_sent(bench: Bench) -> None:
    (bench.root / ".venv").mkdir()
    (bench.root / ".venv" / "big").touch()
    text = "ARG BASE\nFROM ${BASE}\nWORKDIR /srv\nCOPY . .\n"
    build = bench.build(text, ignore=".venv\n", tags=(APP,))
    bench.builder.build(build, ignore)
    ended = container.run_once(bench.engine, Once(APP, ["ls", "-A", "/srv"]))
    assert "greeting.txt" in ended.stdout
    assert ".venv" not in ended.stdout


def test_a_step_that_fails(bench: Bench) -> None:
    before = bench.builder.build(bench.build("ARG BASE\nFROM $BASE\n", tags=(APP,)), ignore).id
    error = bench.failure(builds.DOCKERFILE, arguments=FAILING, tags=(APP,))
    assert isinstance(error, ToolError)
    first, *last = error.message.splitlines()
    assert first.startswith("Dockerfile:11: [")
    assert first.endswith("failed with exit code 7:")
    assert "RUN cat greeting.txt; echo oops >&2; exit" in first
    assert sorted(last) == ["hello", "oops"]
    assert bench.engine.require(APP).id == before


FAULTS: list[tuple[str, type[EnvkitError], str]] = [
    (
        "FROM $BASE\nRUN true\nRUNN foo\n",
        UsageError,
        "Dockerfile:4: unknown instruction: RUNN",
    ),
    (
        "FROM $BASE\nCOPY a\n",
        UsageError,
        "Dockerfile:3: COPY requires at least two arguments",
    ),
    ("", UsageError, "Dockerfile: there is no FROM in it"),
    ("FROM envkit.invalid/x:1\n", MissingError, "Dockerfile:2: the base image envkit.invalid/x:1"),
    ("FROM $BASE\n\nCOPY nothing /x\n", ToolError, "Dockerfile:4: ["),
    ('FROM $BASE\nRUN ["envkit-nothing"]\n', ToolError, "executable file not found"),
    ("FROM $BASE\nUSER nobody-knows-me\nRUN true\n", ToolError, "Dockerfile:4: ["),
    ("FROM $BASE\nRUN cat /etc/passwd >/dev/full\n", EnvkitError, "disk is full"),
]


@few
@pytest.mark.parametrize(("text", "kind", "words"), FAULTS)
def test_faults(bench: Bench, text: str, kind: type[EnvkitError], words: str) -> None:
    error = bench.failure(f"ARG BASE\n{text}", tags=(APP,))
    assert isinstance(error, kind)
    assert words in error.message
    assert "Traceback" not in error.message
    assert APP not in bench.real.images()


@few
def test_a_stage_that_is_not_there(bench: Bench) -> None:
    error = bench.failure("ARG BASE\nFROM $BASE AS one\nFROM one AS two\n", target="three")
    assert isinstance(error, UsageError)
    assert error.message == "Dockerfile: there is no stage 'three'"
    assert error.hint == "Its stages are one, two."


def test_another_platform(bench: Bench) -> None:
    machine = bench.engine.facts().architecture
    other = "linux/arm64" if machine == "amd64" else "linux/amd64"
    error = bench.failure("ARG BASE\nFROM $BASE\n", platforms=(other,), tags=(APP,))
    assert other in error.message
    assert APP not in bench.real.images()
    same = bench.build("ARG BASE\nFROM $BASE\n", platforms=(f"linux/{machine}",), tags=(APP,))
    assert bench.builder.build(same, ignore).id == bench.engine.require(APP).id


def test_interrupted(bench: Bench) -> None:
    text = f"ARG BASE\nFROM $BASE\nRUN echo started {bench.root}; sleep 101\n"
    images = bench.real.images()

    def stop(event: Event) -> None:
        if isinstance(event, Line) and event.text.startswith("started"):
            assert any("sleep 101" in command for command in bench.real.busy())
            signal.raise_signal(signal.SIGALRM)

    with _interrupted():
        bench.builder.build(bench.build(text, tags=(APP,)), stop)
    builds.wait_for(lambda: not any("sleep 101" in one for one in bench.real.busy()))
    builds.wait_for(lambda: bench.real.containers() == [])
    assert bench.real.images() == images


@over_the_api
def test_what_the_source_of_the_context_raises(bench: Bench) -> None:
    def broken(extra: Mapping[str, bytes]) -> Iterator[bytes]:
        yield next(pack(bench.root, extra))[:700]
        raise UsageError("a file changed")

    error = bench.failure("ARG BASE\nFROM $BASE\nRUN sleep 102\n", pack=broken, tags=(APP,))
    assert error.message == "a file changed"
    assert not any("sleep 102" in command for command in bench.real.busy())


MOUNT = "RUN --mount=type=secret,id=token"
SECRETLY = f"ARG BASE\nFROM $BASE\n{MOUNT} cat /run/secrets/token; wc -c /run/secrets/token"


@by_buildx
@pytest.mark.parametrize("source", ["env=TOKEN", "src=../token.txt"])
def test_secrets_are_shown_nowhere(bench: Bench, source: str) -> None:
    (bench.root.parent / "token.txt").write_text(SECRET, encoding="utf-8")
    spec = f"id=token,{source}"
    events: list[Event] = []
    build = bench.build(SECRETLY, secrets=(spec,), tags=(APP,), no_cache=True)
    bench.builder.build(build, events.append)
    assert f"***{len(SECRET)} /run/secrets/token" in _printed(events)
    error = bench.failure(f"{SECRETLY}; exit 9", secrets=(spec,), tags=(APP,))
    assert "***" in error.message
    assert SECRET not in f"{error.message} {error.hint} {events}"
    assert SECRET not in str(bench.engine.history(APP))
    saved = b"".join(bench.engine.client.get_image(APP))
    assert len(saved) > 1_000_000
    assert SECRET.encode() not in saved


@over_the_api
def test_what_only_buildx_does(bench: Bench) -> None:
    wanted: list[dict[str, Any]] = [
        {"secrets": ("id=token,env=TOKEN",)},
        {"platforms": ("linux/amd64", "linux/arm64")},
        {"cache_to": ("type=local,dest=x",)},
        {"push": True},
    ]
    for more in wanted:
        error = bench.failure(SECRETLY, tags=(APP,), **more)
        assert isinstance(error, MissingError)
        assert "--builder buildx" in error.hint
    with pytest.raises(UsageError, match="reads a cache from images only"):
        bench.builder.build(bench.build("FROM x\n", cache_from=("type=local,src=x",)), ignore)


def test_the_choice(engine: engines.Engine) -> None:
    environ = {**os.environ, **engine.environ}
    bare = {**os.environ, **engine.bare_environ}
    with Connecting(environ) as ours:
        names = [choose(wish, ours, environ).name for wish in ("auto", "buildx", "buildx:x", "api")]
        assert names == ["buildx", "buildx", "buildx:x", "the engine's API (BuildKit)"]
        assert choose("auto", ours, bare).name == "the engine's API (BuildKit)"
        assert choose("classic", ours, bare).name == "the engine's API (classic builder)"
        with pytest.raises(MissingError, match="buildx is not installed"):
            choose("buildx", ours, bare)
        for wish in ("", "buildx:", "api:x", "podman", "classic:x"):
            with pytest.raises(UsageError, match="is no builder"):
                choose(wish, ours, environ)


def test_a_builder_that_is_not_there(engine: engines.Engine, tmp_path: Path) -> None:
    environ = {**os.environ, **engine.environ}
    with Connecting(environ) as ours, pytest.raises(MissingError, match="has no builder 'nobody'"):
        choose("buildx:nobody", ours, environ).build(builds.build("FROM x\n", tmp_path), ignore)


@pytest.fixture(scope="module")
def containerd(newest_make: Make, base_images: BaseImages) -> Iterator[engines.Engine]:
    """An engine whose images are in containerd's store."""
    settings = {"features": {"containerd-snapshotter": True}}
    with engines.Engine(newest_make, settings=settings) as made:
        base_images.load(made, "envkit-tests/base:1", None)
        yield made


@pytest.mark.parametrize("wish", ["buildx", "api", "classic"])
def test_images_in_containerds_store(containerd: engines.Engine, tmp_path: Path, wish: str) -> None:
    environ = {**os.environ, **containerd.environ}
    text = "FROM envkit-tests/base:1\nCOPY greeting.txt /\nRUN cat greeting.txt\n"
    (tmp_path / "greeting.txt").write_text(f"hello {wish}\n", encoding="utf-8")
    events: list[Event] = []
    with Connecting(environ) as ours:
        engine = ours.engine
        assert engine.facts().containerd_images
        builder = choose(wish, ours, environ)
        built = builder.build(builds.build(text, tmp_path, tags=(APP,)), events.append)
        assert engine.require(APP).id == built.id
        assert engine.require(built.id).tags == (APP,)
        assert built.builder == builder.name
    assert {one.state for one in told(events)} <= {"done", "cached"}
    assert _printed(events) == f"hello {wish}"
    assert not [event for event in events if getattr(event, "outcome", "") == "failed"]
