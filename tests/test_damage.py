"""envkit's own files, damaged: what they speak of is made anew, and nothing else is."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import good
from tests.support.projects import Machine, Project, snapshot

KEYS = ("alpha-1.0", "schemes-1.0")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _overwrite(path: Path) -> None:
    path.write_bytes(b'\xff\0[{"' * 10)


def _remove(path: Path) -> None:
    path.unlink()


DAMAGE = [_cut, _overwrite, _remove]


def spoil(path: Path, damage: Callable[[Path], None]) -> None:
    """Damage a file in place of itself, so that no link to it is damaged as well."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    damage(path)


@pytest.fixture
def project(fresh_machine: Machine) -> Project:
    """A project whose distributions are no other machine's."""
    fresh_machine.index.add(*map(good().__getitem__, KEYS))
    made = fresh_machine.project()
    made.lock(*KEYS)
    made.install()
    return made


def entry(project: Project, bucket: str) -> Path:
    """Return the folder in which the store keeps something of `schemes`."""
    digest = project.machine.index.sha256(good()["schemes-1.0"].filename)
    (found,) = (project.machine.store / bucket).glob(f"{digest}*")
    return found


def sound(project: Project) -> None:
    """Make sure that an environment is what it should be."""
    assert project.installed() == {"alpha": "1.0", "schemes": "1.0"}
    assert project.script("schemes-shell").out == "shell\n"
    assert project.script("schemes-run").code == 0
    assert project.envkit("status").code == 0
    assert "Already up to date" in project.install().err
    assert project.machine.leftovers() == []


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["stamp", "folders", "record"])
def test_what_is_known_of_an_environment(
    project: Project, name: str, damage: Callable[[Path], None]
) -> None:
    before = snapshot(project.venv, without=[".envkit"])
    spoil(project.venv / ".envkit" / name, damage)
    # Neither half is of use any more, or only one of them.
    spare = next((project.machine.store / "spares-v1").glob("*/spare"), None)
    if spare:
        shutil.rmtree(spare)
    project.install()
    assert snapshot(project.venv, without=[".envkit"]) == before
    sound(project)
    # The half that was damaged is the spare now, from which the next environment is made.
    project.lock("schemes-1.0")
    project.install()
    assert project.installed() == {"schemes": "1.0"}


@pytest.mark.parametrize(
    ("bucket", "name", "damage"),
    [
        ("wheels-v1", "manifest.json", _cut),
        ("wheels-v1", "manifest.json", _overwrite),
        ("wheels-v1", "manifest.json", _remove),
        ("wheels-v1", "files.json", _cut),
        ("wheels-v1", "files.json", _remove),
        ("wheels-v1", "tree/site/schemes_pure.py", _remove),
        ("wheels-v1", "tree/site/schemes-1.0.dist-info/RECORD", _remove),
        ("wheels-v1", "tree/scripts/schemes-run", _remove),
        ("bytecode-v1", "files.json", _overwrite),
        ("bytecode-v1", "files.json", _remove),
    ],
)
def test_what_is_known_of_an_entry(
    project: Project, bucket: str, name: str, damage: Callable[[Path], None]
) -> None:
    spoil(entry(project, bucket) / name, damage)
    other = project.machine.project("other")
    other.lock(*KEYS)
    other.install()
    sound(other)
    wheels = project.machine.index.downloads(good()["schemes-1.0"].filename)
    assert wheels == (2 if bucket == "wheels-v1" else 1)


def test_what_is_known_of_a_shelf(project: Project) -> None:
    machine = project.machine
    machine.environ["ENVKIT_COMPILE"] = "background"
    first, second = machine.project("first"), machine.project("second")
    first.lock(*KEYS)
    first.install()
    machine.rest()
    shelves = list((machine.store / "ready-v1").glob("*/about.json"))
    assert len(shelves) >= 2
    for about in shelves:
        spoil(about, _cut)
    second.lock(*KEYS)
    second.install()
    machine.rest()
    sound(second)


def test_what_is_known_of_interpreters(project: Project) -> None:
    remembered = list((project.machine.store / "interpreters-v1").iterdir())
    assert remembered
    for path in remembered:
        spoil(path, _overwrite)
    other = project.machine.project("other")
    other.lock(*KEYS)
    other.install()
    sound(other)
