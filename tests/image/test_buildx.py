"""What buildx is asked for, and what is made of its answers; on any machine."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from envkit.builders import buildx
from envkit.builders.buildx import Buildx
from envkit.engines.connecting import Connecting
from envkit.engines.progress import Event, ignore
from envkit.errors import EnvkitError, MissingError, ToolError, UsageError
from tests.support import builds, sockets
from tests.support.builds import DOCKERFILE, told
from tests.support.fake_buildx import Call, FakeBuildx
from tests.support.sockets import response

SECRET = "v3ry-s3cret-value"


@pytest.fixture
def engine() -> Iterator[Connecting]:
    """An engine that says that it is one, and no more."""
    ping = response(b"OK", Api_Version="1.45")
    with (
        sockets.folder() as place,
        sockets.answering(place, None, ping) as address,
        Connecting({"DOCKER_HOST": f"unix://{address}"}) as made,
    ):
        yield made


def _run(engine: Connecting, fake: FakeBuildx, root: Path, name: str = "", **more: Any) -> Call:
    environ = {**os.environ, **fake.environ, "TOKEN": SECRET}
    Buildx(engine, environ, name).build(builds.build(DOCKERFILE, root, **more), ignore)
    return fake.calls()[-1]


def test_all_that_can_be_asked_for(engine: Connecting, tmp_path: Path) -> None:
    fake = FakeBuildx(tmp_path / "fake", "26.1-good")
    (tmp_path / "key").write_text(SECRET, encoding="utf-8")
    call = _run(
        engine,
        fake,
        tmp_path,
        ignore=".git\n",
        target="deps",
        arguments={"A": "b c", "EMPTY": ""},
        labels={"one": "1", "two": "a=b"},
        tags=("app:1", "app:2"),
        platforms=("linux/amd64", "linux/arm64"),
        secrets=("id=token,env=TOKEN", "id=key,src=key"),
        cache_from=("type=registry,ref=x",),
        cache_to=("type=inline",),
        no_cache=True,
        pull=True,
        network="none",
    )
    assert (call.dockerfile, call.ignore) == (DOCKERFILE, ".git\n")
    assert (call.arguments[0], call.arguments[-1]) == ("build", str(tmp_path))
    assert call.values("--builder") == ["default"]
    assert call.values("--target") == ["deps"]
    assert call.values("--build-arg") == ["A=b c", "EMPTY="]
    assert call.values("--label") == ["one=1", "two=a=b"]
    assert call.values("--tag") == ["app:1", "app:2"]
    assert call.values("--platform") == ["linux/amd64,linux/arm64"]
    assert call.values("--secret") == ["id=token,env=TOKEN", f"id=key,src={tmp_path}/key"]
    assert call.values("--cache-from") == ["type=registry,ref=x"]
    assert call.values("--cache-to") == ["type=inline"]
    assert call.values("--network") == ["none"]
    assert {"--no-cache", "--pull", "--load"} <= {*call.arguments}
    assert "--push" not in call.arguments
    assert SECRET not in " ".join(call.arguments)
    assert call.environ["BUILDX_NO_DEFAULT_ATTESTATIONS"] == "1"
    assert not Path(call.values("--file")[0]).exists()


def test_nothing_is_asked_for_that_is_not_wanted(engine: Connecting, tmp_path: Path) -> None:
    call = _run(engine, FakeBuildx(tmp_path / "fake", "26.1-good"), tmp_path)
    given = [word for word in call.arguments if word.startswith("--")]
    assert sorted(given) == [
        *("--builder", "--file", "--iidfile", "--load", "--metadata-file", "--progress=rawjson")
    ]


def test_what_is_built(engine: Connecting, tmp_path: Path) -> None:
    fake = FakeBuildx(tmp_path / "fake", "26.1-good")
    environ = {**os.environ, **fake.environ}
    build = builds.build(DOCKERFILE, tmp_path)
    built = Buildx(engine, environ).build(build, ignore)
    assert built.builder == "buildx"
    assert built.id == built.metadata["containerimage.config.digest"]
    pushed = builds.build(DOCKERFILE, tmp_path, push=True, tags=("host/app",))
    remote = Buildx(engine, environ, "farm").build(pushed, ignore)
    assert (remote.builder, remote.id) == ("buildx:farm", built.metadata["containerimage.digest"])
    call = fake.calls()[-1]
    assert call.values("--builder") == ["farm"]
    assert "--push" in call.arguments
    assert "--load" not in call.arguments
    with pytest.raises(UsageError, match="needs a name"):
        Buildx(engine, environ).build(builds.build(DOCKERFILE, tmp_path, push=True), ignore)


@pytest.mark.parametrize("recorded", ["26.1-good", "26.1-failed"])
def test_an_older_one_tells_it_in_words(engine: Connecting, tmp_path: Path, recorded: str) -> None:
    ends = []
    for name, forms in (("new", ("rawjson", "plain")), ("old", ("auto", "plain", "tty"))):
        fake = FakeBuildx(tmp_path / name, recorded, forms=forms)
        events: list[Event] = []
        builder = Buildx(engine, {**os.environ, **fake.environ})
        end: object = ""
        try:
            builder.build(builds.build(DOCKERFILE, tmp_path), events.append)
        except ToolError as error:
            end = error.message
        ends.append((end, [one._replace(printed=[]) for one in told(events)]))
        assert len(fake.calls()) == 1
    assert ends[0] == ends[1]
    assert ("exit code 7" in str(ends[0][0])) == (recorded == "26.1-failed")


@pytest.mark.parametrize("forms", [("rawjson",), ("plain",)])
def test_what_steps_print_has_no_secret_in_it(
    engine: Connecting, tmp_path: Path, forms: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The recorded step prints this, and the error that is made of it shows it.
    monkeypatch.setenv("WORD", "hello")
    fake = FakeBuildx(tmp_path / "fake", "26.1-failed", forms=forms)
    build = builds.build(DOCKERFILE, tmp_path, secrets=("id=word,env=WORD",))
    events: list[Event] = []
    with pytest.raises(ToolError) as raised:
        Buildx(engine, {**os.environ, **fake.environ}).build(build, events.append)
    assert "hello" not in f"{raised.value.message} {events}"
    assert "***" in raised.value.message


def _plugin(folder: Path, text: str, mode: int = 0o755) -> dict[str, str]:
    program = folder / "cli-plugins" / "docker-buildx"
    program.parent.mkdir(parents=True)
    program.write_text(text, encoding="utf-8")
    program.chmod(mode)
    return {"PATH": os.environ["PATH"], "DOCKER_CONFIG": str(folder)}


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("junk that no kernel runs", MissingError, "cannot be executed"),
        ("#!/bin/sh\nexit 3\n", ToolError, "The build failed: the builder does not say why"),
        ("#!/bin/sh\necho 'ERROR: odd' >&2; exit 1\n", ToolError, "The build failed: odd"),
        ("#!/bin/sh\nexit 0\n", ToolError, "buildx does not say what it built"),
        ("#!/bin/sh\necho '{'; exit 0\n", ToolError, "buildx does not say what it built"),
        ("#!/bin/sh\nkill -9 $$\n", ToolError, "The build failed"),
    ],
)
def test_one_that_is_broken(
    engine: Connecting,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    kind: type[EnvkitError],
    words: str,
) -> None:
    environ = _plugin(tmp_path, text)
    # It is asked whether the engine has gone, before the builder is blamed.
    monkeypatch.setattr(engine.engine, "lost", lambda _what: None)
    with pytest.raises(kind) as raised:
        Buildx(engine, environ).build(builds.build(DOCKERFILE, tmp_path), ignore)
    assert words in raised.value.message


def test_an_engine_that_has_gone_is_what_is_told_of(
    engine: Connecting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "ERROR: failed to receive status: rpc error: code = Unavailable desc = error reading"
    environ = _plugin(tmp_path, f"#!/bin/sh\necho '{said}'; exit 1\n")
    monkeypatch.setattr(engine.engine, "lost", lambda what: ToolError(f"gone, could not {what}"))
    with pytest.raises(ToolError, match="gone, could not build the image"):
        Buildx(engine, environ).build(builds.build(DOCKERFILE, tmp_path), ignore)


def test_where_it_is_looked_for(tmp_path: Path) -> None:
    own = _plugin(tmp_path / "own", "#!/bin/sh\n")
    assert buildx.find(own) == tmp_path / "own" / "cli-plugins" / "docker-buildx"
    _plugin(tmp_path / "extra", "#!/bin/sh\n")
    extra = tmp_path / "extra" / "cli-plugins"
    config = tmp_path / "own" / "config.json"
    config.write_text(f'{{"cliPluginsExtraDirs": ["{extra}"]}}', encoding="utf-8")
    assert buildx.find(own) == extra / "docker-buildx"
    for text in ("", "[]", '{"cliPluginsExtraDirs": 5}'):
        config.write_text(text, encoding="utf-8")
        assert buildx.find(own) == tmp_path / "own" / "cli-plugins" / "docker-buildx"


@pytest.mark.parametrize(("text", "mode"), [("", 0o755), ("#!/bin/sh\n", 0o644)])
def test_the_first_counts_even_if_it_is_none(tmp_path: Path, text: str, mode: int) -> None:
    environ = _plugin(tmp_path / "own", text, mode)
    _plugin(tmp_path / "path", "#!/bin/sh\n")
    environ["PATH"] = str(tmp_path / "path" / "cli-plugins")
    assert buildx.find(environ) is None
    program = tmp_path / "own" / "cli-plugins" / "docker-buildx"
    program.unlink()
    program.symlink_to("nowhere")
    assert buildx.find(environ) is None


def test_it_may_be_a_program_like_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buildx, "_FOLDERS", ())
    _plugin(tmp_path / "path", "#!/bin/sh\n")
    folder = tmp_path / "path" / "cli-plugins"
    environ = {"PATH": str(folder), "HOME": str(tmp_path)}
    assert buildx.find(environ) == folder / "docker-buildx"
    assert buildx.find({"PATH": "", "HOME": str(tmp_path)}) is None
