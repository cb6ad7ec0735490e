"""Locks: compiled `requirements*.txt` files with `==` pins and hashes, and what they came from."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envkit.errors import UsageError
from envkit.project import DEFAULT_GROUP, Group, Project

# The one comment line of ours: what the lock is for and the digest of what it was compiled from.
_HEADER = re.compile(
    r"# envkit-lock: python=(?P<python>\S+) inputs=sha256:(?P<inputs>[0-9a-f]{64})"
)
_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[(?P<extras>[^\]]*)\])?\s*"
    r"(?:==\s*(?P<version>[A-Za-z0-9.!+_-]+)|@\s*(?P<url>\S+))\s*(?:;\s*(?P<marker>.*?))?\s*"
)
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_SHA256 = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_NESTED = re.compile(r"(?:(?:-r|-c)\s*|(?:--requirement|--constraint)(?:\s+|=))(?P<path>\S.*)")


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One locked distribution.

    Attributes:
        name: normalized (PEP 503).
        version: as the lock writes it; empty for a direct reference.
        extras: the extras it was asked for with.
        marker: the condition behind the semicolon (PEP 508); empty if there is none.
        url: where a direct reference (`name @ url`) leads; empty otherwise.
        hashes: the sha256 digests of the files that may be installed for it, in hex.
    """

    name: str
    version: str
    extras: tuple[str, ...]
    marker: str
    url: str
    hashes: frozenset[str]

    def requirement(self) -> str:
        """Return the line, marker aside, that asks pip for exactly this, hashes and all."""
        wanted = f"{self.name} @ {self.url}" if self.url else f"{self.name}=={self.version}"
        return " ".join([wanted, *(f"--hash=sha256:{digest}" for digest in sorted(self.hashes))])

    def __str__(self) -> str:
        """Return the name and version, as people write them."""
        return f"{self.name} @ {self.url}" if self.url else f"{self.name} {self.version}"


@dataclass(frozen=True, kw_only=True)
class Lock:
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


def normalize(name: str) -> str:
    """Return a distribution's name in its normal form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


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
    for number, line in _logical_lines(text):
        if line.startswith("#"):
            found = _HEADER.fullmatch(line)
            if found:
                python, inputs = found["python"], found["inputs"]
            continue
        pin = _parse_pin(line, path, number)
        if pin.name in pins and pins[pin.name].marker == pin.marker:
            raise UsageError(f"{path.name}:{number}: {pin.name} is pinned twice")
        pins[pin.name + ";" + pin.marker if pin.name in pins else pin.name] = pin
    return Lock(path=path, python=python, inputs=inputs, pins=tuple(pins.values()))


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
    from packaging.markers import InvalidMarker, Marker

    try:
        return Marker(marker).evaluate(dict(markers))
    except InvalidMarker:
        raise UsageError(f"{path.name}: not a marker: {marker[:80]!r}") from None


def input_files(group: Group) -> tuple[Path, ...]:
    """Return the requirement files of a group and, in turn, those that they name (-r, -c)."""
    found: dict[Path, None] = {}
    waiting = [path for path in group.inputs if path.suffix == ".in" and path.is_file()]
    while waiting:
        path = waiting.pop(0)
        if path not in found and path.is_file():
            found[path] = None
            nested = map(_NESTED.fullmatch, _meaning(_text(path)))
            waiting += [
                Path(os.path.normpath(path.parent / match["path"].strip()))
                for match in nested
                if match
            ]
    return tuple(found)


def direct_names(project: Project, groups: Iterable[Group]) -> set[str]:
    """Return the normalized names of what groups ask for themselves."""
    lines = [*project.static_dependencies]
    for group in groups:
        for path in input_files(group):
            lines += _meaning(_text(path))
    return {normalize(found[0]) for line in lines if (found := _NAME.match(line))}


def inputs_digest(
    project: Project, group: Group, python: str, *, default_lock: str | None = None
) -> str:
    """Return the digest, in hex, of everything that a lock of this group is compiled from.

    Comments and empty lines do not count; the order of lines does.

    Args:
        project: the project.
        group: one of its groups.
        python: the Python that the lock is for, as its header has it.
        default_lock: what the default group's lock is about to say, if not what it says now.
    """
    default = project.group(DEFAULT_GROUP).lock
    texts = {path: _text(path) for path in input_files(group) if path != default}
    if group.name != DEFAULT_GROUP and (default_lock is not None or default.is_file()):
        texts[default] = _text(default) if default_lock is None else default_lock
    digest = hashlib.sha256(f"python {python}\n".encode())
    for path, text in texts.items():
        digest.update(f"file {_relative(path, project.root)}\n".encode())
        digest.update("".join(f"{line}\n" for line in _meaning(text)).encode())
    if group.name == DEFAULT_GROUP:
        for dependency in project.static_dependencies:
            digest.update(f"dependency {dependency}\n".encode())
    return digest.hexdigest()


def is_fresh(project: Project, group: Group, lock: Lock) -> bool:
    """Return whether a lock was compiled from what the group's inputs say now.

    A lock without our line is taken as it is, since nothing is known about where it came from.
    """
    return not lock.inputs or lock.inputs == inputs_digest(project, group, lock.python)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None


def _meaning(text: str) -> list[str]:
    """Return the lines of a requirements file that mean something."""
    lines = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in text.splitlines())
    return [line for line in lines if line]


def _relative(path: Path, root: Path) -> str:
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return path.name
