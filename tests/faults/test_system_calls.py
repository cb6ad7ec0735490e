"""Every system call that changes a file, refused: clear lines, nothing lost, a rerun completes."""

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.support import Index
from tests.support.projects import Machine
from tests.support.scenarios import (
    COMPILE,
    COPY,
    FETCH,
    FRESH,
    INIT,
    LOCK,
    SWITCH,
    SWITCH_BACK,
    Course,
    Scenario,
    check_lines,
)
from tests.support.tracing import Call, Injection, Tracer

Fault: TypeAlias = tuple[Call, str]
MakeMachine: TypeAlias = Callable[[], Machine]

_DISK = ("ENOSPC", "EIO", "EDQUOT")
_RIGHTS = ("EACCES", "EROFS")

# What can come of a call.
ERRORS = {
    "open": (*_DISK, *_RIGHTS, "EMFILE"),
    "write": _DISK,
    "mkdir": (*_DISK, *_RIGHTS, "EMLINK"),
    "rename": (*_DISK, *_RIGHTS),
    "renameat2": ("EXDEV", "EINVAL", "ENOSYS", "EBUSY", *_DISK),
    "link": ("EXDEV", "EMLINK", *_DISK, "EACCES"),
    "symlink": (*_DISK, *_RIGHTS),
    "unlink": ("EIO", *_RIGHTS),
    "rmdir": ("EIO", "EBUSY"),
    "chmod": ("EIO", "EPERM"),
    "ftruncate": ("EIO", "ENOSPC"),
    "flock": ("ENOLCK", "EIO"),
    "utimensat": ("EIO", "EPERM"),
    "fsync": ("EIO", "ENOSPC"),
}
_SAME = {
    **{"openat": "open", "creat": "open", "mkdirat": "mkdir", "renameat": "rename"},
    **{"pwrite64": "write", "writev": "write", "sendfile": "write", "copy_file_range": "write"},
    **{"linkat": "link", "symlinkat": "symlink", "unlinkat": "unlink"},
    **{"fchmod": "chmod", "fchmodat": "chmod", "fallocate": "ftruncate"},
    **{"fdatasync": "fsync", "syncfs": "fsync"},
}

# These have to be got round.
HARMLESS = {
    *((name, error) for name in ("link", "linkat") for error in ("EXDEV", "EMLINK")),
    *(("renameat2", error) for error in ("EXDEV", "EINVAL", "ENOSYS", "EBUSY")),
}

# How many faults each scenario meets.
FAULTS = {
    **{SWITCH: 50, SWITCH_BACK: 12, FRESH: 30, COPY: 24, FETCH: 30, COMPILE: 20},
    **{LOCK: 8, INIT: 8},
}


@pytest.fixture
def new_machine(published: Index, full_store: Path, tmp_path: Path) -> MakeMachine:
    """Make machines that have seen all good distributions."""

    def make() -> Machine:
        made = Machine(tmp_path / f"machine{len(list(tmp_path.iterdir()))}", published)
        made.seed_from(full_store)
        return made

    return make


@pytest.mark.parametrize("scenario", FAULTS, ids=lambda scenario: scenario.name)
def test_each_call(
    scenario: Scenario, new_machine: MakeMachine, tracer: Tracer, pytestconfig: pytest.Config
) -> None:
    wanted = 10**6 if pytestconfig.getoption("--thorough") else FAULTS[scenario] // 2
    machines = new_machine(), new_machine()

    def work(number: int) -> tuple[int, int]:
        course = Course(scenario, machines[number].project(), tracer)
        chosen = [_choose(calls, wanted, number) for calls in course.calls]
        return _meet(course, chosen, tracer, wanted)

    with ThreadPoolExecutor(len(machines)) as pool:
        results = list(pool.map(work, range(len(machines))))
    met, hit = (sum(column) for column in zip(*results, strict=True))
    assert met >= min(FAULTS[scenario], 2 * wanted)
    # The numbers of a command's calls differ a little from one time to the next.
    assert hit >= 0.7 * met


def _choose(calls: Sequence[Call], count: int, seed: int) -> list[Fault]:
    """Return faults: in the first and the last call of each name, and at random in between."""
    chance = random.Random(20200101 + seed)  # noqa: S311
    ends: list[Fault] = []
    rest: list[Fault] = []
    for name in sorted({call.name for call in calls}):
        numbers = sorted(call.number for call in calls if call.name == name)
        for number in numbers:
            for error in ERRORS[_SAME.get(name, name)]:
                at_end = number in (numbers[0], numbers[-1])
                (ends if at_end else rest).append((Call(name=name, number=number), error))
    chance.shuffle(ends)
    chance.shuffle(rest)
    mixed = [*ends[: count // 2], *rest]
    mixed += ends[count // 2 :]
    return mixed[:count][::-1]


def _meet(
    course: Course, chosen: Sequence[list[Fault]], tracer: Tracer, wanted: int
) -> tuple[int, int]:
    """Let a course meet faults, and return how many there were, and how many came about."""
    met = hit = 0
    while met < wanted and any(chosen):
        command = course.arrange()
        if chosen[course.stage]:
            call, error = chosen[course.stage].pop()
            injection = Injection.at(call, f"error={error}")
            traced = tracer.run(course.project, command, [injection])
            met += 1
            if traced.concerned(course.project.machine.folder):
                hit += 1
                if traced.result.code == 0:
                    assert course.judge() == "new", (injection, traced)
                else:
                    assert (call.name, error) not in HARMLESS, (injection, traced)
                    assert traced.result.code == 4, (injection, traced)
                    check_lines(traced.result)
                    course.judge()
        course.complete()
    return met, hit


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_in_place(machine: Machine, tracer: Tracer, error: str) -> None:
    # Where the halves cannot change places, a fault can leave an environment unfinished.
    course = Course(SWITCH, machine.project(), tracer)
    blocked = Injection(name="renameat2", when="1+", outcome="error=EINVAL")
    unfinished = 0
    for name in ("link", "unlink", "rmdir", "rename", "mkdir"):
        command = course.arrange()
        last = max(call.number for call in course.calls[course.stage] if call.name == name)
        # The spare comes first; behind its calls come those of the environment.
        fault = Injection(name=name, when=str(last + 2), outcome=f"error={error}")
        traced = tracer.run(course.project, command, [blocked, fault])
        if traced.result.code:
            assert traced.result.code == 4, traced
            check_lines(traced.result)
            if "is unfinished" in traced.result.err:
                unfinished += 1
            else:
                course.judge()
        course.complete()
    assert unfinished
