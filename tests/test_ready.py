"""What is done behind an installation, so that the next one has less to do."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from envkit.environment import stamp
from tests.support import good
from tests.support.projects import Machine, Project, Snapshot, snapshot

KEYS = (
    *("alpha-1.0", "commands-1.0", "forest-1.0", "schemes-1.0", "space-one-1.0", "space-two-1.0"),
    *("twins-1.0", "clash-one-1.0", "clash-two-1.0"),
)


@pytest.fixture
def project(fresh_machine: Machine) -> Project:
    """A project, in an environment with all that can be done behind an installation done."""
    fresh_machine.index.add(*(good()[key] for key in (*KEYS, "alpha-1.1", "alpha-2.0")))
    fresh_machine.environ["ENVKIT_COMPILE"] = "background"
    made = fresh_machine.project()
    made.lock(*KEYS)
    made.install()
    fresh_machine.rest()
    return made


def files(project: Project) -> Snapshot:
    """Return all files of an environment, but for those that name its own place."""
    return snapshot(project.venv, without=[".envkit", "bin", "pyvenv.cfg", "RECORD"])


def shelves(machine: Machine) -> list[Path]:
    return sorted((machine.store / "ready-v1").iterdir())


def stored(machine: Machine, key: str) -> Path:
    """Return the store's entry of a distribution's wheel."""
    return machine.store / "wheels-v1" / machine.index.sha256(good()[key].filename)


def another(project: Project, name: str) -> Project:
    made = project.machine.project(name)
    made.lock(*KEYS)
    return made


def test_what_is_ready_is_moved_in(project: Project) -> None:
    """One environment is linked, the other moved; to their users they are the same."""
    other = another(project, "other")
    (module,) = (project.machine.store / "ready-v1").rglob("alpha/old.py")
    inode = module.parent.stat().st_ino
    other.install("--offline")
    assert (other.site / "alpha").stat().st_ino == inode
    assert files(other) == files(project)
    assert other.installed() == project.installed()
    assert other.pip("check").code == 0
    assert other.script("commands").code == 3
    assert other.envkit("status").code == 0
    assert other.python("import space.one, space.two, twins; print('fine')") == "fine\n"
    # The scripts name their own environment, and RECORD has their hashes.
    assert str(other.venv) in (other.venv / "bin" / "commands").read_text()
    removed = other.pip("uninstall", "--yes", "commands", "schemes")
    assert removed.code == 0
    assert not (other.venv / "bin" / "commands").exists()


def test_what_was_taken_is_made_again(project: Project) -> None:
    before = {path: snapshot(path, without=["about.json"]) for path in shelves(project.machine)}
    for number in range(3):
        other = another(project, f"other{number}")
        other.install("--offline")
        assert files(other) == files(project)
        project.machine.rest()
        assert {path: snapshot(path, without=["about.json"]) for path in before} == before
    assert project.machine.leftovers() == []


def test_an_upgrade_takes_the_place_of_what_was_there(project: Project) -> None:
    states = {}
    for key in ("alpha-1.1", "alpha-2.0", "alpha-1.0"):
        project.lock(key, *KEYS[1:])
        project.install()
        project.machine.rest()
        states[key] = files(project)
    other = another(project, "other")
    for key in ("alpha-2.0", "alpha-1.0", "alpha-1.1", "alpha-2.0"):
        other.lock(key, *KEYS[1:])
        other.install("--offline")
        assert files(other) == states[key]
        assert other.envkit("status").code == 0


def test_what_is_thrown_away_is_removed_behind(project: Project) -> None:
    for keys in (("alpha-1.0",), ("alpha-1.0", "forest-1.0")):
        # The second time from a half that has all the others.
        project.lock(*keys)
        project.install()
        project.machine.rest()
        assert project.machine.leftovers() == []
    assert set(project.installed()) == {"alpha", "forest"}


@pytest.mark.parametrize("place", ["wheels", "ready"])
def test_what_was_altered_is_not_moved_in(project: Project, place: str) -> None:
    """A link leads to the same content from wherever it is written to."""
    machine = project.machine
    root = stored(machine, "alpha-1.0") if place == "wheels" else machine.store / "ready-v1"
    (module,) = root.rglob("alpha/old.py")
    good_content = module.read_bytes()
    module.chmod(0o644)
    module.write_text("ALTERED = 1\n")
    other = another(project, "other")
    said = other.install().err
    assert "was altered in the store; it is set aside" in said
    assert (other.site / "alpha" / "old.py").read_bytes() == good_content
    assert other.envkit("status").code == 0
    assert machine.index.downloads(good()["alpha-1.0"].filename) == 2


def test_what_was_put_on_a_shelf_is_not_moved_in(project: Project) -> None:
    (module,) = (project.machine.store / "ready-v1").rglob("alpha/old.py")
    module.with_name("planted.py").write_text("PLANTED = 1\n")
    other = another(project, "other")
    assert "was altered in the store; it is set aside" in other.install("--offline").err
    assert files(other) == files(project)


def test_a_shelf_that_is_half_empty(project: Project) -> None:
    (module,) = (project.machine.store / "ready-v1").rglob("alpha/old.py")
    shutil.rmtree(module.parent)
    other = another(project, "other")
    other.install("--offline")
    assert files(other) == files(project)


def test_copies_are_not_moved(project: Project) -> None:
    other = another(project, "other")
    other.install("--offline", "--copy")
    assert (other.site / "alpha" / "old.py").stat().st_nlink == 1
    project.machine.rest()
    assert len(shelves(project.machine)) == len(KEYS) + 1


def test_killed_while_it_moves(project: Project) -> None:
    wanted = files(project)
    for number, instant in enumerate((0.05, 0.1, 0.15, 0.2, 0.25, 0.3)):
        other = another(project, f"other{number}")
        other.stopped("install", when=_after(instant), number=signal.SIGKILL)
        if other.venv.exists():
            assert files(other) == wanted
        other.install("--offline")
        assert files(other) == wanted
        assert other.envkit("status").code == 0
        project.machine.rest()


def _after(seconds: float) -> Callable[[], None]:
    return lambda: time.sleep(seconds)


def test_the_spare_is_looked_at_before_it_is_needed(project: Project) -> None:
    project.lock("alpha-1.1", *KEYS[1:])
    project.install()
    project.machine.rest()
    (spare,) = (project.machine.store / "spares-v1").glob("*/spare")
    assert stamp.is_settled(str(spare))
    project.lock(*KEYS)
    assert "Switched back" in project.install().err
    # What was spare is in use, where anything can happen to it; what is spare now was in use.
    assert not stamp.is_settled(str(project.venv))
    assert not stamp.is_settled(str(spare))


def test_what_happened_to_it_in_use_does_not_come_back(project: Project) -> None:
    right = files(project)
    module = project.site / "alpha" / "old.py"
    module.unlink()
    module.write_text("MINE = 1\n")
    project.lock("alpha-1.1", *KEYS[1:])
    project.install()
    project.machine.rest()
    (spare,) = (project.machine.store / "spares-v1").glob("*/spare")
    assert not stamp.is_settled(str(spare))
    project.lock(*KEYS)
    project.install()
    assert files(project) == right


def test_byte_code_that_nobody_finished_is_made_by_the_next(fresh_machine: Machine) -> None:
    fresh_machine.index.add(good()["forest-1.0"])
    project = fresh_machine.project()
    project.lock("forest-1.0")
    project.install(env={"ENVKIT_COMPILE": "background"})
    # As a machine that is switched off would do it.
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        if b"envkit.installation.background" in path.read_bytes() and (
            os.fsencode(project.root) in path.read_bytes()
        ):
            os.kill(int(path.parent.name), signal.SIGKILL)
    fresh_machine.rest()
    compiled = list((project.site / "forest").rglob("*.pyc"))
    if len(compiled) < 500:
        said = project.install(env={"ENVKIT_COMPILE": "background"}).err
        assert "Already up to date" in said
        fresh_machine.rest()
    compiled = list((project.site / "forest").rglob("*.pyc"))
    assert len(compiled) == 500
    inode = project.venv.stat().st_ino
    assert "Already up to date" in project.install(env={"ENVKIT_COMPILE": "background"}).err
    fresh_machine.rest()
    assert project.venv.stat().st_ino == inode
