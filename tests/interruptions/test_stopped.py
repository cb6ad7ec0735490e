"""Commands that a user stops, or that are killed twice in a row."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support import good
from tests.support.projects import Machine, Project, snapshot
from tests.support.scenarios import ONE, THREE, TWO

# No command takes this many seconds to come to a point, or to end when it is told to.
_LIMIT = 30


@pytest.fixture
def waiting(fresh_machine: Machine) -> Iterator[Project]:
    """A project with an environment, whose next install waits for a file of alpha 1.1."""
    index = fresh_machine.index
    slow = good()["alpha-1.1"]
    index.add(good()["alpha-1.0"], slow)
    project = fresh_machine.project()
    project.lock("alpha-1.0")
    project.install()
    project.lock("alpha-1.1")
    index.delay(slow.filename, 60)
    yield project
    index.heal(slow.filename)


def _asked(project: Project) -> None:
    """Wait until the file is asked for."""
    project.machine.index.wait_for(good()["alpha-1.1"].filename)


def _completes(project: Project) -> None:
    """Make sure that the next install, with nothing in its way, is what was wanted."""
    project.machine.index.heal(good()["alpha-1.1"].filename)
    project.install()
    assert project.installed() == {"alpha": "1.1"}
    project.machine.rest()
    # What a killed command left is taken away by the next, once nothing of it lives any more.
    project.lock("alpha-1.0")
    project.install()
    assert project.machine.leftovers() == []


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name
)
def test_stopped_by_the_user(waiting: Project, number: signal.Signals) -> None:
    before = snapshot(waiting.venv)
    started = time.monotonic()
    result = waiting.stopped("install", when=lambda: _asked(waiting), number=number)
    assert time.monotonic() - started < 60
    assert result.code == 130
    assert "Traceback" not in result.err
    assert result.err.count("Interrupted") == 1
    assert "Interrupted; nothing is left half done" in result.err
    assert snapshot(waiting.venv) == before
    _completes(waiting)


@contextmanager
def _running(project: Project, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Have envkit run in a process group of its own."""
    with subprocess.Popen(
        [sys.executable, "-m", "envkit", *arguments],
        cwd=project.root,
        env=project.machine.environ,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    ) as child:
        yield child


def test_a_burst_of_signals(waiting: Project) -> None:
    # As from a terminal and from make above it, while what was begun is taken back.
    with _running(waiting, "install") as child:
        _asked(waiting)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGHUP) * 5:
            child.send_signal(number)
            time.sleep(0.005)
        err = child.communicate(timeout=_LIMIT)[1]
    assert child.returncode == 130
    assert err.count("Interrupted") == 1
    assert "Traceback" not in err
    _completes(waiting)


def test_children_of_a_killed_command(waiting: Project) -> None:
    # It alone is killed, at once followed by another; what it had started does no damage.
    before = snapshot(waiting.venv)
    with _running(waiting, "install") as child:
        _asked(waiting)
        child.kill()
        child.wait(_LIMIT)
        assert snapshot(waiting.venv) == before
        _completes(waiting)


def _after(seconds: float) -> Callable[[], None]:
    return lambda: time.sleep(seconds)


def test_two_kills_in_a_row(machine: Machine) -> None:
    # The second finds the spare as the first left it.
    project = machine.project()
    project.lock(*ONE)
    project.install()
    old = snapshot(project.venv, without=[".envkit"])
    project.lock(*TWO)
    for instant in (0.2, 0.25, 0.3):
        project.stopped("install", when=_after(instant), number=signal.SIGKILL)
        if snapshot(project.venv, without=[".envkit"]) != old:
            break
    project.lock(*THREE)
    project.install()
    project.lock(*ONE)
    project.install()
    assert snapshot(project.venv, without=[".envkit"]) == old
    assert sorted(os.listdir(project.root)) == [
        ".venv",
        "envkit.toml",
        "requirements.in",
        "requirements.txt",
    ]
