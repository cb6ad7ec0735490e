"""The recorded buildx does what the real one does."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from envkit.builders.buildx import Buildx, find
from envkit.engines.connecting import Connecting
from envkit.engines.progress import Event
from envkit.errors import ToolError
from tests.support import builds, engines
from tests.support.builds import DOCKERFILE, FAILING, Told, told
from tests.support.fake_buildx import FakeBuildx


@pytest.fixture
def environ(engine: engines.Engine) -> dict[str, str]:
    """An environment with the real one in it."""
    return {**os.environ, **engine.environ}


def _build(environ: dict[str, str], root: Path, base: str, **arguments: str) -> Any:
    """Return what is told of a build, and what it ends in."""
    (root / "greeting.txt").write_text("hello\n", encoding="utf-8")
    events: list[Event] = []
    build = builds.build(DOCKERFILE, root, arguments={"BASE": base, **arguments}, no_cache=True)
    end: object
    with Connecting(environ) as engine:
        try:
            end = sorted(Buildx(engine, environ).build(build, events.append).metadata)
        except ToolError as error:
            # What it printed to two streams can come in either order.
            first, *printed = error.message.splitlines()
            end = [first, *sorted(printed)]
    return [_without_cache(one) for one in told(events, base)], end


def _without_cache(one: Told) -> Told:
    # A base image may be known already.
    return one._replace(state="done") if "FROM" in one.name else one


@pytest.mark.parametrize(("recorded", "arguments"), [("26.1-good", {}), ("26.1-failed", FAILING)])
def test_it_tells_and_ends_alike(
    environ: dict[str, str], tmp_path: Path, base: str, recorded: str, arguments: dict[str, str]
) -> None:
    fake = FakeBuildx(tmp_path / "fake", recorded)
    real = _build(environ, tmp_path, base, **arguments)
    assert len(real[0]) == 5
    assert _build({**environ, **fake.environ}, tmp_path, builds.RECORDED_BASE) == real


def test_what_it_does_not_know_it_says_alike(environ: dict[str, str], tmp_path: Path) -> None:
    fake = FakeBuildx(tmp_path / "fake", "26.1-good")
    real = find(environ)
    assert real is not None
    said = [
        subprocess.run(
            [str(program), "build", "--progress=nothing", str(tmp_path)],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        for program in (real, fake.program)
    ]
    # Since its release 0.14 buildx says it with more words.
    assert [one.returncode for one in said] == [1, 1]
    assert all("invalid progress mode nothing" in one.stderr for one in said)


def test_it_writes_alike(environ: dict[str, str], tmp_path: Path, base: str) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {base}\n", encoding="utf-8")
    (tmp_path / "Dockerfile.dockerignore").touch()
    real = find(environ)
    assert real is not None
    fake = FakeBuildx(tmp_path / "fake", "26.1-good")
    for program in (real, fake.program):
        written = [tmp_path / f"{program.parents[1].name}.{name}" for name in ("id", "metadata")]
        files = ("--iidfile", str(written[0]), "--metadata-file", str(written[1]))
        command = [str(program), "build", "--progress=plain", *files]
        command += ["--file", str(tmp_path / "Dockerfile"), str(tmp_path)]
        subprocess.run(command, env=environ, capture_output=True, check=True)
        metadata = json.loads(written[1].read_text(encoding="utf-8"))
        identity = written[0].read_text(encoding="utf-8")
        assert identity == metadata["containerimage.config.digest"]
        assert identity.startswith("sha256:")
