"""Many commands at once: each ends right, nothing is fetched twice, nobody waits in the dark."""

import subprocess
import sys
import time
from collections.abc import Sequence

from tests.support import Distribution, good
from tests.support.projects import Machine, Project, snapshot

MANY = 20

SLOW = Distribution(name="slow", files={"slow.py": ""})

KEYS = ("alpha-1.0", "commands-1.0", "forest-1.0", "schemes-1.0", "twins-1.0", "delta-1.0")


def begin(project: Project, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "envkit", *arguments],
        cwd=project.root,
        env=project.machine.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end(running: Sequence["subprocess.Popen[str]"]) -> list[tuple[int, str]]:
    """Wait for commands, and return the exit code of each and what it said."""
    found = []
    for one in running:
        said, _ = one.communicate(timeout=240)
        found.append((one.returncode, said))
    return found


def right(project: Project, keys: Sequence[str]) -> bool:
    found = project.envkit("verify", "--depth", "hashes")
    assert found.code == 0, found.text
    return project.installed() == {key.rpartition("-")[0]: key.rpartition("-")[2] for key in keys}


def test_of_one_project(fresh_machine: Machine) -> None:
    fresh_machine.index.add(*(good()[key] for key in KEYS))
    project = fresh_machine.project()
    project.lock(*KEYS)
    results = end([begin(project, "install") for _ in range(MANY)])
    assert [code for code, _ in results] == [0] * MANY, results
    assert right(project, KEYS)
    for key in KEYS:
        assert fresh_machine.index.downloads(good()[key].filename) == 1
    assert fresh_machine.leftovers() == []


def test_of_many_projects_while_the_store_is_collected_and_verified(fresh_machine: Machine) -> None:
    fresh_machine.index.add(*(good()[key] for key in KEYS))
    projects = []
    for number in range(MANY):
        project = fresh_machine.project(f"project{number}")
        project.lock(*KEYS[: 3 + number % 4])
        projects.append(project)
    running = [begin(project, "install") for project in projects]
    others = []
    for _ in range(4):
        others.append(begin(projects[0], "cache", "prune"))
        others.append(begin(projects[0], "verify", "--store", "--depth", "hashes"))
        time.sleep(0.5)
    results = end(running)
    assert [code for code, _ in results] == [0] * MANY, results
    assert [code for code, _ in end(others)] == [0] * len(others)
    for number, project in enumerate(projects):
        assert right(project, KEYS[: 3 + number % 4])
    for key in KEYS:
        assert fresh_machine.index.downloads(good()[key].filename) == 1
    assert fresh_machine.leftovers() == []


def begin_slowly(machine: Machine, seconds: float) -> tuple["subprocess.Popen[str]", Project]:
    """Begin an installation that waits for the index; return it, and a project with its lock."""
    machine.index.add(SLOW)
    machine.index.delay(SLOW.filename, seconds)
    one, two = machine.project("one"), machine.project("two")
    for project in (one, two):
        project.lock(SLOW)
    first = begin(one, "install")
    machine.index.wait_for(SLOW.filename)
    return first, two


def test_who_waits_is_told_for_whom(fresh_machine: Machine) -> None:
    first, two = begin_slowly(fresh_machine, 3)
    second, third = begin(two, "install"), begin(two, "cache", "prune")
    (_, fetched), (code, waited), (_, collected) = end([first, second, third])
    assert code == 0
    assert f"Waiting for slow 1.0, which another envkit fetches: pid {first.pid}, `" in waited
    assert "install`, since " in waited
    assert "Waiting for who uses the store: pid " in collected
    assert "Installed" in fetched
    assert fresh_machine.index.downloads(SLOW.filename) == 1


def test_whoever_fetched_is_killed(fresh_machine: Machine) -> None:
    first, two = begin_slowly(fresh_machine, 60)
    second = begin(two, "install")
    time.sleep(0.5)
    fresh_machine.index.heal(SLOW.filename)
    first.kill()
    end([first])
    ((code, said),) = end([second])
    assert code == 0, said
    assert two.installed() == {"slow": "1.0"}


def test_a_collection_takes_nothing_that_an_installation_needs(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    project.install()
    for turn in range(6):
        keys = KEYS if turn % 2 else ("alpha-1.0",)
        project.lock(*keys)
        before = snapshot(project.venv, without=[".envkit"])
        results = end([begin(project, "install", "--offline"), begin(project, "cache", "prune")])
        assert results[1][0] == 0
        # What no project used any more may have gone before the installation began.
        assert results[0][0] == 0 or "The store lacks" in results[0][1], results
        if results[0][0]:
            assert snapshot(project.venv, without=[".envkit"]) == before
            project.install()
        assert right(project, keys)
