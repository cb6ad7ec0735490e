"""Odd places: names, filesystems and mounts that a project can find itself on."""

import os
import shutil

import pytest

from tests.support.mounts import mounted
from tests.support.projects import Machine, Project, snapshot

KEYS = ("alpha-1.0", "commands-1.0", "schemes-1.0")
OTHER = ("alpha-1.1", "commands-1.0", "delta-1.0")

NAMES = {
    "blanks": "a project  of mine",
    "beyond-ascii": "проект-ü-项目",
    "quotes": 'it\'s "mine" $HOME `x` ;&',
    "long": "/".join(["long" * 12] * 4),
}

UNUSABLE = {"not-utf-8": os.fsdecode(b"caf\xe9"), "a-line-break": "two\nlines", "a-tab": "a\tb"}


def works(project: Project, keys: tuple[str, ...] = KEYS) -> None:
    """Make sure that an environment is right and can be used."""
    expected = {key.rpartition("-")[0]: key.rpartition("-")[2] for key in keys}
    assert project.installed() == expected
    assert project.envkit("verify", "--depth", "hashes").code == 0
    assert project.script("commands").code == 3
    assert project.envkit("run", "--", "python", "-c", "import alpha").code == 0


def there_and_back(project: Project) -> None:
    """Go through what a project's environment goes through, and look at it at each turn."""
    project.lock(*KEYS)
    project.install()
    works(project)
    assert "Already up to date" in project.install().err
    project.lock(*OTHER)
    project.install()
    works(project, OTHER)
    assert project.envkit("rollback").code == 0
    assert project.installed()["alpha"] == "1.0"
    project.install()
    works(project, OTHER)


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_project(machine: Machine, name: str) -> None:
    there_and_back(machine.project(NAMES[name]))


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_name_that_no_script_can_have(machine: Machine, name: str) -> None:
    project = machine.project(UNUSABLE[name])
    result = project.envkit("install")
    assert result.code == 2, result.text
    assert repr(str(project.root)) in result.err
    assert "Rename the folder" in result.err


@pytest.mark.parametrize("name", [*NAMES, *UNUSABLE])
def test_the_name_of_the_store(machine: Machine, name: str) -> None:
    target = machine.folder / {**NAMES, **UNUSABLE}[name] / "store"
    target.parent.mkdir(parents=True)
    machine.store.rename(target)
    machine.store = target
    machine.environ["ENVKIT_STORE"] = str(target)
    there_and_back(machine.project())


def test_the_store_on_another_filesystem(machine: Machine) -> None:
    elsewhere = machine.folder / "elsewhere"
    elsewhere.mkdir()
    with mounted(elsewhere, "-t", "tmpfs", "tmpfs"):
        machine.store = elsewhere / "store"
        machine.environ["ENVKIT_STORE"] = str(machine.store)
        project = machine.project()
        project.lock("delta-1.0")
        assert project.install().err.count("is on another filesystem") == 1
        project.lock("alpha-1.0")
        assert "another filesystem" not in project.install().err
        there_and_back(project)
        assert os.stat(project.site / "alpha/__init__.py").st_nlink == 1


def test_an_environment_that_is_a_mount(machine: Machine) -> None:
    project = machine.project()
    behind = machine.folder / "behind"
    behind.mkdir()
    project.venv.mkdir()
    with mounted(project.venv, "--bind", str(behind)):
        there_and_back(project)
        assert (behind / "bin" / "python").exists()


def test_a_project_that_cannot_be_written(machine: Machine) -> None:
    project = machine.project()
    project.lock(*KEYS)
    project.install()
    before = snapshot(project.root)
    project.lock(*OTHER)
    with mounted(project.root, "--bind", "-o", "ro", str(project.root)):
        assert project.envkit("run", "--", "python", "-c", "import alpha").code == 0
        assert project.envkit("verify").code == 1
        result = project.envkit("install")
        assert result.code == 4, result.text
        assert "the filesystem is read-only" in result.err
        assert "is as it was" in result.err
    assert snapshot(project.venv) == {
        path.removeprefix(".venv/"): node
        for path, node in before.items()
        if path.startswith(".venv/")
    }
    project.install()
    works(project, OTHER)


def test_a_project_on_an_overlay(machine: Machine) -> None:
    """As in a container, where what the image has lies below what was changed since."""
    layers = machine.folder / "layers"
    layers.mkdir()
    with mounted(layers, "-t", "tmpfs", "tmpfs"):
        lower, upper, work = layers / "lower", layers / "upper", layers / "work"
        for folder in (lower, upper, work):
            folder.mkdir()
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        project = machine.project()
        project.lock(*KEYS)
        project.install("--copy")
        shutil.copytree(project.root, lower / "project", symlinks=True)
        with mounted(project.root, "-t", "overlay", "-o", options, "overlay"):
            inside = Project(project.root / "project", machine)
            inside.lock(*OTHER)
            inside.install()
            works(inside, OTHER)
            inside.lock(*KEYS)
            inside.install()
            works(inside, KEYS)
            assert inside.envkit("rollback").code == 0


def test_without_a_home(machine: Machine) -> None:
    del machine.environ["HOME"]
    there_and_back(machine.project())


def test_a_home_that_cannot_be_written(machine: Machine) -> None:
    project = machine.project()
    project.lock(*KEYS)
    del machine.environ["ENVKIT_STORE"]
    machine.environ["HOME"] = "/dev/null/home"
    result = project.envkit("install")
    assert result.code == 2, result.text
    assert "the store cannot be written" in result.err
    assert "$ENVKIT_STORE" in result.err
