"""Secrets of a build: used in it, and in nothing that is left of it."""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import images
from tests.support.engines import Engine
from tests.support.images import Image
from tests.support.projects import Machine, Project

SECRET = "t0p-s3cret-t0ken"

USED = """\
USER 0
RUN --mount=type=secret,id=token sha256sum /run/secrets/token > /used && cat /run/secrets/token >&2
"""


@pytest.fixture(scope="module", params=["option", "setting", "file"])
def built(
    desk: Machine, engine: Engine, request: pytest.FixtureRequest
) -> Iterator[tuple[Project, Image, str]]:
    """A project that was built with a secret, its image, and what was said."""
    settings = '[image]\nsecrets = ["id=token,env=TOKEN"]\n' if request.param == "setting" else ""
    name = f"secret-{request.param}"
    project = images.project(
        desk, name, "alpha-1.0", settings=settings, text=images.dockerfile() + USED
    )
    (project.root / "token.txt").write_text(SECRET, encoding="utf-8")
    (project.root / ".dockerignore").write_text("token.txt\n", encoding="utf-8")
    options = {
        "option": ["--secret", "id=token,env=TOKEN"],
        "setting": [],
        "file": ["--secret", "id=token,src=token.txt"],
    }[request.param]
    env = {} if request.param == "file" else {"TOKEN": SECRET}
    result = images.build(project, "--progress", "plain", "--no-cache", *options, env=env)
    yield project, Image(engine, f"{name}:latest"), result.text
    engine.ask("rmi", f"{name}:latest")


def test_it_is_used(built: tuple[Project, Image, str]) -> None:
    assert built[1].says("cat", "/used").split()[0] == hashlib.sha256(SECRET.encode()).hexdigest()


def test_it_is_in_no_layer_history_or_output(
    built: tuple[Project, Image, str], engine: Engine
) -> None:
    _, image, said = built
    assert "RUN --mount=type=secret" in said
    assert SECRET not in said
    assert SECRET not in str(image.about)
    assert SECRET not in engine.ask("history", "--no-trunc", image.name)
    saved = subprocess.run(
        [str(engine.make.docker), "save", image.name],
        env=dict(engine.environ),
        capture_output=True,
        check=True,
    ).stdout
    assert len(saved) > 1_000_000
    assert SECRET.encode() not in saved


def holding(folder: Path, text: str) -> list[str]:
    """Return the paths of the files in a folder that have a text in them."""
    found = []
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            if path.is_file() and not path.is_symlink() and text.encode() in path.read_bytes():
                found.append(str(path))
    return found


def test_it_is_in_no_file_of_envkits(built: tuple[Project, Image, str]) -> None:
    project, _, _ = built
    machine = project.machine
    assert holding(machine.store, SECRET) == holding(machine.folder / "home", SECRET) == []
    assert {Path(path).name for path in holding(project.root, SECRET)} == {"token.txt"}


def test_the_engine_keeps_nothing_of_it(desk: Machine, engine: Engine) -> None:
    """Unless a command prints it, which the engine keeps what was printed by."""
    project = images.project(desk, "silent", "alpha-1.0")
    text = "USER 0\nRUN --mount=type=secret,id=token sha256sum /run/secrets/token\n"
    images.write(project, images.dockerfile() + text)
    secret = "another-s3cret-t0ken"
    images.build(project, "--secret", "id=token,env=TOKEN", env={"TOKEN": secret})
    assert holding(engine.folder, secret) == []


@pytest.mark.parametrize("builder", ["api", "classic"])
def test_builders_that_cannot_keep_it_refuse(desk: Machine, engine: Engine, builder: str) -> None:
    project = images.project(desk, f"refusing-{builder}", "alpha-1.0")
    result = project.envkit(
        *("build", "--builder", builder, "--secret", "id=token,env=TOKEN"), env={"TOKEN": SECRET}
    )
    assert (result.code, result.out) == (3, "")
    assert "error: The engine's API does not offer build secrets; buildx does" in result.err
    assert SECRET not in result.err
    assert not Image(engine, f"refusing-{builder}:latest").exists


@pytest.mark.parametrize(
    "spec", ["token", "id=token,env=UNSET_ANYWHERE", "id=token,src=absent", "id=token,typo=x"]
)
def test_a_secret_that_makes_no_sense(desk: Machine, spec: str) -> None:
    project = images.project(desk, f"senseless-{abs(hash(spec))}", "alpha-1.0")
    result = project.envkit("build", "--secret", spec)
    assert result.code in {2, 3}
    assert result.out == ""
    (line,) = [one for one in result.err.splitlines() if one.startswith("error: ")]
    assert "secret" in line.lower()
    assert "Traceback" not in result.err


def test_a_failing_command_does_not_show_it(desk: Machine) -> None:
    project = images.project(desk, "telling", "alpha-1.0")
    text = "RUN --mount=type=secret,id=token cat /run/secrets/token; exit 7\n"
    images.write(project, images.dockerfile() + "USER 0\n" + text)
    result = project.envkit(
        *("build", "--secret", "id=token,env=TOKEN", "--progress", "plain"), env={"TOKEN": SECRET}
    )
    assert result.code == 4
    assert "failed with exit code 7" in result.err
    assert SECRET not in result.text
