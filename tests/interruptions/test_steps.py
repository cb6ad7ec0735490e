"""Commands stopped exactly before a call that changes a file, or at any instant, 500 times."""

import os
import random
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.support import Index
from tests.support.projects import Machine
from tests.support.scenarios import (
    COMPILE,
    COPY,
    FETCH,
    FILES,
    FRESH,
    INIT,
    LOCK,
    PRUNE,
    REVISION,
    ROLLBACK,
    SWITCH,
    SWITCH_BACK,
    VERIFY,
    Course,
    Scenario,
)
from tests.support.tracing import Call, Injection, Tracer

Kill: TypeAlias = tuple[Call, signal.Signals]

# How many times each is stopped at a step, and at an instant. A new command has a line here.
AT_STEPS = {
    **{SWITCH: 150, SWITCH_BACK: 20, FRESH: 60, COPY: 30, FETCH: 40, COMPILE: 30},
    **{ROLLBACK: 12, REVISION: 20, VERIFY: 20, PRUNE: 30, LOCK: 12, INIT: 12, FILES: 40},
}
AT_INSTANTS = {SWITCH: 70, FRESH: 30, FETCH: 20}

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)

# Two projects on one machine are stopped at a time.
WORKERS = 2


def test_there_are_enough() -> None:
    assert sum(AT_STEPS.values()) + sum(AT_INSTANTS.values()) >= 500


@pytest.fixture
def courses(
    request: pytest.FixtureRequest,
    published: Index,
    full_store: Path,
    tracer: Tracer,
    tmp_path: Path,
) -> list[Course]:
    """Courses of a scenario, of which those that take nothing out of it share a store."""
    scenario: Scenario = request.param
    made: list[Machine] = []
    for number in range(WORKERS):
        if not made or scenario in (FETCH, COMPILE, PRUNE, FILES):
            made.append(Machine(tmp_path / f"machine{number}", published))
            made[-1].seed_from(full_store)
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(
            pool.map(
                lambda number: Course(
                    scenario, made[number % len(made)].project(f"project{number}"), tracer
                ),
                range(WORKERS),
            )
        )


def _by_name(scenario: Scenario) -> str:
    return scenario.name


@pytest.mark.parametrize("courses", AT_STEPS, indirect=True, ids=_by_name)
def test_at_each_step(courses: list[Course], tracer: Tracer, pytestconfig: pytest.Config) -> None:
    thorough = bool(pytestconfig.getoption("--thorough"))
    wanted = AT_STEPS[courses[0].scenario] // WORKERS

    def work(number: int) -> int:
        chosen = [_choose(calls, number, thorough=thorough) for calls in courses[number].calls]
        return _stop_at_steps(courses[number], chosen, tracer, None if thorough else wanted)

    with ThreadPoolExecutor(WORKERS) as pool:
        kills = sum(pool.map(work, range(WORKERS)))
    assert kills >= wanted * WORKERS
    _check_store(courses)


def _choose(calls: Sequence[Call], seed: int, *, thorough: bool) -> list[Kill]:
    """Return the kills of a stage in the order in which they are to come."""
    chance = random.Random(20200101 + seed)  # noqa: S311
    if thorough:
        return [(call, number) for call in calls for number in SIGNALS]
    # Mostly those of which a command knows nothing; nothing twice before all came once.
    chosen = [(call, signal.SIGKILL) for call in calls]
    chosen += [(call, chance.choice(SIGNALS[1:])) for call in calls if chance.random() < 0.4]
    chance.shuffle(chosen)
    again = [(call, chance.choice(SIGNALS)) for call in calls for _ in range(4)]
    chance.shuffle(again)
    return chosen + again


def _stop_at_steps(
    course: Course, chosen: Sequence[list[Kill]], tracer: Tracer, wanted: int | None
) -> int:
    """Stop the command of a course at steps, and return how often that was done."""
    kills = 0
    while any(chosen) and (wanted is None or kills < wanted):
        command = course.arrange()
        if chosen[course.stage]:
            call, number = chosen[course.stage].pop(0)
            injection = Injection.at(call, f"signal={number.name}")
            traced = tracer.run(course.project, command, [injection])
            course.judge()
            if traced.injected:
                kills += 1
                _check_words(traced.result.code, traced.result.err, number)
            if kills % 10 == 0:
                course.check_interpreter()
        course.complete()
    return kills


def _check_words(code: int, err: str, number: signal.Signals) -> None:
    """Make sure that what a stopped command said is for a user."""
    is_pythons_own = code == 1 and f"{os.sep}envkit{os.sep}" not in err
    assert code in (0, 4, 130, -number) or is_pythons_own, (code, err)
    assert "bug in envkit" not in err, err
    if code == 130:
        assert "Interrupted" in err, err
    # Python itself, before there is anything of envkit, answers as it likes.
    assert "Traceback" not in err or f"{os.sep}envkit{os.sep}" not in err, err


@pytest.mark.parametrize("courses", AT_INSTANTS, indirect=True, ids=_by_name)
def test_at_any_instant(courses: list[Course], pytestconfig: pytest.Config) -> None:
    wanted = AT_INSTANTS[courses[0].scenario] // WORKERS
    if pytestconfig.getoption("--thorough"):
        wanted *= 20

    def work(course: Course) -> list[str]:
        return _stop_at_instants(course, wanted)

    with ThreadPoolExecutor(WORKERS) as pool:
        found = [one for left in pool.map(work, courses) for one in left]
    assert len(found) == wanted * WORKERS
    # The instants were well chosen: some came before the end.
    assert "old" in found
    _check_store(courses)


def _stop_at_instants(course: Course, wanted: int) -> list[str]:
    """Stop the command of a course, and all that it started, at instants; return what it left."""
    chance = random.Random(course.project.root.name)  # noqa: S311
    found = []
    course.arrange()
    started = time.monotonic()
    course.complete()
    took = time.monotonic() - started
    for kill in range(wanted):
        command = course.arrange()
        instant, number = chance.uniform(0.1, 1.1) * took, chance.choice(SIGNALS)
        result = course.project.stopped(*command, when=partial(time.sleep, instant), number=number)
        found.append(course.judge())
        _check_words(result.code, result.err, number)
        if kill % 10 == 0:
            course.check_interpreter()
        course.complete()
    return found


def _check_store(courses: Sequence[Course]) -> None:
    """Make sure that nothing is left in the stores once another command has gone its whole way."""
    for course in courses:
        course.project.machine.rest()
        course.arrange()
        course.complete()
    for course in courses:
        assert course.project.machine.leftovers() == []
