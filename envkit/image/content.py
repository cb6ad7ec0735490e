"""What an image has of a lock: the same wheels as the environment, as far as its base can use them.

Wheels are unpacked the same everywhere. Where a base has another C library or Python than this
machine, a wheel may be of no use in it; then the one that is best for the base is fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from envkit import interpreter
from envkit.environment import parts
from envkit.environment.parts import Distribution
from envkit.environment.tree import Layout, Pointed, Written
from envkit.errors import MissingError, UsageError
from envkit.fetching.progress import Report
from envkit.image.bases import Base
from envkit.image.layers import ROOT, Item
from envkit.installation import choice
from envkit.installation import plan as plans
from envkit.installation.plan import Plan
from envkit.installation.request import Request
from envkit.installation.supply import supply
from envkit.interpreter import Interpreter
from envkit.locks import lock
from envkit.locks.lock import Lock, Pin
from envkit.quantities import count
from envkit.store import bytecode, manifest
from envkit.store.manifest import SITE, TREE

Say = Callable[[str], None]

# What scripts of an image begin with.
_PYTHON = f"/{ROOT}/bin/python"


def check(locks: Sequence[Lock], base: Base, name: str) -> None:
    """Make sure that a base has the Python that the locks were compiled for.

    Args:
        locks: the locks.
        base: the base.
        name: what people call it.

    Raises:
        UsageError: it has another one.
    """
    for one in locks:
        if not interpreter.satisfies(base.interpreter.version, one.python):
            raise UsageError(
                f"{name} has Python {base.interpreter.version}, but {one.path.name} was compiled "
                f"for Python {one.python}",
                "Name a base with that Python (the Dockerfile's ARG PYTHON or BASE, or "
                "[tool.envkit.image] base), or lock for the base's.",
            )


def compose(
    request: Request, locks: Sequence[Lock], base: Base, *, report: Report, say: Say
) -> tuple[Distribution, ...]:
    """Return the distributions of an image, in the locks' order, with byte-code.

    What the store lacks is brought into it.

    Args:
        request: the groups that are meant.
        locks: their locks.
        base: the Python that they are for.
        report: called with the progress of fetching.
        say: called with a line before what can take time.

    Raises:
        ToolError: something cannot be fetched, or not for this base.
        IntegrityError: a file is not what the lock names.
        MissingError: this machine has no Python to compile with for the base's.
    """
    here = plans.make(request, say)
    if here.lacking:
        say(f"Fetching {count(len(here.lacking), 'distribution')}")
        supply(here, report=report, say=say)
    there = here._replace(
        interpreter=base.interpreter, pins=lock.select(locks, base.interpreter.markers)
    )
    entries = _entries(here, there, base)
    lacking = tuple(pin for pin in there.pins if pin not in entries)
    if lacking:
        names = count(len(lacking), "distribution")
        say(f"Fetching {names} for the image's Python {base.interpreter.version}")
        supply(there._replace(pins=lacking, entries={}), report=report, say=say)
        entries = _entries(here, there, base)
    compiled = _bytecode(here, base, list(entries.values()), say)
    return tuple(_part(pin, entries[pin], compiled) for pin in there.pins)


def skeleton(base: Base) -> tuple[Item, ...]:
    """Return what makes a folder of an image an environment (PEP 405)."""
    version = base.interpreter.version
    home = base.python.rpartition("/")[0]
    settings = f"home = {home}\ninclude-system-site-packages = false\nversion = {version}\n"
    names = {"python": base.python, "python3": "python"}
    names[f"python{base.interpreter.short_version}"] = "python"
    return (
        Item(f"{ROOT}/pyvenv.cfg", Written(settings.encode(), False)),
        Item(f"{ROOT}/lib64", Pointed("lib")),
        *(Item(f"{ROOT}/bin/{name}", Pointed(target)) for name, target in names.items()),
    )


def layout(base: Base) -> Layout:
    """Return where the environment of an image has things."""
    return Layout.of(base.interpreter.short_version)


def _entries(here: Plan, there: Plan, base: Base) -> dict[Pin, str]:
    """Return the store's entry for each pin, as far as there is one that the base can use."""
    store = here.request.store
    found = {}
    for pin in there.pins:
        entry = choice.find(store, pin, here.interpreter)
        if entry is None or not _is_usable(entry, here.interpreter, base, pin):
            entry = choice.find(store, pin, there.interpreter)
        if entry:
            found[pin] = entry
    return found


def _is_usable(entry: str, here: Interpreter, base: Base, pin: Pin) -> bool:
    """Return whether what was unpacked or built for this machine's Python is of use in a base."""
    usable = [tag for tag in _tags(entry) if tag in base.tags]
    if all(sha256 != entry.rpartition("/")[2] for sha256 in pin.hashes):
        # Built here, it may need a C library as new as the one here.
        usable = [tag for tag in usable if tag.endswith("-any") or _is_as_new(here, base)]
    return bool(usable)


def _tags(entry: str) -> Iterator[str]:
    """Yield the tags that a wheel says it has (binary distribution format, PyPA)."""
    about = manifest.read(entry)
    with open(f"{entry}/{TREE}/{SITE}/{about.dist_info}/WHEEL", encoding="utf-8") as file:
        for line in file:
            if line.startswith("Tag:"):
                yield line.removeprefix("Tag:").strip()


def _is_as_new(here: Interpreter, base: Base) -> bool:
    (kind, version), (other, newer) = _libc(here), _libc(base.interpreter)
    return kind == other and newer >= version


def _libc(python: Interpreter) -> tuple[str, list[int]]:
    """Return which C library an interpreter was found with: its name and its version."""
    kind, _, version = python.compatibility.rpartition("-")
    return kind, [int(part) for part in version.split(".") if part.isdigit()]


def _bytecode(here: Plan, base: Base, entries: Sequence[str], say: Say) -> Mapping[str, str]:
    """Return the byte-code of entries for a base's Python, having compiled what there was not."""
    store, kind = here.request.store, base.interpreter.bytecode_kind
    lacking = [entry for entry in entries if not bytecode.find(store, entry, kind)]
    if lacking:
        say(f"Compiling {count(len(lacking), 'distribution')}")
        compiler = here.interpreter
        if compiler.bytecode_kind != kind:
            short = base.interpreter.short_version
            environ = here.request.environ
            compiler = interpreter.find(short, cache=store.interpreters, environ=environ, say=say)
            if compiler.bytecode_kind != kind:
                raise MissingError(
                    f"Python {compiler.version} makes other byte-code than the base's "
                    f"{base.interpreter.version}"
                )
        bytecode.compile_all(store, lacking, executable=compiler.executable, kind=kind)
    return {entry: bytecode.find(store, entry, kind) for entry in entries}


def _part(pin: Pin, entry: str, compiled: Mapping[str, str]) -> Distribution:
    url = parts.direct_url(pin.url, entry.rpartition("/")[2]) if pin.url else ""
    return Distribution(
        pin.name, pin.version or pin.url, entry, compiled[entry], _PYTHON, False, url
    )
