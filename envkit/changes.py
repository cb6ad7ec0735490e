"""What differs between two sets of distributions, as a user is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Change(NamedTuple):
    """A distribution that comes (no `old`), goes (no `new`) or gets another version."""

    name: str
    old: str
    new: str


def between(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[Change, ...]:
    """Return the changes from some distributions to others, by name.

    Args:
        old: name -> version.
        new: the same.
    """
    return tuple(
        Change(name=name, old=old.get(name, ""), new=new.get(name, ""))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )
