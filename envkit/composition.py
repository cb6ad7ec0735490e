"""From what a lock names to the parts of an environment."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from envkit import editable, lock, pip
from envkit.environment import parts, skeleton
from envkit.environment.home import Home
from envkit.environment.parts import Distribution, Part
from envkit.interpreter import Interpreter
from envkit.lock import Pin
from envkit.project import Project
from envkit.quantities import count
from envkit.store import bytecode, selections
from envkit.store.layout import Store


def compose(
    project: Project,
    interpreter: Interpreter,
    entries: Mapping[Pin, Path],
    *,
    editable_project: bool,
    store: Store,
    home: Home,
    environ: Mapping[str, str],
    offline: bool,
    say: Callable[[str], None],
) -> tuple[Part, ...]:
    """Return the parts of an environment, in their order.

    Args:
        project: the project.
        interpreter: the environment's Python.
        entries: the store's entry for each pin, in the locks' order.
        editable_project: whether the project itself is one of the parts.
        store: the store.
        home: where the environment is.
        environ: the environment, with pip's configuration.
        offline: ask no index for what the project's own build system needs.
        say: called with a line before what can take time.

    Raises:
        ToolError: the project itself cannot be built, or virtualenv failed.
    """
    copy = home.copies or project.config.link.value == "copy"
    found: list[Distribution] = []

    def add(name: str, version: str, entry: Path, direct_url: str = "") -> None:
        found.append(
            Distribution(
                name=name,
                version=version,
                entry=str(entry),
                bytecode="",
                python=f"{home.live}/bin/python",
                copy=copy,
                direct_url=direct_url,
            )
        )

    if "pip" not in {pin.name for pin in entries}:
        add("seed-pip", "", _seed(store, interpreter))
    for pin, entry in entries.items():
        url = parts.direct_url(pin.url, entry.name) if pin.url else ""
        add(pin.name, pin.version or pin.url, entry, url)
    if editable_project:
        entry = editable.entry(project, interpreter, store)
        if not entry.is_dir():
            say(f"Building {project.name} in editable form")
            editable.build(project, interpreter, store, environ=environ, offline=offline)
        name = lock.normalize(project.name)
        add(name, editable.VERSION, entry, editable.direct_url(project))
    if project.config.compile.value != "off":
        now = project.config.compile.value == "now"
        found = _with_bytecode(found, interpreter, store, say if now else None)
    return (skeleton.make(store, interpreter, home.live, project.name), *found)


def prepare(interpreter: Interpreter, *, store: Store, home: Home, prompt: str) -> None:
    """Make what every environment of an interpreter needs, while something else is waited for."""
    skeleton.make(store, interpreter, home.live, prompt)
    _seed(store, interpreter)


def _with_bytecode(
    found: Sequence[Distribution],
    interpreter: Interpreter,
    store: Store,
    say: Callable[[str], None] | None,
) -> list[Distribution]:
    """Return distributions with the byte-code that there is; compile it first if there is `say`."""
    kind = interpreter.bytecode_kind
    places = [bytecode.entry(store, one.entry, kind) for one in found]
    lacking = [one.entry for one, place in zip(found, places, strict=True) if not place.is_dir()]
    if lacking and say:
        say(f"Compiling {count(len(lacking), 'distribution')}")
        bytecode.compile_all(
            store, lacking, executable=interpreter.executable, kind=kind, idle=False
        )
        lacking = []
    return [
        one if one.entry in lacking else replace(one, bytecode=str(place))
        for one, place in zip(found, places, strict=True)
    ]


def _seed(store: Store, interpreter: Interpreter) -> Path:
    """Return the entry of the pip that virtualenv would put into an environment."""
    text = f"{skeleton.virtualenv_state()} {interpreter.short_version}"
    key = "seed-" + hashlib.sha256(text.encode()).hexdigest()[:35]
    entry = selections.find(store, key)
    if entry is None:
        from envkit.store import digest, wheels

        archive = pip.seed_wheel(interpreter)
        sha256 = digest.sha256(archive)
        entry = store.wheels / sha256
        with store.temporary() as folder:
            draft = folder / "draft"
            wheels.add(archive, name="pip", sha256=sha256, entry=entry, draft=draft)
        selections.remember(store, key, entry)
    return entry
