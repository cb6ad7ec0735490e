"""A disk that is really full, after each number of bytes or of files."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import Index
from tests.support.mounts import mount, mounted
from tests.support.projects import Machine, Project, Result, snapshot
from tests.support.scenarios import FETCH, FRESH, SWITCH, Course, Scenario, check_lines
from tests.support.tracing import Tracer

# How many files, or blocks of 4 KiB, are left; up to where everything has room.
_LEFT = (0, 2, 5, 13, 30, 70, 150, 400, 1200)
_BLOCK = 4096


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small filesystem of its own."""
    path = tmp_path_factory.mktemp("disk")
    with mounted(path, "-t", "tmpfs", "-o", "size=96m,nr_inodes=20000", "none"):
        yield path


@pytest.fixture(scope="module")
def cramped(disk: Path, published: Index) -> Machine:
    """A machine that is on this filesystem as a whole."""
    made = Machine(disk, published)
    made.environ["ENVKIT_COMPILE"] = "off"
    return made


def _fill_with_files(folder: Path, left: int) -> None:
    for number in range(os.statvfs(folder).f_favail - left):
        (folder / str(number)).touch()


def _fill_with_bytes(folder: Path, left: int) -> None:
    size = (os.statvfs(folder).f_bavail - left) * _BLOCK
    with (folder / "large").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(size, 1))


@pytest.mark.parametrize("scenario", [SWITCH, FRESH, FETCH], ids=lambda scenario: scenario.name)
@pytest.mark.parametrize("fill", [_fill_with_files, _fill_with_bytes])
def test_whatever_room_is_left(
    cramped: Machine, tracer: Tracer, scenario: Scenario, fill: Callable[[Path, int], None]
) -> None:
    name = f"{scenario.name}{fill.__name__}"
    course = Course(scenario, cramped.project(name), tracer)
    filler = cramped.folder / "filler"
    failures = 0
    for left in _LEFT:
        command = course.arrange()
        filler.mkdir()
        fill(filler, left)
        result = course.project.envkit(*command)
        shutil.rmtree(filler)
        found = course.judge()
        if result.code:
            failures += 1
            assert result.code == 4, (left, result)
            assert "disk is full" in result.err or "B free" in result.err
            check_lines(result)
        else:
            assert found == "new"
        course.complete()
        if not result.code:
            break
    assert result.code == 0
    # What a switch replaces goes first, which can leave files enough for what comes.
    assert failures or (scenario is SWITCH and fill is _fill_with_files)
    assert cramped.leftovers() == []


def test_read_only(disk: Path, cramped: Machine, tracer: Tracer) -> None:
    course = Course(SWITCH, cramped.project("read-only"), tracer)
    command = course.arrange()
    assert mount("-o", "remount,ro", str(disk))
    try:
        result = course.project.envkit(*command)
    finally:
        assert mount("-o", "remount,rw", str(disk))
    assert result.code == 4
    assert "read-only" in result.err
    check_lines(result)
    assert course.judge() == "old"
    course.complete()


def _on_a_full_disk(project: Project, left: int) -> Result:
    """Run an installation that has a number of blocks; afterwards there is room again."""
    temporary = project.machine.folder / "temporary"
    temporary.mkdir(exist_ok=True)
    filler = project.machine.folder / "filler"
    filler.mkdir()
    _fill_with_bytes(filler, left)
    result = project.envkit("install", env={"TMPDIR": str(temporary)})
    shutil.rmtree(filler)
    return result


@pytest.mark.parametrize("left", [2, 6, 12])
def test_virtualenv_meets_it(cramped: Machine, left: int) -> None:
    project = cramped.project(f"skeleton{left}")
    project.lock("alpha-1.0")
    shutil.rmtree(cramped.store / "skeletons-v1", ignore_errors=True)
    result = _on_a_full_disk(project, left)
    assert result.code == 4
    assert "disk is full" in result.err
    check_lines(result)
    assert not project.venv.exists()
    project.install()


@pytest.mark.parametrize("left", [1, 6, 20])
def test_pip_meets_it(cramped: Machine, left: int) -> None:
    project = cramped.project(f"sdist{left}")
    project.lock("alpha-1.0")
    project.install()
    before = snapshot(project.venv)
    shutil.rmtree(cramped.store / "builds-v1", ignore_errors=True)
    project.lock("sourced-1.0")
    result = _on_a_full_disk(project, left)
    assert result.code == 4
    assert "disk is full" in result.err
    check_lines(result)
    assert snapshot(project.venv) == before
    project.install()
    assert project.installed() == {"sourced": "1.0"}
