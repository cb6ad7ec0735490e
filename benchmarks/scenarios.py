"""What is measured: the rows of the table, each a sequence of installs with a timed part."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.locks import LockError, Series
from benchmarks.recipes import LAST
from benchmarks.timing import Limits, Outcome, run, wait_for_lock
from benchmarks.tools import Checkout, Toolbox, Variant, differs

ROWS = ("nothing", "one", "ten", "branch", "warm", "cold")
REPEATS, SLOW_REPEATS, INSTANT_REPEATS = 5, 3, 15


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One measurement, or the failure of one.

    ``row`` is a row of the table: those of `ROWS`, and ``back``, ``warm-import``, ``cold-import``,
    ``cold-total``. ``seconds`` is None exactly when ``error`` says what failed. ``peak_kib`` is of
    the largest process of the install; the ``behind`` figures are of what the install left running.
    """

    size: int
    row: str
    tool: str
    label: str
    round: int
    seconds: float | None = None
    cpu: float = 0.0
    peak_kib: int = 0
    behind_seconds: float = 0.0
    behind_cpu: float = 0.0
    behind_peak_kib: int = 0
    error: str | None = None

    def to_json(self) -> dict[str, object]:
        """As a JSON object."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to measure; ``repeats`` of None means the defaults."""

    work: Path
    variants: Sequence[Variant]
    repeats: int | None
    limits: Limits


class _FailedError(Exception):
    """An untimed step failed."""


class Bench:
    """Measures the rows of one size.

    Every variant has its own environment; all variants of a tool share its caches.
    """

    def __init__(
        self,
        series: Series,
        toolbox: Toolbox,
        checkout: Checkout,
        settings: Settings,
        say: Callable[[str], None],
    ) -> None:
        self._series, self._toolbox, self._checkout = series, toolbox, checkout
        self._settings, self._say = settings, say
        self._size = series.recipe.size
        self._place = settings.work / f"size-{self._size}"
        self._unusable: dict[str, str] = {}
        self._rows: dict[str, Callable[[Variant, int], Iterator[Sample]]] = {
            "nothing": self._nothing,
            "one": self._one,
            "ten": self._ten,
            "branch": self._branch,
            "warm": self._warm,
            "cold": self._cold,
        }

    def measure(self, rows: Sequence[str]) -> Iterator[Sample]:
        """Take the samples of ``rows``: round after round, in each one variant after another."""
        shutil.rmtree(self._place, ignore_errors=True)
        shutil.rmtree(self._settings.work / "caches" / "envkit", ignore_errors=True)
        if not self._toolbox.matplotlib.exists() or any(row != "cold" for row in rows):
            self._toolbox.matplotlib.mkdir(parents=True, exist_ok=True)
            self._prime()
        for row in rows:
            yield from self._alternate(row)
        shutil.rmtree(self._place, ignore_errors=True)

    def _alternate(self, row: str) -> Iterator[Sample]:
        taking_part = [v for v in self._settings.variants if v.takes_part(row)]
        for number in range(max((self._repeats(row, v) for v in taking_part), default=0)):
            for variant in list(taking_part):
                if number >= self._repeats(row, variant):
                    continue
                for sample in self._attempt(row, variant, number):
                    self._report(sample)
                    yield sample
                    if sample.error:
                        taking_part = [v for v in taking_part if v != variant]

    def _attempt(self, row: str, variant: Variant, number: int) -> Iterator[Sample]:
        try:
            yield from self._rows[row](variant, number)
        except (_FailedError, LockError) as error:
            yield self._sample(row, variant, number, error=f"before the timed part: {error}")

    def _repeats(self, row: str, variant: Variant) -> int:
        if self._settings.repeats:
            return self._settings.repeats
        if row == "cold" or (row == "warm" and variant.compiles):
            return SLOW_REPEATS
        return INSTANT_REPEATS if row == "nothing" and not variant.compiles else REPEATS

    # The rows.

    def _nothing(self, variant: Variant, number: int) -> Iterator[Sample]:
        if number == 0:
            self._settle(variant, LAST)
        yield self._timed("nothing", variant, number, LAST)

    def _one(self, variant: Variant, number: int) -> Iterator[Sample]:
        step = number % (LAST - 1)
        if step == 0:
            self._settle(variant, 0, 1)
        yield self._timed("one", variant, number, step + 2)

    def _ten(self, variant: Variant, number: int) -> Iterator[Sample]:
        self._settle(variant, 0, 1)
        yield self._timed("ten", variant, number, LAST)

    def _branch(self, variant: Variant, number: int) -> Iterator[Sample]:
        self._settle(variant, LAST, LAST - 1, LAST)
        there = self._timed("branch", variant, number, 1)
        yield there
        if there.error is None:
            yield self._timed("back", variant, number, LAST)
        else:
            yield self._sample("back", variant, number, error="it never got there")

    def _warm(self, variant: Variant, number: int) -> Iterator[Sample]:
        if variant.slug in self._unusable:
            raise _FailedError(self._unusable[variant.slug])
        yield from self._fresh("warm", variant, number, self._caches(variant))

    def _cold(self, variant: Variant, number: int) -> Iterator[Sample]:
        # What was made is kept till the end: for minutes after a large removal, ext4 is slow to
        # make files, as it passes over the inodes that were just freed.
        caches = self._place / "cold" / f"{variant.slug}-{number}"
        yield from self._fresh("cold", variant, number, caches)
        self._wait(caches)

    def _fresh(self, row: str, variant: Variant, number: int, caches: Path) -> Iterator[Sample]:
        """Install where there never was an environment, and import right after that."""
        project = self._place / "fresh" / f"{row}-{variant.slug}-{number}"
        lock = self._series.state(LAST)
        self._checkout.place(variant, lock, project)
        commands = self._toolbox.install(variant, project, caches)
        installs = len(commands)
        if variant.imports_in(row):
            imports = self._series.recipe.imports
            commands.append(self._toolbox.heavy_import(project, imports, caches))
        outcome = run(commands, log=self._log(variant), limits=self._settings.limits)
        sample = self._sample(row, variant, number)
        installed = self._judge(sample, outcome, installs, project, LAST)
        yield installed
        if variant.imports_in(row):
            yield from self._imported(row, installed, outcome, installs)
        self._wait(caches)

    def _imported(
        self, row: str, installed: Sample, outcome: Outcome, installs: int
    ) -> Iterator[Sample]:
        """Give the rows that follow from the command after the first ``installs`` ones."""
        rows = [f"{row}-import", *(["cold-total"] if row == "cold" else [])]
        error = outcome.error
        if installed.seconds is None:
            error = "the install before it failed"
        before = 0.0
        for name in rows:
            seconds = None if error else before + outcome.timings[installs].seconds
            yield Sample(
                size=installed.size,
                row=name,
                tool=installed.tool,
                label=installed.label,
                round=installed.round,
                seconds=seconds,
                error=error,
            )
            before = installed.seconds or 0.0

    # The pieces they are made of.

    def _prime(self) -> None:
        """Fill every tool's caches with all that the rows install; untimed."""
        primed: set[tuple[str, str]] = set()
        imported = False
        for variant in self._settings.variants:
            if variant.extra or (variant.tool, variant.kind) in primed or variant.offline:
                continue
            primed.add((variant.tool, variant.kind))
            self._say(f"size {self._size}: filling the caches of {variant.label}")
            try:
                self._settle(variant, LAST, 0)
            except (_FailedError, LockError) as error:
                self._say(f"  failed: {error}")
                for other in self._settings.variants:
                    if (other.tool, other.kind) == (variant.tool, variant.kind):
                        self._unusable[other.slug] = str(error)
                continue
            if not imported:  # matplotlib's list of fonts is made once a user
                imported = True
                command = self._toolbox.heavy_import(
                    self._project(variant), self._series.recipe.imports, self._caches(variant)
                )
                run([command], log=self._log(variant), limits=self._settings.limits)

    def _settle(self, variant: Variant, *states: int) -> None:
        """Bring the environment through ``states``, untimed; raises `_FailedError`."""
        if variant.slug in self._unusable:
            raise _FailedError(self._unusable[variant.slug])
        for state in states:
            sample = self._timed("", variant, 0, state)
            if sample.error:
                raise _FailedError(sample.error)

    def _timed(self, row: str, variant: Variant, number: int, state: int) -> Sample:
        project, caches = self._project(variant), self._caches(variant)
        self._checkout.place(variant, self._series.state(state), project)
        commands = self._toolbox.install(variant, project, caches)
        outcome = run(commands, log=self._log(variant), limits=self._settings.limits)
        self._wait(caches)
        sample = self._sample(row, variant, number)
        return self._judge(sample, outcome, len(commands), project, state)

    def _judge(
        self, sample: Sample, outcome: Outcome, installs: int, project: Path, state: int
    ) -> Sample:
        """Fill in ``sample`` from the first ``installs`` commands and what they made."""
        timings = outcome.timings[:installs]
        if len(timings) < installs:
            return replace(sample, error=outcome.error)
        lock = self._series.state(state)
        wrong = differs(project, lock, self._toolbox.python) or outcome.behind_error
        return replace(
            sample,
            seconds=None if wrong else sum(t.seconds for t in timings),
            cpu=sum(t.cpu for t in timings),
            peak_kib=max(t.peak_kib for t in timings),
            behind_seconds=outcome.behind_seconds,
            behind_cpu=outcome.behind_cpu,
            behind_peak_kib=outcome.behind_peak_kib,
            error=wrong,
        )

    def _sample(
        self,
        row: str,
        variant: Variant,
        number: int,
        *,
        seconds: float | None = None,
        error: str | None = None,
    ) -> Sample:
        return Sample(
            size=self._size,
            row=row,
            tool=variant.tool,
            label=variant.label,
            round=number,
            seconds=seconds,
            error=error,
        )

    def _wait(self, caches: Path) -> None:
        """Let what compiles behind the exchange end, so that it does not slow the next command."""
        if not wait_for_lock(caches / "store" / "background.lock", self._settings.limits.calm):
            raise _FailedError("a background process still holds its lock")

    def _report(self, sample: Sample) -> None:
        result = (
            f"{sample.seconds:.3f} s" if sample.seconds is not None else f"FAILED {sample.error}"
        )
        self._say(f"size {self._size} {sample.row} #{sample.round + 1} {sample.label}: {result}")

    def _project(self, variant: Variant) -> Path:
        return self._place / "projects" / variant.slug

    def _caches(self, variant: Variant) -> Path:
        return self._settings.work / "caches" / variant.tool

    def _log(self, variant: Variant) -> Path:
        return self._settings.work / "logs" / f"{variant.slug}.log"
