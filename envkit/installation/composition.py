"""From what a plan names to the parts of an environment."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from envkit.environment import parts, skeleton, visibility
from envkit.environment.halves import Half, Wanted
from envkit.environment.home import Home
from envkit.environment.parts import Distribution, Part
from envkit.errors import MissingError
from envkit.installation import choice
from envkit.installation.plan import Plan
from envkit.interpreter import Interpreter
from envkit.locks.lock import Pin
from envkit.locks.names import normalize
from envkit.quantities import count
from envkit.store import bytecode, selections
from envkit.store.layout import Store


def compose(chosen: Plan, home: Home, say: Callable[[str], None] = lambda _: None) -> Wanted:
    """Return what an environment is to be, now that the store has all that its locks name.

    Args:
        chosen: the plan.
        home: where the environment is.
        say: called with a line before what can take time.

    Raises:
        ToolError: the project itself cannot be built, or virtualenv failed.
        MissingError: something has gone from the store meanwhile.
    """
    request, python = chosen.request, chosen.interpreter
    project, store = request.project, request.store
    found = _distributions(chosen, home, say)
    if project.config.compile != "off":
        now = project.config.compile == "now"
        found = _with_bytecode(found, python, store, say if now else None)
    base = skeleton.make(store, python, home.live, project.name)
    return Wanted(
        home=home,
        interpreter=python,
        parts=(base, *visibility.of(project.config.gpu, base), *found),
        groups=tuple(group.name for group in request.groups),
        configured=not request.overridden,
        completed=project.config.compile == "background",
        inputs=chosen.inputs,
        content=chosen.content,
        overrides=chosen.overrides,
        summary=f"{count(len(chosen.pins), 'distribution')}, Python {python.version}",
        has_files=bool(project.config.assets),
    )


def recompose(half: Half, home: Home, *, store: Store, prompt: str) -> Wanted:
    """Return what a half was made to be, from what was written down of it.

    Args:
        half: the half.
        home: where both halves are.
        store: the store.
        prompt: what activation shows.

    Raises:
        MissingError: it is not finished, or the store has something of it no more.
    """
    if half.stamp is None or half.record is None:
        raise MissingError(f"{half.path} is not finished", "Run `envkit install`.")
    python = half.record.interpreter
    first, *recorded = half.record.parts
    base = skeleton.again(store, python, home.live, prompt, first.source)
    if base is None:
        raise MissingError(
            f"What virtualenv made for {half.path} has gone from the store", "Run `envkit install`."
        )
    found: list[Part] = [base]
    for part in recorded:
        if part.name == visibility.NAME:
            seen = visibility.again(base, part.source)
            if seen is None:
                raise MissingError(f"{half.path} is another envkit's", "Run `envkit install`.")
            found.append(seen)
            continue
        name, kind, url = part.source.split(" ", 2)
        entry = next((one for one in store.places(name) if os.path.isdir(one)), None)
        if entry is None:
            raise MissingError(
                f"{part.name} {part.version} has gone from the store", "Run `envkit install`."
            )
        compiled = f"{store.bytecode}/{part.compiled}" if part.compiled else ""
        python_path = f"{home.live}/bin/python"
        found.append(
            Distribution(part.name, part.version, entry, compiled, python_path, kind == "copy", url)
        )
    lines = (line.partition("\t") for line in half.stamp["input"])
    return Wanted(
        home=home,
        interpreter=python,
        parts=tuple(found),
        groups=tuple(half.stamp["group"]),
        configured=half.stamp["configured"] == ["yes"],
        completed=half.stamp["lacking"] != ["nothing"],
        inputs={path: state for path, _, state in lines},
        content=half.stamp["content"][0],
        overrides=tuple(half.stamp["overrides"]),
        summary=half.stamp["summary"][0],
        has_files=half.stamp["files"] != ["nothing"],
    )


def prepare(interpreter: Interpreter, *, store: Store, home: Home, prompt: str) -> None:
    """Make what every environment of an interpreter needs, while something else is waited for."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as beside:
        seeded = beside.submit(_seed, store, interpreter)
        skeleton.make(store, interpreter, home.live, prompt)
        seeded.result()


def _distributions(chosen: Plan, home: Home, say: Callable[[str], None]) -> list[Distribution]:
    """Return the distributions of an environment, in their order and without byte-code."""
    request, python = chosen.request, chosen.interpreter
    project = request.project
    copy = home.copies or project.config.link == "copy"
    executable = f"{home.live}/bin/python"

    def part(name: str, version: str, entry: str, direct_url: str = "") -> Distribution:
        return Distribution(name, version, entry, "", executable, copy, direct_url)

    entries = _entries(chosen)
    found = []
    if "pip" not in {pin.name for pin in entries}:
        found.append(part("seed-pip", "", _seed(request.store, python)))
    for pin, entry in entries.items():
        url = parts.direct_url(pin.url, Path(entry).name) if pin.url else ""
        found.append(part(pin.name, pin.version or pin.url, entry, url))
    if request.has_project:
        from envkit.installation import editable

        entry = str(editable.entry(project, python, request.store))
        if not Path(entry).is_dir():
            say(f"Building {project.name} in editable form")
            editable.build(
                project,
                python,
                request.store,
                locked=found,
                environ=request.environ,
                offline=request.offline,
            )
        name = normalize(project.name)
        found.append(part(name, editable.VERSION, entry, editable.direct_url(project)))
    return found


def _entries(chosen: Plan) -> Mapping[Pin, str]:
    """Return the store's entry for each pin, in the locks' order."""
    entries = dict(chosen.entries)
    for pin in chosen.lacking:
        entry = choice.find(chosen.request.store, pin, chosen.interpreter)
        if entry is None:
            raise MissingError(f"{pin} has gone from the store meanwhile", "Run it again.")
        entries[pin] = entry
    return {pin: entries[pin] for pin in chosen.pins}


def _with_bytecode(
    found: Sequence[Distribution],
    interpreter: Interpreter,
    store: Store,
    say: Callable[[str], None] | None,
) -> list[Distribution]:
    """Return distributions with the byte-code that there is; compile it first if there is `say`."""
    kind = interpreter.bytecode_kind
    places = {one.entry: bytecode.find(store, one.entry, kind) for one in found}
    lacking = [entry for entry, place in places.items() if not place]
    if lacking and say:
        say(f"Compiling {count(len(lacking), 'distribution')}")
        bytecode.compile_all(
            store, lacking, executable=interpreter.executable, kind=kind, idle=False
        )
        places = {one.entry: bytecode.find(store, one.entry, kind) for one in found}
    return [one._replace(bytecode=places[one.entry]) for one in found]


def _seed(store: Store, interpreter: Interpreter) -> str:
    """Return the entry of the pip that virtualenv would put into an environment."""
    text = f"{skeleton.virtualenv_state()} {interpreter.short_version}"
    key = "seed-" + hashlib.sha256(text.encode()).hexdigest()[:35]
    entry = selections.find(store, key)
    if entry is None:
        from envkit import pip
        from envkit.store import digest, wheels

        archive = pip.seed_wheel(interpreter)
        sha256 = digest.sha256(archive)
        place = store.wheels / sha256
        with store.temporary() as folder:
            wheels.add(archive, name="pip", sha256=sha256, entry=place, draft=folder / "draft")
        entry = str(place)
        selections.remember(store, key, entry)
    return entry
