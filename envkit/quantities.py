"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Iterable

from envkit.errors import UsageError

_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
# Whatever is counted here is less.
_MOST = 10**18

_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "day": 86400, "w": 604800}


def count(number: int, noun: str, many: str = "") -> str:
    """Return a number with its noun: "1 distribution", "3 distributions", "2 entries"."""
    return f"{number} {noun if number == 1 else many or noun + 's'}"


def few(things: Iterable[object], most: int = 5) -> str:
    """Return the first of some things in a line, with a sign if there are more."""
    names = [str(one) for one in things]
    return ", ".join(names[:most]) + (" …" if len(names) > most else "")


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


def age_text(seconds: float) -> str:
    """Return how long ago something was, roughly: "12 s", "5 min", "3 h", "2 d"."""
    for unit, size, most in (("s", 1, 60), ("min", 60, 3600), ("h", 3600, 172_800)):
        if seconds < most:
            return f"{max(0, int(seconds // size))} {unit}"
    return f"{int(seconds // 86_400)} d"


def utc_text(seconds: float) -> str:
    """Return a time, in seconds since 1970, as RFC 3339 has it: "2020-01-01T00:00:00Z".

    Raises:
        ValueError, OverflowError, OSError: no calendar has it.
    """
    from datetime import datetime, timezone

    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_bytes(text: str) -> int:
    """Return the number of bytes that a text means: "500 MB", "20GB" (powers of 1000).

    Raises:
        UsageError: it means none.
    """
    return int(_parse(text, _BYTES, "a size, such as 500MB or 20GB"))


def parse_seconds(text: str) -> float:
    """Return the number of seconds that a text means: "12h", "30 days", "2w", "0.5s".

    Raises:
        UsageError: it means none.
    """
    return _parse(text, _SECONDS, "a duration, such as 90s, 12h or 30d")


def _parse(text: str, units: dict[str, int], kind: str) -> float:
    number = text.strip().rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    unit = text.strip()[len(number) :].lower()
    factor = units.get(unit) or units.get(unit.removesuffix("s"))
    try:
        value = float(number)
    except ValueError:
        value = -1
    if factor is None or not 0 <= value * factor < _MOST:
        raise UsageError(f"{text!r} is not {kind}")
    return value * factor
