"""Numbers as people read them."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """Return a number with its noun: "1 distribution", "3 distributions"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def bytes_text(number: float) -> str:
    """Return a number of bytes as people read it: "1.4 GB" (powers of 1000)."""
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            digits = 0 if unit == "B" or number >= 100 else 1
            return f"{number:.{digits}f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def whole_seconds_text(seconds: float) -> str:
    """Return a guess at a duration without false precision: "1 s", "12 s", "3 min 10 s"."""
    whole = max(1, round(seconds))
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


def seconds_text(seconds: float) -> str:
    """Return a duration as people read it: "0.42 s", "12 s", "3 min 10 s"."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
