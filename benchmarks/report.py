"""Samples as tables: envkit against the fastest uv of each row, and every variant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scenarios import Sample
from benchmarks.timing import Spread, ratios, spread

NONE = "-"
TITLES = {
    "nothing": "nothing to do",
    "one": "one bumped",
    "ten": "ten bumped",
    "branch": "to another branch's lock",
    "back": "back again",
    "warm": "fresh environment, warm",
    "warm-import": "first heavy import after that",
    "cold": "fresh environment, cold",
    "cold-import": "first heavy import after that ",
    "cold-total": "cold install and heavy import",
}


@dataclass(frozen=True, kw_only=True)
class Series:
    """All samples of one variant in one row, in one size."""

    label: str
    tool: str
    samples: tuple[Sample, ...]

    @property
    def compiled(self) -> bool:
        """Whether a uv compiled everything during the install."""
        return self.tool == "uv" and "--compile-bytecode" in self.label

    @property
    def seconds(self) -> dict[int, float]:
        """The seconds of each round that succeeded."""
        return {s.round: s.seconds for s in self.samples if s.seconds is not None}

    @property
    def errors(self) -> list[str]:
        """What failed, each in one line."""
        return [" / ".join(s.error.splitlines())[:400] for s in self.samples if s.error]


def tables(samples: Iterable[Sample], facts: Mapping[str, str], sizes: Mapping[int, str]) -> str:
    """Render all results as Markdown, ``facts`` above them, ``sizes`` as their headings."""
    every = list(samples)
    lines = _listed(facts)
    for size in sorted({sample.size for sample in every}):
        groups = {
            row: _series([s for s in every if s.size == size and s.row == row]) for row in TITLES
        }
        groups = {row: found for row, found in groups.items() if found}
        lines += ["", f"#### {sizes.get(size, size)}", "", *_summary(groups)]
        lines += ["", "<details><summary>Every variant</summary>", ""]
        lines += [*_details(groups), "", "</details>"]
        lines += _failures(groups)
    return "\n".join(lines) + "\n"


def reference(found: Sequence[Series]) -> Series | None:
    """Pick the uv variant with the least median among those that never failed, or None."""
    whole = [s for s in found if s.tool == "uv" and s.seconds and not s.errors]
    return min(whole, key=lambda s: spread(list(s.seconds.values())).median, default=None)


def publish(
    readme: Path,
    benchmark: str,
    facts: Mapping[str, str],
    lines: Sequence[str],
    *,
    writing: bool,
) -> None:
    """Print ``facts`` and what stands below them; where ``writing``, put it into ``readme`` too."""
    text = "\n".join([*_listed(facts), "", *lines])
    print(text)
    if writing:
        write(readme, benchmark, f"{text}\n")


def write(readme: Path, benchmark: str, text: str) -> None:
    """Put ``text`` between a benchmark's markers in ``readme``; `ValueError` if one is missing."""
    first, last = f"<!-- {benchmark}: begin -->", f"<!-- {benchmark}: end -->"
    head, begin, rest = readme.read_text().partition(first)
    _, end, tail = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"{readme} lacks the lines {first} and {last}")
    readme.write_text(f"{head}{begin}\n\n{text}\n{end}{tail}")


def _listed(facts: Mapping[str, str]) -> list[str]:
    return [f"- {name}: {fact}" for name, fact in facts.items()]


def _series(samples: Sequence[Sample]) -> list[Series]:
    labels = dict.fromkeys((s.label, s.tool) for s in samples)
    return [
        Series(label=label, tool=tool, samples=tuple(s for s in samples if s.label == label))
        for label, tool in labels
    ]


def _summary(groups: Mapping[str, Sequence[Series]]) -> list[str]:
    lines = [
        "| | envkit, s | fastest uv, s | envkit / uv (range) | peak MiB, envkit / uv | pip, s |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row, found in groups.items():
        lines.append(_compared(TITLES[row].strip(), found))
        if row.endswith("-import"):
            plain = [s for s in found if not s.compiled]
            lines.append(_compared("the same, uv not having compiled", plain))
    return lines


def _compared(title: str, found: Sequence[Series]) -> str:
    best = reference(found)
    ours = next((s for s in found if s.label == "envkit install"), None)
    pip = next((s for s in found if s.tool == "pip"), None)
    uv = f"{_median(best)} (`{best.label}`)" if best else NONE
    peaks = f"{_peak(ours)} / {_peak(best)}" if ours and best else NONE
    cells = (title, _median(ours), uv, _ratio(ours, best), peaks, _median(pip))
    return f"| {' | '.join(cells)} |"


def _details(groups: Mapping[str, Sequence[Series]]) -> list[str]:
    lines = [
        "| | | median, s | range | to fastest uv (range) | peak MiB | behind: CPU s, MiB |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row, found in groups.items():
        best = reference(found)
        title = TITLES[row].strip()
        for one in found:
            values = list(one.seconds.values())
            shown = between(spread(values), 3) if values else NONE
            cells = (
                title,
                f"`{one.label}`",
                _median(one),
                shown,
                _ratio(one, best),
                _peak(one),
                _behind(one),
            )
            lines.append(f"| {' | '.join(cells)} |")
            title = ""
    return lines


def _failures(groups: Mapping[str, Sequence[Series]]) -> list[str]:
    failed = [
        f"- {TITLES[row].strip()}, `{one.label}`: {error}"
        for row, found in groups.items()
        for one in found
        for error in one.errors
    ]
    return ["", "Failed:", "", *failed] if failed else []


def _median(one: Series | None) -> str:
    if one is None:
        return NONE
    if not one.seconds:
        return "failed"
    text = number(spread(list(one.seconds.values())).median, 3)
    return f"{text} ({len(one.errors)} failed)" if one.errors else text


def _ratio(one: Series | None, best: Series | None) -> str:
    if one is None or best is None or (quotient := ratios(one.seconds, best.seconds)) is None:
        return NONE
    return f"{number(quotient.median, 2)} ({between(quotient, 2)})"


def _peak(one: Series) -> str:
    peaks = [sample.peak_kib for sample in one.samples if sample.peak_kib]
    return f"{max(peaks) / 1024:.0f}" if peaks else NONE


def _behind(one: Series) -> str:
    behind = [s for s in one.samples if s.behind_peak_kib]
    if not behind:
        return NONE
    cpu = spread([s.behind_cpu for s in behind]).median
    return f"{cpu:.1f}, {max(s.behind_peak_kib for s in behind) / 1024:.0f}"


def cells(took: Mapping[int, float], reference: Mapping[int, float]) -> str:
    """Write what each round took: the median, the range, the ratio to those of a reference."""
    own = spread(list(took.values()))
    quotient = ratios(took, reference)
    assert quotient
    shown = f"{number(quotient.median, 2)} ({between(quotient, 2)})"
    return f"{number(own.median, 2)} | {between(own, 2)} | {shown}"


def between(of: Spread, digits: int) -> str:
    """Write the least and the greatest."""
    return f"{number(of.least, digits)} to {number(of.greatest, digits)}"


def number(value: float, digits: int) -> str:
    """Enough digits to tell a twentieth apart: three places below one, fewer above."""
    places = digits if value < 1 else max(digits - 1, 1) if value < 10 else 1
    return f"{value:.{places}f}"
