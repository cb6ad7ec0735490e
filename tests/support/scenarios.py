"""Commands that are disturbed, and what has to be true of a project afterwards.

A scenario goes round in circles: each of its stages arranges something and is followed by the
command, so that the next disturbance begins where the one before ended.
"""

import hashlib
import shutil
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from envkit.environment.home import Home
from envkit.store.layout import Store

from .catalogue import good
from .projects import Node, Project, Result, Snapshot, snapshot
from .tracing import Call, Tracer

Stage: TypeAlias = Callable[[Project], None]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A command, and what is arranged before each time that it is run.

    Attributes:
        name: what it is called.
        command: the arguments behind `envkit`.
        stages: what is arranged, one after the other, and round again.
        repeatable: whether the command does nothing when it has been done.
    """

    name: str
    command: tuple[str, ...]
    stages: tuple[Stage, ...]
    repeatable: bool = True


def lock_of(*keys: str) -> Stage:
    """Return the stage that writes a lock of distributions."""
    return lambda project: project.lock(*keys)


def asking_for(*lines: str) -> Stage:
    """Return the stage that writes `requirements.in`."""
    text = "".join(f"{line}\n" for line in lines)
    return lambda project: _write(project.root / "requirements.in", text)


def without_environment(*keys: str) -> Stage:
    """Return the stage that writes a lock, and takes away all that was made from another."""

    def arrange(project: Project) -> None:
        project.lock(*keys)
        home = Home(project.root, Store(project.machine.store))
        shutil.rmtree(home.live, ignore_errors=True)
        shutil.rmtree(Path(home.mutex).parent, ignore_errors=True)

    return arrange


def not_fetched(*keys: str) -> Stage:
    """Return the stage that writes a lock, and takes what it names out of the store."""

    def arrange(project: Project) -> None:
        project.lock(*keys)
        for key in keys:
            sha256 = project.machine.index.sha256(good()[key].filename)
            shutil.rmtree(project.machine.store / "wheels-v1" / sha256, ignore_errors=True)

    return arrange


def not_compiled(*keys: str) -> Stage:
    """Return the stage that writes a lock, and takes the byte-code for it out of the store."""

    def arrange(project: Project) -> None:
        project.lock(*keys)
        for key in keys:
            sha256 = project.machine.index.sha256(good()[key].filename)
            for entry in (project.machine.store / "bytecode-v1").glob(f"{sha256}-*"):
                shutil.rmtree(entry)

    return arrange


def installed(*locks: Sequence[str]) -> Stage:
    """Return the stage that has locks installed, one after the other."""

    def arrange(project: Project) -> None:
        for keys in locks:
            project.lock(*keys)
            project.install()

    return arrange


def committed(before: Sequence[str], now: Sequence[str]) -> Stage:
    """Return the stage that has a lock in each of two commits, and the later one installed."""

    def arrange(project: Project) -> None:
        if not (project.root / ".git").exists():
            project.git("init", "--quiet")
            for keys in (before, now):
                project.lock(*keys)
                project.git("add", "requirements.in", "requirements.txt")
                project.git("commit", "--quiet", "--message", "Lock")
        project.install()

    return arrange


def altered(*keys: str) -> Stage:
    """Return the stage that has a lock installed, and a file of the environment replaced."""

    def arrange(project: Project) -> None:
        project.lock(*keys)
        project.install()
        path = project.site / "alpha" / "__init__.py"
        path.unlink()
        _write(path, "ALTERED = True\n")

    return arrange


def with_files(*contents: bytes) -> Stage:
    """Return the stage that declares a large file, and an archive, of such contents each."""

    def arrange(project: Project) -> None:
        project.lock("alpha-1.0")
        entries = []
        for content in contents:
            plain = project.machine.folder / f"{hashlib.sha256(content).hexdigest()}.bin"
            plain.write_bytes(content)
            archive = plain.with_suffix(".zip")
            with zipfile.ZipFile(archive, "w") as made:
                for number in range(3):
                    # A time of its own would make each archive another one.
                    info = zipfile.ZipInfo(f"folder/{number}")
                    made.writestr(info, content * number)
            for path, name, more in ((plain, "file", ""), (archive, "unpacked", "unpack = true\n")):
                sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
                entries.append(
                    f'[[assets]]\nurl = "{path.as_uri()}"\nsha256 = "{sha256}"\n'
                    f'path = "{name}"\n{more}'
                )
                (project.machine.store / "assets-v1" / sha256).unlink(missing_ok=True)
        _write(project.root / "envkit.toml", "".join(entries))

    return arrange


def empty_folder(project: Project) -> None:
    """Take away everything in the project's folder."""
    for entry in list(project.root.iterdir()):
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


# Three that differ from one another, so that the spare is never what is wanted: among them
# scripts, headers, a namespace, two with one path in either order, a file that is always a copy.
ONE = ("alpha-1.0", "commands-1.0", "clash-one-1.0", "clash-two-1.0", "certs-1.0")
TWO = ("alpha-1.1", "schemes-1.0", "twins-1.0", "clash-two-1.0", "clash-one-1.0")
THREE = ("alpha-2.0", "hammer-1.0", "space-one-1.0", "schemes-1.0", "certs-1.0")
LOCKS = (ONE, TWO, THREE)

SWITCH = Scenario(name="switch", command=("install",), stages=tuple(lock_of(*one) for one in LOCKS))
SWITCH_BACK = Scenario(
    name="switch back", command=("install",), stages=(lock_of(*ONE), lock_of(*TWO))
)
COPY = Scenario(
    name="copy", command=("install", "--copy"), stages=tuple(lock_of(*one) for one in LOCKS)
)
FRESH = Scenario(
    name="fresh",
    command=("install",),
    stages=(without_environment(*ONE), without_environment(*TWO)),
)
FETCH = Scenario(
    name="fetch", command=("install",), stages=tuple(not_fetched(*one) for one in LOCKS)
)
COMPILE = Scenario(
    name="compile", command=("install",), stages=tuple(not_compiled(*one) for one in LOCKS)
)
ROLLBACK = Scenario(
    name="rollback", command=("rollback",), stages=(installed(ONE, TWO),), repeatable=False
)
REVISION = Scenario(
    name="revision", command=("install", "--lock", "HEAD~1"), stages=(committed(ONE, TWO),)
)
VERIFY = Scenario(name="verify", command=("verify", "--fix"), stages=(altered(*ONE),))
PRUNE = Scenario(
    name="prune", command=("cache", "prune"), stages=(installed(*LOCKS), installed(*LOCKS[::-1]))
)
LOCK = Scenario(
    name="lock", command=("lock",), stages=(asking_for("alpha<2"), asking_for("above", "alpha<1.1"))
)
FILES = Scenario(
    name="files",
    command=("install",),
    stages=(with_files(b"one" * 1000), with_files(b"two" * 1000), with_files()),
)
INIT = Scenario(
    name="init", command=("init", ".", "alpha<2", "--no-install"), stages=(empty_folder,)
)


class Course:
    """A scenario under way in a project of its own.

    Attributes:
        scenario: the scenario.
        project: the project.
        calls: for each stage, the calls with which the command changes files.
        stage: the number of the stage that was last arranged.
    """

    def __init__(self, scenario: Scenario, project: Project, tracer: Tracer) -> None:
        """Go round once, and once more to see what the command does each time."""
        self.project = project
        self.calls: list[list[Call]] = []
        self.scenario = scenario
        self._results: list[Snapshot] = []
        for arrange in scenario.stages:
            arrange(project)
            project.succeed(*scenario.command)
        for arrange in scenario.stages:
            arrange(project)
            self.calls.append(tracer.calls(project, scenario.command))
            self._results.append(_look(project))
        self.stage = len(scenario.stages) - 1
        self._before = self._results[-1]

    @property
    def coming(self) -> int:
        """The number of the stage that is arranged next."""
        return (self.stage + 1) % len(self.scenario.stages)

    def arrange(self) -> tuple[str, ...]:
        """Arrange the next stage, and return the command that is to follow."""
        self.stage = self.coming
        self.scenario.stages[self.stage](self.project)
        self._before = _look(self.project)
        return self.scenario.command

    def judge(self) -> str:
        """Say what the disturbed command left: "old" or "new"; anything else is a failure.

        Each file of the project, and the environment as a whole, has to be exactly as it was or
        as it is to be.
        """
        found = _parts(_look(self.project))
        old, new = _parts(self._before), _parts(self._results[self.stage])
        for name in found.keys() | old.keys() | new.keys():
            if not _is_draft(name):
                there = found.get(name)
                assert there in (old.get(name), new.get(name)), _difference(
                    there, old.get(name), new.get(name)
                )
        return "new" if found == new else "old"

    def complete(self) -> None:
        """Run the command once more, undisturbed, after which all is as it is to be."""
        if not self.scenario.repeatable and _look(self.project) == self._results[self.stage]:
            return
        self.project.succeed(*self.scenario.command)
        found = _look(self.project)
        assert found == self._results[self.stage], _difference(found, self._results[self.stage])

    def check_interpreter(self) -> None:
        """Make sure that the environment, if there is one, starts and imports what it has."""
        if self.project.venv.is_dir():
            python = str(self.project.venv / "bin" / "python")
            # Without writing byte-code, which would be a difference.
            result = self.project.call([python, "-B", "-c", "import alpha"])
            assert result.code == 0, result.text


def check_lines(result: Result) -> None:
    """Make sure that what a command said of its failure is for a user."""
    assert "bug in envkit" not in result.err, result.err
    assert "Traceback" not in result.err, result.err
    errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.err
    assert "\nhint: " in result.err, result.err


def _look(project: Project) -> Snapshot:
    return snapshot(project.root, without=[".envkit"])


def _is_draft(name: str) -> bool:
    return name.startswith(".") and ".envkit-" in name


def _parts(state: Snapshot) -> dict[str, dict[str, Node]]:
    """Return what a state has, by the name at the top of it."""
    parts: dict[str, dict[str, Node]] = {}
    for path, node in state.items():
        parts.setdefault(path.partition("/")[0], {})[path] = node
    return parts


def _difference(found: Snapshot | None, *wanted: Snapshot | None) -> str:
    """Return the paths in which a state differs from those that it may be."""
    texts = []
    for one in wanted:
        items = {*(found or {}).items()} ^ {*(one or {}).items()}
        texts.append(", ".join(sorted({path for path, _ in items})[:10]) or "nothing")
    return "differs in: " + "; or: ".join(texts)
