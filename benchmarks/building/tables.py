"""Samples as tables: envkit against what each row's aim is set against, and every way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.building.sample import Finding, Sample
from benchmarks.building.ways import FILES, LOCKED
from benchmarks.report import NONE, between, number
from benchmarks.timing import Spread, ratios, spread

LABELS = {way.name: way.label for way in (*LOCKED, *FILES)}
TITLES = {
    "first": "first build, nothing there",
    "nothing": "nothing changed",
    "source": "one source file changed",
    "bump": "one small package bumped",
    "push": "pushing that",
    "files": "{files} small files in the context, all of them new",
    "one-file": "the same, one of them changed",
}


@dataclass(frozen=True, kw_only=True)
class _Aim:
    """What is to be reached: ``ours`` at most, or less than, ``most`` times ``theirs``."""

    row: str
    ours: str
    theirs: str
    most: float | None
    sent: bool = False


_AIMS = (
    _Aim(row="first", ours="envkit", theirs="docker", most=None),
    _Aim(row="first", ours="envkit", theirs="cache", most=None),
    _Aim(row="nothing", ours="envkit", theirs="docker", most=1.2),
    _Aim(row="source", ours="envkit", theirs="docker", most=1.2),
    _Aim(row="bump", ours="envkit", theirs="cache", most=0.1),
    _Aim(row="bump", ours="envkit", theirs="split", most=1.0),
    _Aim(row="files", ours="files-envkit", theirs="files-docker-py", most=1 / 3),
    _Aim(row="files", ours="files-envkit", theirs="files-docker", most=None),
    _Aim(row="one-file", ours="files-envkit", theirs="files-docker-py", most=1 / 3),
    _Aim(row="one-file", ours="files-envkit", theirs="files-docker", most=None),
    _Aim(row="push", ours="envkit", theirs="cache", most=None),
    _Aim(row="push", ours="envkit", theirs="cache", most=0.05, sent=True),
    _Aim(row="push", ours="envkit", theirs="split", most=None, sent=True),
)


def tables(
    samples: Iterable[Sample],
    findings: Iterable[Finding],
    facts: Mapping[str, str],
    sizes: Mapping[str, int],
) -> str:
    """Render all results as Markdown; ``sizes`` are the bytes of each way's image."""
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.row, sample.way), []).append(sample)
    order = list(TITLES)
    groups = dict(sorted(groups.items(), key=lambda item: order.index(item[0][0])))
    lines = [f"- {name}: {fact}" for name, fact in facts.items()]
    lines += [f"- Image, {LABELS[way]}: {_megabytes(size)}" for way, size in sizes.items()]
    titles = {row: title.format(files=facts.get("Files", "")) for row, title in TITLES.items()}
    if groups:
        lines += ["", *_summary(groups, titles)]
    lines += ["", *_found(findings)]
    if groups:
        lines += ["", "<details><summary>Every way</summary>", "", *_details(groups, titles)]
        lines += ["", "</details>", *_failures(groups, titles)]
    return "\n".join(lines) + "\n"


def _summary(
    groups: Mapping[tuple[str, str], Sequence[Sample]], titles: Mapping[str, str]
) -> list[str]:
    lines = [
        "| | envkit | against | | envkit / that (range) | aim |",
        "| --- | ---: | --- | ---: | ---: | ---: |",
    ]
    for aim in _AIMS:
        ours, theirs = (groups.get((aim.row, way), []) for way in (aim.ours, aim.theirs))
        if not ours or not theirs:
            continue
        title = titles[aim.row] + (", bytes sent" if aim.sent else "")
        quotient = ratios(_values(ours, aim.sent), _values(theirs, aim.sent))
        cells = (
            title,
            _middle(ours, aim.sent),
            LABELS[aim.theirs],
            _middle(theirs, aim.sent),
            f"{number(quotient.median, 3)} ({between(quotient, 3)})" if quotient else NONE,
            _reached(aim, quotient),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _reached(aim: _Aim, quotient: Spread | None) -> str:
    if aim.most is None or quotient is None:
        return NONE
    return f"{aim.most:.2g}, {'reached' if quotient.median <= aim.most else 'missed'}"


def _found(findings: Iterable[Finding]) -> list[str]:
    return [
        f"- {one.title}: {'identical' if one.same else 'DIFFERENT'}. {one.text}."
        for one in findings
    ]


def _details(
    groups: Mapping[tuple[str, str], Sequence[Sample]], titles: Mapping[str, str]
) -> list[str]:
    lines = [
        "| | | median | range, s | client: CPU s, peak MiB | bytes sent (range) |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    last = ""
    for (row, way), samples in groups.items():
        values = list(_values(samples, False).values())
        good = [sample for sample in samples if sample.seconds is not None]
        cells = (
            titles[row] if row != last else "",
            LABELS[way],
            _middle(samples, False),
            between(spread(values), 3) if values else NONE,
            f"{spread([one.cpu for one in good]).median:.2f}, {_peak(good)}" if good else NONE,
            _sent(good),
        )
        last = row
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _failures(
    groups: Mapping[tuple[str, str], Sequence[Sample]], titles: Mapping[str, str]
) -> list[str]:
    failed = [
        f"- {titles[row]}, {LABELS[way]}: {' / '.join(one.error.splitlines())[:400]}"
        for (row, way), samples in groups.items()
        for one in samples
        if one.error
    ]
    return ["", "Failed:", "", *failed] if failed else []


def _values(samples: Sequence[Sample], sent: bool) -> dict[int, float]:
    """Return what was measured in each round that succeeded."""
    return {
        one.round: one.sent if sent else one.seconds for one in samples if one.seconds is not None
    }


def _middle(samples: Sequence[Sample], sent: bool) -> str:
    values = list(_values(samples, sent).values())
    if not values:
        return "failed"
    median = spread(values).median
    return _megabytes(median) if sent else f"{number(median, 3)} s"


def _sent(samples: Sequence[Sample]) -> str:
    sent = [one.sent for one in samples if one.sent]
    if not sent:
        return NONE
    around = spread(sent)
    return (
        f"{_megabytes(around.median)} ({_megabytes(around.least)} to {_megabytes(around.greatest)})"
    )


def _peak(samples: Sequence[Sample]) -> str:
    return f"{max(one.peak_kib for one in samples) / 1024:.0f}"


def _megabytes(size: float) -> str:
    return f"{number(size / 1e6, 3)} MB"
