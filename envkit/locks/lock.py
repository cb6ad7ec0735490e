"""Lock files: compiled `requirements*.txt` with `==` pins and hashes, read and chosen from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from envkit.errors import UsageError
from envkit.locks.formats import Form, Formats, is_control
from envkit.locks.names import normalize

# The one comment line of ours: what the lock is for and the digest of what it was compiled from.
_HEADER = re.compile(
    r"# envkit-lock: python=(?P<python>\S+) inputs=sha256:(?P<inputs>[0-9a-f]{64})"
)
_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[(?P<extras>[^\]]*)\])?\s*"
    r"(?:==\s*(?P<version>[A-Za-z0-9.!+_-]+)|@\s*(?P<url>\S+))\s*(?:;\s*(?P<marker>.*?))?\s*"
)
_SHA256 = re.compile(r"--hash=sha256:([0-9a-f]{64})")


class Pin(NamedTuple):
    """One locked distribution.

    Attributes:
        name: normalized (PEP 503).
        version: as the lock writes it; empty for a direct reference.
        extras: the extras it was asked for with.
        marker: the condition behind the semicolon (PEP 508); empty if there is none.
        url: where a direct reference (`name @ url`) leads; empty otherwise.
        hashes: the sha256 digests of the files that may be installed for it, in hex.
        form: which of these files may be taken, as the lock's format controls say.
    """

    name: str
    version: str
    extras: tuple[str, ...]
    marker: str
    url: str
    hashes: frozenset[str]
    form: Form = ""

    def requirement(self) -> str:
        """Return the line, marker aside, that asks pip for exactly this, hashes and all."""
        wanted = f"{self.name} @ {self.url}" if self.url else f"{self.name}=={self.version}"
        return " ".join([wanted, *(f"--hash=sha256:{digest}" for digest in sorted(self.hashes))])

    def __str__(self) -> str:
        """Return the name and version, as people write them."""
        return f"{self.name} @ {self.url}" if self.url else f"{self.name} {self.version}"


class Lock(NamedTuple):
    """A lock that was read.

    Attributes:
        path: the file.
        python: the Python it was compiled for: a version or a specifier set; empty if unknown.
        inputs: the digest, in hex, of what it was compiled from; empty if unknown.
        pins: the distributions, in the file's order.
    """

    path: Path
    python: str
    inputs: str
    pins: tuple[Pin, ...]


def header(python: str, inputs: str) -> str:
    """Return the comment line that stands in a lock for what it was compiled from."""
    return f"# envkit-lock: python={python} inputs=sha256:{inputs}"


def python_of(text: str) -> str:
    """Return the Python that a lock's text says it is for; empty if it does not say."""
    found = next(filter(None, map(_HEADER.fullmatch, text.splitlines())), None)
    return found["python"] if found else ""


def read(path: Path) -> Lock:
    """Return a lock.

    Raises:
        UsageError: it does not exist, cannot be read, or has a line that is not a pin with hashes;
            the message has the line's number.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"{path.name} does not exist", "Run `envkit lock`.") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path.name}: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    return parse(text, path)


def parse(text: str, path: Path) -> Lock:
    """Return the lock that a text holds.

    Args:
        text: the content, in the form that pip-compile writes and pip reads.
        path: where it came from, for messages.

    Raises:
        UsageError: as for `read`.
    """
    python = inputs = ""
    pins: dict[str, Pin] = {}
    formats = Formats()
    for number, line in _logical_lines(text):
        if line.startswith("#"):
            found = _HEADER.fullmatch(line)
            if found:
                python, inputs = found["python"], found["inputs"]
            continue
        if is_control(line):
            formats.add(line)
            continue
        pin = _parse_pin(line, path, number)
        if pin.name in pins and pins[pin.name].marker == pin.marker:
            raise UsageError(f"{path.name}:{number}: {pin.name} is pinned twice")
        pins[pin.name + ";" + pin.marker if pin.name in pins else pin.name] = pin
    found_pins = tuple(pin._replace(form=formats.of(pin.name)) for pin in pins.values())
    return Lock(path=path, python=python, inputs=inputs, pins=found_pins)


def pinned(text: str) -> Iterator[Pin]:
    """Yield the pins in a requirements file, with or without hashes; other lines are skipped."""
    for _, line in _logical_lines(text):
        found = _PIN.fullmatch(line.partition(" --hash=")[0])
        if found and not line.startswith("#"):
            yield _pin(found, line)


def _logical_lines(text: str) -> Iterable[tuple[int, str]]:
    """Yield each line, continuation lines joined and comments behind a pin cut off."""
    number, pending = 0, ""
    for index, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not pending:
            number = index
            if line.startswith("#"):
                yield number, line
                continue
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        line = (pending + line).partition(" #")[0].strip()
        pending = ""
        if line:
            yield number, line
    if pending.strip():
        yield number, pending.strip()


def _parse_pin(line: str, path: Path, number: int) -> Pin:
    where = f"{path.name}:{number}"
    if line.startswith("-"):
        option = line.split(maxsplit=1)[0].partition("=")[0]
        raise UsageError(
            f"{where}: {option} cannot stand in a lock",
            "Put it into the .in file or pip's own configuration, then run `envkit lock`.",
        )
    requirement = line.partition(" --hash=")[0]
    found = _PIN.fullmatch(requirement)
    if not found:
        raise UsageError(
            f"{where}: not a pin: {requirement[:80]!r}",
            "A lock has lines like `name==1.2 --hash=sha256:...`; make it with `envkit lock`.",
        )
    pin = _pin(found, line)
    if not pin.hashes:
        raise UsageError(f"{where}: {pin.name} has no sha256 hash", "Run `envkit lock`.")
    return pin


def _pin(found: re.Match[str], line: str) -> Pin:
    extras = (found["extras"] or "").split(",")
    return Pin(
        name=normalize(found["name"]),
        version=found["version"] or "",
        extras=tuple(extra.strip() for extra in extras if extra.strip()),
        marker=found["marker"] or "",
        url=found["url"] or "",
        hashes=frozenset(_SHA256.findall(line)),
    )


def versions(pins: Iterable[Pin]) -> dict[str, str]:
    """Return the version of each pin by its name; for a direct reference, where it leads."""
    return {pin.name: pin.version or pin.url for pin in pins}


def select(locks: Sequence[Lock], markers: Mapping[str, str]) -> tuple[Pin, ...]:
    """Return what the locks together ask for on one interpreter, in their order.

    Args:
        locks: the locks of the chosen groups, the default one first.
        markers: the interpreter's marker values (PEP 508).

    Raises:
        UsageError: two locks pin one distribution differently.
    """
    chosen: dict[str, tuple[Pin, Lock]] = {}
    for lock in locks:
        for pin in lock.pins:
            if pin.marker and not _holds(pin.marker, markers, lock.path):
                continue
            other, owner = chosen.setdefault(pin.name, (pin, lock))
            if (other.version, other.url) != (pin.version, pin.url):
                raise UsageError(
                    f"{owner.path.name} has {other}, {lock.path.name} has {pin}",
                    "Run `envkit lock`, which compiles the groups so that they agree.",
                )
    return tuple(pin for pin, _ in chosen.values())


def _holds(marker: str, markers: Mapping[str, str], path: Path) -> bool:
    from packaging.markers import Marker

    try:
        return Marker(marker).evaluate(dict(markers))
    except (ValueError, KeyError):  # no marker, or one that compares what cannot be compared
        raise UsageError(f"{path.name}: not a marker: {marker[:80]!r}") from None
