"""The install script itself, its options, the locks that it reads, and the envkit it leads to."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.scripted import ALPHA, SCRIPT, Project, script

TOP = Path(__file__).parents[2]


def test_shellcheck_finds_nothing() -> None:
    beside = str(Path(sys.executable).parent)
    found = shutil.which("shellcheck", path=os.pathsep.join([beside, os.environ["PATH"]]))
    assert found, "shellcheck is missing: install the dev group, or the system's package"
    done = subprocess.run([found, SCRIPT], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_this_repository_has_the_same_script() -> None:
    assert (TOP / "install.sh").read_bytes() == SCRIPT.read_bytes()
    assert os.access(TOP / "install.sh", os.X_OK)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--frobnicate"], "unknown option: --frobnicate"),
        (["demo"], "unknown option: demo"),
        (["--group"], "--group needs a value"),
        (["--python="], "--python needs a path or a version"),
        (["--group", "../x"], "not a group's name: '../x'"),
        (["--no-default"], "--no-default needs at least one --group"),
        (["--dev"], "requirements-dev.txt is missing (group dev)."),
        (["--python", "3.99"], "found no Python 3.99."),
        (["--python", "python3.99"], "there is no python3.99"),
    ],
)
def test_wrong_usage(project: Project, options: list[str], error: str) -> None:
    done = project.run(*options)
    assert done.returncode == (3 if "3.99" in error else 2)
    assert error in done.stderr
    assert not (project.root / ".venv").exists()


def test_help(project: Project) -> None:
    said = project.install("--help")
    for word in ("--dev", "--group", "--no-default", "--python", "--plain", "Exit status"):
        assert word in said


def test_locks_that_are_missing_bad_or_foreign(project: Project) -> None:
    project.lock(ALPHA, python=None)
    assert "Note: requirements.txt has no '# envkit-lock:' line" in project.install()
    for wrong in ("", "three", "3.11;reboot", "3.11,>=3.12", ">=3.10,"):
        project.lock(ALPHA, python=wrong)
        assert "names no Python" in project.fail(2)
    (project.root / "requirements.txt").unlink()
    assert "requirements.txt is missing (group default)" in project.fail(2)


@pytest.mark.parametrize(
    ("options", "passed"),
    [
        ([], "install"),
        (["--dev", "--no-default"], "install --no-default --group dev"),
        (["--group", "b", "--group=a"], "install --group b --group a"),
        (["--python", "3.12"], "install --python 3.12"),
        (["--python", "venvs/x y"], "install --python /venvs/x y"),
    ],
)
def test_hands_over_to_envkit(project: Project, options: list[str], passed: str) -> None:
    script(project.bin / "envkit", '[ "$1" = --version ] || printf "%s:" "$PWD" "$@"; exit 0')
    said = project.install(*options)
    assert said.split(":")[0] == str(project.root)
    assert " ".join(said.split(":")[1:]).strip() == passed


def test_does_not_hand_over(project: Project) -> None:
    envkit = script(project.bin / "envkit", "echo handed over")
    assert "handed over" not in project.install("--plain")
    shutil.move(envkit, project.root / ".venv/bin/envkit")
    envkit.symlink_to(project.root / ".venv/bin/envkit")
    assert "already up to date" in project.install()
    envkit.unlink()
    assert "already up to date" in project.install(
        env={"PATH": f"{project.root}/.venv/bin:{project.bin}"}
    )
    script(envkit, "echo 'pyenv: envkit: command not found' >&2; exit 127")
    assert "already up to date" in project.install()
