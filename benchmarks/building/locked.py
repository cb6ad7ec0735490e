"""The rows in which a project with about 100 distributions is built: code and pins change."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.building.bench import Bench, in_turn
from benchmarks.building.engine import REPOSITORY, EngineError
from benchmarks.building.sample import Sample
from benchmarks.building.ways import CACHE, DOCKER, ENVKIT, LOCKED, SPLIT, Way, dockerfile
from benchmarks.locks import blocks, normalized
from benchmarks.recipes import LAST
from benchmarks.timing import Command
from tests.support.registries import Registry

ROWS = ("first", "nothing", "source", "bump", "push")

# Of so many bytes and more, a wheel is heavy.
_HEAVY = 1_000_000

_MODULES = 200
_CHANGED = "app/version.py"

# What an image says of itself: its distributions, and the file that changes.
_QUESTION = f"""
import importlib.metadata, json, pathlib
pins = {{one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}}
print(json.dumps([pins, pathlib.Path("{_CHANGED}").read_text()]))
"""


class Locked:
    """Measures these rows."""

    def __init__(self, bench: Bench, registry: Registry | None) -> None:
        """Begin; without a registry nothing is pushed."""
        self._bench, self._registry = bench, registry
        self._state = 1
        self._edits = 0

    def measure(self, rows: Sequence[str]) -> Iterator[Sample]:
        """Take the samples of ``rows``, in the order of `ROWS`."""
        bump = {"bump", "push"} & set(rows)
        if not set(ROWS) & set(rows):
            return
        ways = LOCKED if bump else (ENVKIT, DOCKER)
        for way in ways:
            self._place(way)
            sample = self._build("first", way, 0)
            if "first" in rows:
                yield sample
        for row in ("nothing", "source"):
            for number in range(self._bench.repeats if row in rows else 0):
                self._edits += row == "source"
                for way in in_turn((ENVKIT, DOCKER), number):
                    self._place(way)
                    yield self._build(row, way, number)
        if bump:
            for sample in self._bump("push" in rows):
                if sample.row in rows:
                    yield sample

    def settle(self, state: int) -> str:
        """Build envkit's own at a state of the lock, untimed; return the image's name."""
        self._state = state
        self._place(ENVKIT)
        sample = self._build("settling", ENVKIT, 0)
        if sample.error:
            raise EngineError(sample.error)
        return ENVKIT.tag

    def _bump(self, pushes: bool) -> Iterator[Sample]:
        """Go from lock to lock, each one pin from the last."""
        if pushes:
            for way in (ENVKIT, CACHE, SPLIT):
                self._push(way, -1)
        for number in range(min(self._bench.repeats, LAST - 2)):
            self._state += 1
            for way in in_turn((ENVKIT, CACHE, SPLIT), number):
                self._place(way)
                yield self._build("bump", way, number)
            if pushes:
                for way in in_turn((ENVKIT, CACHE, SPLIT), number):
                    yield self._push(way, number)

    def _build(self, row: str, way: Way, number: int) -> Sample:
        command = self._bench.tools.build(way, self._bench.project(way))
        return self._bench.measure(row, way, number, command, self._wrong)

    def _push(self, way: Way, number: int) -> Sample:
        """Push what was built, under the registry's name for it."""
        registry, bench = self._registry, self._bench
        assert registry is not None
        name = f"{registry.host}/{way.tag}"
        commands = self._push_commands(way, name)
        before = registry.uploaded
        outcome = bench.run(commands)
        sent = registry.uploaded - before
        sample = Sample.of("push", way.name, number, outcome, wrong=None, sent=sent)
        bench.tell(sample)
        return sample

    def _push_commands(self, way: Way, name: str) -> list[Command]:
        tools, project = self._bench.tools, self._bench.project(way)
        if way == ENVKIT:
            return [tools.build(way, project, "--push", tag=name)]
        tag = [tools.docker, "tag", way.tag, name]
        push = [tools.docker, "push", name]
        return [tools.command(project, argv) for argv in (tag, push)]

    def _place(self, way: Way) -> None:
        """Put the lock and the code of the moment into a way's project, as a checkout does."""
        project = self._bench.project(way)
        lock = self._bench.series.state(self._state)
        if not project.exists():
            _begin(project, self._bench.template())
            if way.dockerfile:
                text = dockerfile(way, f"{REPOSITORY}-{self._bench.work.name}")
                (project / "Dockerfile").write_text(text)
        texts = {name: (lock.folder / name).read_text() for name in _LOCK}
        texts[_CHANGED] = self._code()
        if way == SPLIT:
            texts |= self._split(texts["requirements.txt"])
        for name, text in texts.items():
            path = project / name
            # As version control does it, which leaves alone what is the same.
            if not path.exists() or path.read_text() != text:
                path.write_text(text)

    def _split(self, text: str) -> Mapping[str, str]:
        """Part a lock's pins as somebody would by hand."""
        parts = {name: part for name, part in blocks(text).items() if name}
        sizes = self._bench.sizes
        heavy = {name for name in parts if sizes.get(name, 0) >= _HEAVY}
        return {
            "heavy.txt": "".join(part for name, part in parts.items() if name in heavy),
            "light.txt": "".join(part for name, part in parts.items() if name not in heavy),
        }

    def _code(self) -> str:
        return f'VERSION = "{self._bench.work.name}.{self._edits}"\n'

    def _wrong(self, way: Way) -> str | None:
        """Say what in an image is not as it should be."""
        try:
            said = self._bench.engine.run(way.tag, "python", "-c", _QUESTION)
        except EngineError as error:
            return str(error)
        pins, code = json.loads(said)
        found = {normalized(name): version for name, version in pins.items()}
        wanted = self._bench.series.state(self._state).pins
        wrong = [name for name, version in wanted.items() if found.get(name) != version]
        if wrong:
            return f"not as locked: {', '.join(wrong[:5])}"
        return None if code == self._code() else "the image has older code"


_LOCK = ("requirements.in", "requirements.txt", "envkit.toml")


def _begin(project: Path, template: Path) -> None:
    """Make a project with what `envkit init` writes and a few modules."""
    project.mkdir(parents=True)
    for name in ("Dockerfile", ".dockerignore"):
        shutil.copyfile(template / name, project / name)
    for number in range(_MODULES):
        path = project / "app" / f"package_{number % 10}" / f"module_{number:03}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"NUMBER = {number}\n" + "# A line of code.\n" * 200)
