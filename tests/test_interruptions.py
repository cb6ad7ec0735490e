"""Installs that are stopped half-way: `.venv` is wholly the old or the new, a rerun completes."""

import os
import random
import signal
import time
from collections.abc import Callable

import pytest

from tests.support import Distribution, good
from tests.support.projects import Machine, Project, Snapshot, snapshot

KILLS = 15

LOCKS = (
    ("alpha-1.0", "forest-1.0", "commands-1.0", "clash-one-1.0", "clash-two-1.0"),
    ("alpha-1.1", "schemes-1.0", "twins-1.0", "clash-two-1.0", "clash-one-1.0"),
    ("alpha-2.0", "forest-1.0", "schemes-1.0", "space-one-1.0", "clash-one-1.0"),
)


def _state(project: Project) -> Snapshot:
    return snapshot(project.venv, without=[".envkit"])


def test_killed_at_any_instant(machine: Machine) -> None:
    project = machine.project()
    states, durations = [], []
    for keys in LOCKS:
        project.lock(*keys)
        started = time.monotonic()
        project.install()
        durations.append(time.monotonic() - started)
        states.append(_state(project))
    assert len({tuple(sorted(state.items())) for state in states}) == len(LOCKS)
    chance = random.Random(20200101)  # noqa: S311
    outcomes = set()
    for number in range(KILLS):
        old, new = (number - 1) % len(LOCKS), number % len(LOCKS)
        assert _state(project) == states[old]
        project.lock(*LOCKS[new])
        instant = chance.uniform(0.4, 1.1) * max(durations)
        result = project.stopped("install", when=_after(instant), number=signal.SIGKILL)
        found = _state(project)
        assert found in (states[old], states[new]), (number, instant, result)
        outcomes.add(found == states[new])
        project.install()
        assert _state(project) == states[new]
    # The instants were well chosen: some came before the exchange.
    assert False in outcomes
    assert machine.leftovers() == []
    assert project.envkit("status").code == 0


def test_killed_while_fetching(fresh_machine: Machine) -> None:
    index = fresh_machine.index
    many = [Distribution(name=f"many{n:02}", files={f"many{n:02}.py": ""}) for n in range(14)]
    index.add(good()["alpha-1.0"], *many)
    project = fresh_machine.project()
    project.lock("alpha-1.0")
    project.install()
    old = snapshot(project.venv)
    project.lock("alpha-1.0", *many)
    for instant in (0.4, 0.8, 1.2, 1.5):
        project.stopped("install", when=_after(instant), number=signal.SIGKILL)
        found = snapshot(project.venv)
        assert found == old or len(project.installed()) == 15
    project.install()
    assert len(project.installed()) == 15
    assert fresh_machine.leftovers() == []
    assert project.envkit("status").code == 0


def test_killed_before_there_was_an_environment(machine: Machine) -> None:
    for number, instant in enumerate((0.1, 0.15, 0.2, 0.25, 0.3)):
        project = machine.project(f"project{number}")
        project.lock("alpha-1.0", "forest-1.0")
        project.stopped("install", when=_after(instant), number=signal.SIGKILL)
        if project.venv.exists():
            assert project.installed() == {"alpha": "1.0", "forest": "1.0"}
        project.install()
        assert project.installed() == {"alpha": "1.0", "forest": "1.0"}


def _after(seconds: float) -> Callable[[], None]:
    return lambda: time.sleep(seconds)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name
)
def test_stopped_by_the_user(fresh_machine: Machine, number: signal.Signals) -> None:
    index = fresh_machine.index
    slow = good()["alpha-1.1"]
    index.add(good()["alpha-1.0"], slow)
    project = fresh_machine.project()
    project.lock("alpha-1.0")
    project.install()
    before = snapshot(project.venv)
    project.lock("alpha-1.1")
    index.delay(slow.filename, 60)

    def asked() -> None:
        until = time.monotonic() + 30
        while index.downloads(slow.filename) == 0 and time.monotonic() < until:
            time.sleep(0.02)

    started = time.monotonic()
    result = project.stopped("install", when=asked, number=number)
    assert time.monotonic() - started < 20
    assert index.downloads(slow.filename) == 1
    assert result.code == 130
    assert "Traceback" not in result.err
    assert "Interrupted" in result.err
    assert snapshot(project.venv) == before
    index.heal(slow.filename)
    project.install()
    assert project.installed() == {"alpha": "1.1"}
    assert fresh_machine.leftovers() == []


def test_two_kills_in_a_row(machine: Machine) -> None:
    # The second finds the spare as the first left it.
    project = machine.project()
    project.lock(*LOCKS[0])
    project.install()
    old = _state(project)
    project.lock(*LOCKS[1])
    for instant in (0.2, 0.25, 0.3):
        project.stopped("install", when=_after(instant), number=signal.SIGKILL)
        if _state(project) != old:
            break
    project.lock(*LOCKS[2])
    project.install()
    project.lock(*LOCKS[0])
    project.install()
    assert _state(project) == old
    assert sorted(os.listdir(project.root)) == [
        ".venv",
        "envkit.toml",
        "requirements.in",
        "requirements.txt",
    ]
