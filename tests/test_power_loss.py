"""A machine that goes down at any instant: what comes to be used afterwards is whole."""

import hashlib
import json
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import Distribution, Index
from tests.support.disk import Disk, UnavailableError, disk, halt
from tests.support.projects import Machine, Project, Snapshot, snapshot

CUTS, THOROUGH_CUTS = 12, 150

DESCRIBED = ("wheels-v1", "builds-v1", "bytecode-v1")


def release(name: str, version: str = "1.0") -> Distribution:
    """Return a distribution with a script and files of several sizes."""
    files: dict[str, str | bytes] = {
        f"{name}/__init__.py": f"VERSION = {version!r}\n",
        f"{name}/data.bin": random.Random(name + version).randbytes(150_000),  # noqa: S311
        **{f"{name}/part{n}.py": f"# {version}\n" + f"X = {n}\n" * 50 * n for n in range(8)},
    }
    scripts = {f"{name}-script": f"{name}:main"}
    return Distribution(name=name, version=version, files=files, console_scripts=scripts)


STABLE = [release(f"stable{n}") for n in range(5)]


def releases(number: int) -> list[Distribution]:
    """Return what the lock of a number names, some of which is in no other lock."""
    own = [release(f"own{number}x{n}") for n in range(4)]
    return [*STABLE, release("moving", f"{number}.0"), *own]


@pytest.fixture
def powered(tmp_path: Path) -> Iterator[Disk]:
    """A disk whose power can be cut."""
    try:
        with disk(tmp_path) as made:
            yield made
    except UnavailableError as reason:
        pytest.skip(f"nothing can be mounted here: {reason}")


@pytest.fixture
def machine(powered: Disk, index: Index) -> Iterator[Machine]:
    """A machine that has nothing but that disk."""
    made = Machine(powered.place / "machine", index)
    made.environ["ENVKIT_COMPILE"] = "background"
    made.through = powered.through()
    yield made
    halt(made)


@pytest.fixture
def project(machine: Machine) -> Project:
    """A project of that machine, with a first environment that is on the disk."""
    return begun(machine)


def begun(machine: Machine) -> Project:
    machine.index.add(*STABLE)
    made = machine.project()
    made.lock(*STABLE)
    made.install(env={"ENVKIT_COMPILE": "now"})
    sync(made)
    return made


def sync(project: Project) -> None:
    """Do what is done behind an installation when all else is done."""
    code = (
        "import pathlib, sys\n"
        "from envkit.environment import home, persistence\n"
        "from envkit.store import layout\n"
        "root, store = map(pathlib.Path, sys.argv[1:])\n"
        "persistence.sync(layout.Store(store), home.Home(root, layout.Store(store)))\n"
    )
    places = str(project.root), str(project.machine.store)
    assert project.call([sys.executable, "-c", code, *places]).code == 0


def locked(project: Project, number: int) -> None:
    wanted = releases(number)
    project.machine.index.add(*wanted[len(STABLE) :])
    project.lock(*wanted)


def state(project: Project) -> Snapshot:
    """Return all that an environment has; byte-code is given its mode after its content."""
    found = snapshot(project.venv, without=[".envkit"])
    return {
        path: node._replace(mode=0) if path.endswith(".pyc") else node
        for path, node in found.items()
    }


def damaged(store: Path) -> list[str]:
    """Return the files of entries that are not what the entries' manifests say."""
    found = []
    for bucket in DESCRIBED:
        for entry in sorted((store / bucket).glob("*")):
            try:
                json.loads((entry / "manifest.json").read_bytes())
                folders = json.loads((entry / "files.json").read_bytes())
            except ValueError:
                found.append(str(entry))
                continue
            for folder, files in folders.items():
                for name, *_, sha256 in files:
                    path = entry / "tree" / folder / name
                    content = path.read_bytes() if path.is_file() else b"gone"
                    if hashlib.sha256(content).hexdigest() != sha256:
                        found.append(str(path))
    return found


def assert_good(project: Project, expected: Snapshot) -> None:
    """Install, and compare what there is then with what there has to be.

    Byte-code that is still to be made behind the installation may be lacking.
    """
    project.install()
    found = state(project)
    lacking = {path: node for path, node in expected.items() if path not in found}
    assert {path: node for path, node in expected.items() if path not in lacking} == found
    assert [path for path in lacking if "__pycache__" not in path] == []
    # This looks at the store, which an environment that is as it should be has no need of.
    looked = project.envkit("install", "--check")
    assert looked.code == 0, looked.text
    assert damaged(project.machine.store) == []


def references(powered: Disk, machine: Machine, count: int) -> tuple[list[Snapshot], float]:
    """Return the environment of each lock, made without a power loss, and what one takes at most.

    The disk has nothing on it afterwards.
    """
    project = begun(machine)
    found = []
    longest = 0.0
    for number in range(count):
        locked(project, number)
        started = time.monotonic()
        project.install(env={"ENVKIT_COMPILE": "now"})
        longest = max(longest, time.monotonic() - started)
        found.append(state(project))
    halt(machine)
    powered.unmount()
    powered.format()
    (machine.folder / "home").mkdir(parents=True)
    return found, longest


def after(seconds: float) -> Callable[[], None]:
    return lambda: time.sleep(seconds)


def test_at_any_instant(powered: Disk, machine: Machine, request: pytest.FixtureRequest) -> None:
    cuts = THOROUGH_CUTS if request.config.getoption("--thorough") else CUTS
    expected, longest = references(powered, machine, cuts)
    project = begun(machine)
    chance = random.Random(20260101)  # noqa: S311
    harmed = 0
    for number in range(cuts):
        locked(project, number)
        machine.environ["ENVKIT_COMPILE"] = chance.choice(["background", "background", "now"])
        # What is made behind the installation is cut short as well.
        wait = after(chance.uniform(0.3, 2) * longest)

        def cut(wait: Callable[[], None] = wait) -> None:
            wait()
            powered.cut(committed=chance.random() < 0.8)

        project.stopped("install", when=cut, number=signal.SIGKILL)
        powered.start_again(machine)
        harmed += bool(damaged(machine.store))
        locked(project, number)
        assert_good(project, expected[number])
        halt(machine)
    # The instants were well chosen: some left files without their content.
    assert harmed > cuts // 4
    assert machine.leftovers() == []


def cut_after_install(powered: Disk, project: Project) -> None:
    """Cut the power when an installation has just ended, which does harm."""
    project.install()
    powered.cut(committed=True)
    powered.start_again(project.machine)
    assert damaged(project.machine.store) != []


@pytest.fixture
def right(powered: Disk, machine: Machine) -> Snapshot:
    """The environment of lock 0, as it would be had there been no power loss."""
    (found,), _ = references(powered, machine, 1)
    return found


def test_right_after_an_install(powered: Disk, machine: Machine, right: Snapshot) -> None:
    project = begun(machine)
    locked(project, 0)
    cut_after_install(powered, project)
    said = project.install().err
    assert "went down before all was on the disk" in said
    assert "was damaged; it is set aside" in said
    assert_good(project, right)
    # It is looked at once.
    assert "Already up to date" in project.install().err


def test_again_while_it_recovers(powered: Disk, machine: Machine, right: Snapshot) -> None:
    project = begun(machine)
    locked(project, 0)
    cut_after_install(powered, project)
    for instant in (0.1, 0.15, 0.2, 0.3, 0.5):

        def cut(instant: float = instant) -> None:
            time.sleep(instant)
            powered.cut(committed=True)

        project.stopped("install", when=cut, number=signal.SIGKILL)
        powered.start_again(machine)
    assert_good(project, right)


@pytest.mark.parametrize("options", [[], ["--copy"]], ids=["links", "copies"])
def test_what_is_the_environments_own(powered: Disk, project: Project, options: list[str]) -> None:
    """The store is on the disk; scripts, RECORD and copies are not."""
    locked(project, 0)
    now = {"ENVKIT_COMPILE": "now"}
    project.install(*options, env=now)
    expected = state(project)
    shutil.rmtree(project.venv)
    shutil.rmtree(project.machine.store / "spares-v1")
    sync(project)
    project.install(*options)
    powered.cut(committed=True)
    powered.start_again(project.machine)
    assert (project.venv / "bin" / "moving-script").read_bytes() == b""
    project.install(*options)
    assert state(project) == expected


def test_what_is_on_the_disk_is_not_looked_at_again(powered: Disk, project: Project) -> None:
    machine = project.machine
    machine.environ["ENVKIT_COMPILE"] = "now"
    locked(project, 0)
    project.install()
    sync(project)
    stamp = (project.venv / ".envkit" / "stamp").stat()
    powered.cut(committed=True)
    powered.start_again(machine)
    assert "Already up to date" in project.install().err
    assert (project.venv / ".envkit" / "stamp").stat().st_ino == stamp.st_ino
    assert project.envkit("install", "--check").code == 0
    assert damaged(machine.store) == []
    # The other half too.
    project.lock(*STABLE)
    assert "Switched back" in project.install().err
