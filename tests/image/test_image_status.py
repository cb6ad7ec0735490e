"""Whether the image is what would be built: `envkit status`, and `envkit run --image`."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support import images
from tests.support.engines import Engine
from tests.support.projects import Machine, Project, run

NOBODY = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}


def line(project: Project) -> list[str]:
    """Return the parts of the line of `envkit status` about the image; none if there is none.

    Whatever it says, nothing is wrong with that: an image is older as soon as somebody works.
    """
    result = project.succeed("status")
    found = [one for one in result.out.splitlines() if one.startswith("image:")]
    return [part for part in found[0].split("  ") if part.strip()] if found else []


def test_status(desk: Machine, engine: Engine) -> None:
    project = images.project(desk, "watched", "alpha-1.0")
    project.install()
    # Who has built no image is told of none.
    assert line(project) == []
    images.build(project)
    assert line(project)[-1].strip() == "watched:latest"
    assert project.envkit("status", "--json").json["image"]["state"] == "current"
    (project.root / "main.py").write_text("print('new')\n", encoding="utf-8")
    *_, name, hint = line(project)
    assert name.strip() == "watched:latest"
    assert hint == "older than the code: `envkit build`"
    project.lock("alpha-1.1")
    project.install()
    assert line(project)[-1] == "older than requirements.txt and the code: `envkit build`"
    images.build(project)
    assert line(project)
    # What stops the engine from telling is not a difference.
    found = project.envkit("status", "--json", env=NOBODY).json["image"]
    assert found["state"] == "unknown"
    assert "No Docker Engine at unix:///nonexistent/docker.sock" in found["reasons"][0]
    engine.ask("rmi", "--force", "watched:latest")
    found = project.envkit("status", "--json").json["image"]
    assert found["state"] == "missing"


def test_status_of_an_image_that_others_tagged(desk: Machine, engine: Engine, base: str) -> None:
    """What has the name now, whoever gave it that, is not what was built."""
    project = images.project(desk, "renamed", "alpha-1.0")
    project.install()
    images.build(project)
    engine.ask("tag", base, "renamed:latest")
    assert "older than" in line(project)[-1]


def test_a_command_in_the_image(desk: Machine, engine: Engine) -> None:
    project = images.project(desk, "run", "alpha-1.0", "commands-1.0")
    images.build(project)
    result = project.envkit("run", "--image", "--", "commands", "--flag", "two words")
    assert (result.code, result.out, result.err) == (3, "main --flag two words\n", "")
    code = "import sys; sys.exit(sys.stdin.read().count('x'))"
    command = [sys.executable, "-m", "envkit", "run", "--image", "python", "-c", code]
    environ = {**desk.environ}
    done = subprocess.run(
        command, cwd=project.root, env=environ, input=b"xxxx", capture_output=True, check=False
    )
    assert done.returncode == 4, done.stderr
    assert project.envkit("run", "--image", "no-such-program").code == 127
    assert images.idle(engine)


def test_an_older_image_is_refused(desk: Machine) -> None:
    project = images.project(desk, "aged", "alpha-1.0")
    images.build(project)
    (project.root / "main.py").write_text("print('new')\n", encoding="utf-8")
    result = project.envkit("run", "--image", "python", "main.py")
    assert (result.code, result.out) == (2, "")
    assert result.err.splitlines() == [
        "error: The image aged:latest is older than the code",
        "hint: Run `envkit build`, or take it as it is with --stale.",
    ]
    result = project.envkit("run", "--image", "--stale", "python", "main.py")
    assert (result.code, result.out) == (0, "hello\n")
    images.build(project)
    assert project.envkit("run", "--image", "python", "main.py").out == "new\n"


def test_nothing_to_run(desk: Machine) -> None:
    project = images.project(desk, "never", "alpha-1.0")
    result = project.envkit("run", "--image", "true")
    assert (result.code, result.err.splitlines()) == (
        3,
        ["error: The engine has no image never:latest", "hint: Run `envkit build`."],
    )
    result = project.envkit("run", "--image", "true", env=NOBODY)
    assert result.code == 3
    assert result.err.startswith("error: No Docker Engine at unix:///nonexistent/docker.sock")
    assert "\nhint: " in result.err
    result = project.envkit("run", "--stale", "true")
    assert (result.code, result.err) == (2, "error: --stale has a meaning with --image only\n")


def test_without_docker_s_command(desk: Machine, tmp_path: Path) -> None:
    project = images.project(desk, "commandless", "alpha-1.0")
    images.build(project)
    (tmp_path / "bin").mkdir()
    result = run(
        [sys.executable, "-m", "envkit", "run", "--image", "true"],
        cwd=project.root,
        env={**desk.environ, "PATH": str(tmp_path / "bin")},
    )
    assert result.code == 3
    assert "docker" in result.err
    assert len(result.err.splitlines()) <= 2
    assert os.listdir(tmp_path / "bin") == []
