"""What a build of one way took, or why it failed."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from benchmarks.timing import Outcome


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One measurement, or the failure of one.

    ``seconds`` is None exactly when ``error`` says what failed. ``cpu`` and ``peak_kib`` are of the
    client, not of the engine. ``sent`` are the bytes that a registry was sent.
    """

    row: str
    way: str
    round: int
    seconds: float | None = None
    cpu: float = 0.0
    peak_kib: int = 0
    sent: int = 0
    error: str | None = None

    def to_json(self) -> dict[str, object]:
        """As a JSON object."""
        return asdict(self)

    @classmethod
    def of(
        cls, row: str, way: str, number: int, outcome: Outcome, *, wrong: str | None, sent: int = 0
    ) -> Sample:
        """Make one of what the stopwatch found; ``wrong`` is what is wrong with what was built."""
        error = outcome.error or outcome.behind_error or wrong
        timings = outcome.timings
        return cls(
            row=row,
            way=way,
            round=number,
            seconds=None if error else sum(one.seconds for one in timings),
            cpu=sum(one.cpu for one in timings),
            peak_kib=max((one.peak_kib for one in timings), default=0),
            sent=sent,
            error=error,
        )


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Whether two things that have to be the same are, and what was compared, in words."""

    title: str
    same: bool
    text: str

    def to_json(self) -> dict[str, object]:
        """As a JSON object."""
        return asdict(self)
