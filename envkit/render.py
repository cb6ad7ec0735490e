"""Results as text for people or JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from envkit.changes import Change


def as_json(value: object) -> str:
    """Return a result as one JSON document, its keys being its attributes' names."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False)


def _plain(value: object) -> Any:
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value


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
