"""What all rows have in common: projects, timed commands, the order of ways."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.building.engine import Engine
from benchmarks.building.sample import Sample
from benchmarks.building.ways import Tools, Way
from benchmarks.locks import Series
from benchmarks.timing import Command, Limits, Outcome, run

Check = Callable[[Way], str | None]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where and with what is measured.

    Attributes:
        series: the locks.
        sizes: the bytes of each distribution's wheel, by name.
        engine: the engine.
        tools: the programs.
        work: a folder that belongs to this run alone.
        repeats: how often each row is measured.
        limit: the seconds that one command may take.
        say: called with a line of progress.
    """

    series: Series
    sizes: dict[str, int]
    engine: Engine
    tools: Tools
    work: Path
    repeats: int
    limit: float
    say: Callable[[str], None]

    def project(self, way: Way) -> Path:
        """Return the folder that a way builds."""
        return self.work / "projects" / way.name

    def template(self) -> Path:
        """Return a folder with what `envkit init` writes, made when it is first asked for."""
        folder = self.work / "template"
        if not folder.exists():
            made = folder.with_name("template.new")
            shutil.rmtree(made, ignore_errors=True)
            shutil.copytree(self.series.state(1).folder, made, ignore=_only_ours)
            init = [self.tools.envkit, "init", "--no-install", "--yes", "."]
            outcome = self.run([self.tools.command(made, init)])
            if outcome.error:
                raise RuntimeError(outcome.error)
            made.rename(folder)
        return folder

    def run(self, commands: Sequence[Command]) -> Outcome:
        """Run commands under the stopwatch."""
        log = self.work / "commands.log"
        return run(commands, log=log, limits=Limits(command=self.limit, calm=self.limit))

    def measure(self, row: str, way: Way, number: int, command: Command, check: Check) -> Sample:
        """Run a command, check what it built, and tell of it."""
        outcome = self.run([command])
        wrong = None if outcome.error else check(way)
        sample = Sample.of(row, way.name, number, outcome, wrong=wrong)
        self.tell(sample)
        return sample

    def tell(self, sample: Sample) -> None:
        """Tell of a sample as it is taken."""
        found = f"FAILED {sample.error}" if sample.seconds is None else f"{sample.seconds:.3f} s"
        sent = f", {sample.sent} bytes sent" if sample.sent else ""
        self.say(f"{sample.row} #{sample.round + 1} {sample.way}: {found}{sent}")


def in_turn(ways: Sequence[Way], number: int) -> Iterator[Way]:
    """Yield ways, in each round another one first."""
    start = number % len(ways)
    yield from (*ways[start:], *ways[:start])


def _only_ours(_folder: str, names: list[str]) -> set[str]:
    return set(names) - {"requirements.in", "requirements.txt", "envkit.toml"}
