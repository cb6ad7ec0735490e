"""An installation: from locks to an environment that is what they say."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envkit import composition, downloads, editable, interpreter, lock, process
from envkit.changes import Change
from envkit.environment import halves, stamp
from envkit.environment.halves import Half, Wanted
from envkit.environment.home import Home
from envkit.environment.parts import Distribution
from envkit.environment.record import RECORD
from envkit.environment.tree import AlteredError, Layout
from envkit.errors import EnvkitError, MissingError, UsageError
from envkit.interpreter import Interpreter
from envkit.lock import Lock, Pin
from envkit.project import DEFAULT_GROUP, Group, Project
from envkit.quantities import count
from envkit.store import bytecode
from envkit.store.layout import Store


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be installed, and how.

    Attributes:
        project: the project.
        groups: its groups, in their order.
        store: the store.
        environ: the environment, with pip's configuration.
        offline: ask no index.
        overridden: whether options stand against the settings, so that `install` without them
            would make another environment.
        replace: take the place of a `.venv` that somebody else made.
    """

    project: Project
    groups: tuple[Group, ...]
    store: Store
    environ: Mapping[str, str]
    offline: bool = False
    overridden: bool = False
    replace: bool = False

    @property
    def has_project(self) -> bool:
        """Whether the project itself is installed, which needs what the default group asks for."""
        return self.project.editable and any(group.name == DEFAULT_GROUP for group in self.groups)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an installation starts from; nothing has been done yet.

    Attributes:
        request: what was asked for.
        interpreter: the Python that serves it.
        pins: what the locks say for it.
        entries: the store's entry for each pin that it has one for.
        inputs: the files that were read, each with its state before.
        changes: what will be different to a user.
        changed: whether anything will be: `.venv` is absent, another Python's, not what the locks
            say, or somebody put something into it.
    """

    request: Request
    interpreter: Interpreter
    pins: tuple[Pin, ...]
    entries: Mapping[Pin, Path]
    inputs: Mapping[str, str]
    changes: tuple[Change, ...]
    changed: bool

    @property
    def lacking(self) -> tuple[Pin, ...]:
        """The pins that the store has nothing for."""
        return tuple(pin for pin in self.pins if pin not in self.entries)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an installation did.

    Attributes:
        changes: what is different to a user.
        touched: whether `.venv` is another one than before.
        distributions: how many the environment has.
        fetched: how many of them were brought into the store.
        compiling: whether byte-code is still being made, behind the user's back.
    """

    changes: tuple[Change, ...]
    touched: bool
    distributions: int
    fetched: int
    compiling: bool


def plan(request: Request) -> Plan:
    """Return what an installation would start from, having changed nothing.

    Raises:
        UsageError: a lock is missing, stale, not readable, or not for this interpreter.
        MissingError: there is no interpreter that the project can use.
    """
    project = request.project
    inputs = {str(path): stamp.state_of(str(path)) for path in _input_files(request)}
    locks = [lock.read(group.lock) for group in request.groups]
    for group, one in zip(request.groups, locks, strict=True):
        check_fresh(project, group, one)
    python = find_interpreter(project, locks, request.store, request.environ)
    pins = lock.select(locks, python.markers)
    entries = {pin: entry for pin in pins if (entry := downloads.find(request.store, pin, python))}
    live = Half(str(project.environment))
    versions = {pin.name: pin.version or pin.url for pin in pins}
    if request.has_project:
        versions[lock.normalize(project.name)] = editable.VERSION
    changes = halves.changes(live, versions)
    return Plan(
        request=request,
        interpreter=python,
        pins=pins,
        entries=entries,
        inputs=inputs,
        changes=changes,
        changed=bool(changes) or len(entries) < len(pins) or live.is_drifted(python),
    )


def check_fresh(project: Project, group: Group, one: Lock) -> None:
    """Make sure that a lock was compiled from what its inputs say now.

    Raises:
        UsageError: it was not.
    """
    if not lock.is_fresh(project, group, one):
        names = " or ".join(path.name for path in group.inputs)
        raise UsageError(
            f"{one.path.name} is stale: {names} has changed since it was compiled",
            "Run `envkit lock`, or take back the change.",
        )


def find_interpreter(
    project: Project, locks: Sequence[Lock], store: Store, environ: Mapping[str, str]
) -> Interpreter:
    """Return the Python that a project and its locks ask for.

    Raises:
        MissingError: none on the machine satisfies them.
        UsageError: they contradict one another.
    """
    locked = next((one.python for one in locks if one.python), "")
    request = project.python_request(locked)
    store.prepare()
    python = interpreter.find(request, cache=store.interpreters, environ=environ)
    for wish, source in [
        *((one.python, f"{one.path.name} was compiled for") for one in locks),
        (project.requires_python or "", "requires-python is"),
    ]:
        if not interpreter.satisfies(python.version, wish):
            raise UsageError(
                f"{source} Python {wish}, but {project.config.python.source} chooses "
                f"{python.version} ({python.executable})",
                "Run `envkit lock` for the other Python, or choose this one with --python.",
            )
    return python


def apply(
    chosen: Plan, *, report: downloads.Report, say: Callable[[str], None] = lambda _: None
) -> Outcome:
    """Make the project's environment what its locks say.

    Until the very end `.venv` is as it was; then it is wholly the new one.

    Args:
        chosen: what `plan` returned.
        report: called with the progress of fetching.
        say: called with a line at each step that can take time.

    Raises:
        EnvkitError: something cannot be fetched, is not what the lock names, or `.venv` is not
            envkit's to replace. The environment is as it was.
    """
    try:
        return _apply(chosen, report, say)
    except AlteredError as altered:
        entry = _set_aside(chosen.request.store, altered)
        say(f"{entry} was altered in the store; it is set aside and fetched again")
        return _apply(plan(chosen.request), report, say)


def _apply(chosen: Plan, report: downloads.Report, say: Callable[[str], None]) -> Outcome:
    request, store = chosen.request, chosen.request.store
    store.prepare()
    home = Home(request.project.root, store)
    live = Half(home.live)
    if not request.replace:
        halves.refuse_foreign(live)
    if chosen.lacking:
        say(f"Fetching {count(len(chosen.lacking), 'distribution')}")
        _fetch(chosen, home, report)
    wanted = _wanted(chosen, home, say)
    with home.locked(say):
        live, spare = Half(home.live), Half(home.spare)
        changes = halves.changes(live, {part.name: part.version for part in wanted.parts})
        touched = not live.has(wanted) or live.is_drifted(chosen.interpreter)
        if touched:
            _turn(live, spare, wanted)
        elif request.project.config.compile.value == "now" and live.lacks_bytecode(wanted):
            halves.add_bytecode(live, wanted)
        else:
            halves.restamp(live, wanted)
        compiling = Half(home.live).lacks_bytecode(wanted)
    compiling = compiling and request.project.config.compile.value == "background"
    if compiling:
        process.detach(
            [sys.executable, "-m", "envkit.background", background_job(request)],
            env=request.environ,
        )
    return Outcome(
        changes=changes,
        touched=touched,
        distributions=len(chosen.pins),
        fetched=len(chosen.lacking),
        compiling=compiling,
    )


def _fetch(chosen: Plan, home: Home, report: downloads.Report) -> None:
    """Fetch what the store lacks, and meanwhile make what does not depend on it."""
    from concurrent.futures import ThreadPoolExecutor

    request = chosen.request
    with ThreadPoolExecutor(1) as beside:
        prepared = beside.submit(
            composition.prepare,
            chosen.interpreter,
            store=request.store,
            home=home,
            prompt=request.project.name,
        )
        downloads.fetch(
            request.store,
            chosen.lacking,
            chosen.interpreter,
            environ=request.environ,
            offline=request.offline,
            report=report,
        )
        prepared.result()


def background_job(request: Request) -> str:
    """Return what `envkit.background` is to complete, as JSON."""
    config = request.project.config
    return json.dumps(
        {
            "root": str(request.project.root),
            "groups": [group.name for group in request.groups],
            "settings": {"python": config.python.value, "link": config.link.value},
            "overridden": request.overridden,
        }
    )


def drift(chosen: Plan) -> list[tuple[str, str]]:
    """Return what was changed in an environment that has what the locks say.

    Returns:
        Path relative to the environment and "added", "missing" or "altered"; nothing where
        the environment is not what the locks say anyway.
    """
    if chosen.lacking or chosen.changes:
        return []
    home = Home(chosen.request.project.root, chosen.request.store)
    live = Half(home.live)
    wanted = _wanted(chosen, home, lambda _: None)
    return halves.drift(live, wanted) if live.has(wanted) else []


def complete(request: Request) -> None:
    """Compile the byte-code that a finished environment lacks, and link it in.

    Does nothing if the environment is not, or not any more, what the locks say.

    Raises:
        EnvkitError: the interpreter failed, or the project cannot be read.
    """
    chosen = plan(request)
    home = Home(request.project.root, request.store)
    if chosen.lacking:
        return
    wanted = _wanted(chosen, home, lambda _: None)
    lacking = [one for one in wanted.parts if isinstance(one, Distribution) and not one.bytecode]
    direct = lock.direct_names(request.project, request.groups)
    with home.locked(lambda _: None):
        half = Half(home.live)
        live = _live(home, half, chosen.interpreter) if half.has(wanted) else None
    bytecode.compile_all(
        request.store,
        [one.entry for one in lacking],
        executable=chosen.interpreter.executable,
        kind=chosen.interpreter.bytecode_kind,
        idle=True,
        first=[one.entry for one in lacking if one.name in direct],
        live=live,
    )
    wanted = _wanted(chosen, home, lambda _: None)
    with home.locked(lambda _: None):
        halves.add_bytecode(Half(home.live), wanted)


def _live(home: Home, half: Half, python: Interpreter) -> bytecode.Live:
    """Return where byte-code may go while nothing else happens to an environment."""
    witness = f"{half.path}/{RECORD}"
    status = os.stat(witness)
    return bytecode.Live(
        site=f"{half.path}/{Layout.of(python.short_version).site}",
        mutex=home.mutex,
        witness=witness,
        state=(status.st_ino, status.st_mtime_ns),
    )


def _turn(live: Half, spare: Half, wanted: Wanted) -> None:
    """Bring the spare to what is wanted and let it change places with `.venv`."""
    if spare.has(wanted) and not spare.changed_folders():
        halves.restamp(spare, wanted)
    else:
        halves.patch(spare, wanted)
    if not halves.swap(live, spare):
        halves.patch(live, wanted)


def _wanted(chosen: Plan, home: Home, say: Callable[[str], None]) -> Wanted:
    """Return what the environment is to be; everything that it needs is in the store."""
    request, python = chosen.request, chosen.interpreter
    entries = dict(chosen.entries)
    for pin in chosen.lacking:
        entry = downloads.find(request.store, pin, python)
        if entry is None:
            raise MissingError(f"{pin} has gone from the store meanwhile", "Run it again.")
        entries[pin] = entry
    found = composition.compose(
        request.project,
        python,
        {pin: entries[pin] for pin in chosen.pins},
        editable_project=request.has_project,
        store=request.store,
        home=home,
        environ=request.environ,
        offline=request.offline,
        say=say,
    )
    return Wanted(
        location=home.live,
        interpreter=python,
        parts=found,
        groups=tuple(group.name for group in request.groups),
        configured=not request.overridden,
        spare=home.spare,
        mutex=home.mutex,
        inputs=chosen.inputs,
        summary=f"{count(len(chosen.pins), 'distribution')}, Python {python.version}",
    )


def _set_aside(store: Store, altered: AlteredError) -> str:
    """Take an entry that is not what it was out of use, and return its path."""
    bucket_and_name = Path(altered.source).relative_to(store.root).parts[:2]
    entry = store.root.joinpath(*bucket_and_name)
    aside = store.root / "set-aside"
    aside.mkdir(exist_ok=True)
    try:
        entry.rename(aside / f"{entry.name}-{os.getpid()}")
    except OSError as error:
        raise EnvkitError(f"{entry} was altered and cannot be set aside: {error}") from None
    return str(entry)


def _input_files(request: Request) -> Iterator[Path]:
    project = request.project
    yield project.root / "envkit.toml"
    yield project.root / "pyproject.toml"
    for group in request.groups:
        yield group.lock
        yield from group.inputs
        yield from lock.input_files(group)
    if request.has_project:
        yield project.root / "setup.py"
        yield project.root / "setup.cfg"
