"""Results as text for people or JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from envkit.environment.halves import Change


def as_json(value: object) -> str:
    """Return a result as one JSON document, its keys being its attributes' names."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False)


def _plain(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value


def count(number: int, noun: str) -> str:
    """Return a number with its noun: "1 distribution", "3 distributions"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def change_lines(changes: Sequence[Change]) -> list[str]:
    """Return a line for each change: `+` comes, `-` goes, `~` gets another version."""
    lines = []
    for change in changes:
        if not change.old:
            lines.append(f"+ {change.name} {change.new}")
        elif not change.new:
            lines.append(f"- {change.name} {change.old}")
        else:
            lines.append(f"~ {change.name} {change.old} -> {change.new}")
    return lines


def change_summary(changes: Sequence[Change]) -> str:
    """Return how many distributions are added, removed and changed, in one line."""
    added = sum(not change.old for change in changes)
    removed = sum(not change.new for change in changes)
    parts = [
        f"{number} {word}"
        for number, word in (
            (added, "added"),
            (removed, "removed"),
            (len(changes) - added - removed, "changed"),
        )
        if number
    ]
    return ", ".join(parts) or "no distribution changed"


def bytes_text(number: float) -> str:
    """Return a number of bytes as people read it: "1.4 GB" (powers of 1000)."""
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            digits = 0 if unit == "B" or number >= 100 else 1
            return f"{number:.{digits}f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def seconds_text(seconds: float) -> str:
    """Return a duration as people read it: "0.42 s", "12 s", "3 min 10 s"."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
