"""An installation: from locks to an environment that is what they say."""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from envkit import downloads, editable, interpreter, lock, pip, process
from envkit.environment import halves, parts, skeleton, stamp
from envkit.environment.halves import Half, Wanted
from envkit.environment.parts import Distribution, Part
from envkit.environment.tree import AlteredError
from envkit.errors import EnvkitError, MissingError, UsageError
from envkit.interpreter import Interpreter
from envkit.lock import Lock, Pin
from envkit.project import Group, Project
from envkit.render import count
from envkit.store import bytecode, manifest, wheels
from envkit.store.archive import file_sha256
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
        replace: take the place of a `.venv` that somebody else made.
    """

    project: Project
    groups: tuple[Group, ...]
    store: Store
    environ: Mapping[str, str]
    offline: bool = False
    replace: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an installation starts from; nothing has been done yet.

    Attributes:
        request: what was asked for.
        interpreter: the Python that serves it.
        pins: what the locks say for it.
        lacking: those of them that the store does not have.
        inputs: the files that were read, each with its state before.
        changes: what will be different to a user.
        changed: whether anything will be: `.venv` is absent, another Python's, not what the locks
            say, or somebody put something into it.
    """

    request: Request
    interpreter: Interpreter
    pins: tuple[Pin, ...]
    lacking: tuple[Pin, ...]
    inputs: Mapping[str, str]
    changes: tuple[halves.Change, ...]
    changed: bool


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

    changes: tuple[halves.Change, ...]
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
    lacking = tuple(pin for pin in pins if not downloads.find(request.store, pin, python))
    live = Half(str(project.environment))
    versions = {pin.name: pin.version or pin.url for pin in pins}
    if project.editable:
        versions[lock.normalize(project.name)] = editable.VERSION
    changes = halves.changes(live, versions)
    return Plan(
        request=request,
        interpreter=python,
        pins=pins,
        lacking=lacking,
        inputs=inputs,
        changes=changes,
        changed=bool(changes or lacking) or live.is_drifted(python),
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
    home = _Home(request.project, store)
    live = Half(home.live)
    if not request.replace:
        halves.refuse_foreign(live)
    if chosen.lacking:
        say(f"Fetching {count(len(chosen.lacking), 'distribution')}")
        downloads.fetch(
            store,
            chosen.lacking,
            chosen.interpreter,
            environ=request.environ,
            offline=request.offline,
            report=report,
        )
    wanted = _wanted(chosen, home, say)
    with home.locked(say):
        live, spare = Half(home.live), Half(home.spare)
        changes = halves.changes(live, {part.name: part.version for part in wanted.parts})
        touched = not live.has(wanted) or live.is_drifted(chosen.interpreter)
        if touched:
            _turn(live, spare, wanted)
        else:
            halves.restamp(live, wanted)
        compiling = Half(home.live).lacks_bytecode(wanted)
    compiling = compiling and request.project.config.compile.value == "background"
    if compiling:
        process.detach(
            [sys.executable, "-m", "envkit.background", str(request.project.root), *wanted.groups],
            env=request.environ,
        )
    return Outcome(
        changes=changes,
        touched=touched,
        distributions=len(chosen.pins),
        fetched=len(chosen.lacking),
        compiling=compiling,
    )


def drift(chosen: Plan) -> list[tuple[str, str]]:
    """Return what was changed in an environment that has what the locks say.

    Returns:
        Path relative to the environment and "added", "missing" or "altered"; nothing where
        the environment is not what the locks say anyway.
    """
    if chosen.lacking or chosen.changes:
        return []
    home = _Home(chosen.request.project, chosen.request.store)
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
    home = _Home(request.project, request.store)
    if chosen.lacking:
        return
    wanted = _wanted(chosen, home, lambda _: None)
    found = [part for part in wanted.parts if isinstance(part, Distribution)]
    lacking = [one for one in found if not one.bytecode]
    compile_all(request.store, lacking, chosen.interpreter, idle=True)
    wanted = _wanted(chosen, home, lambda _: None)
    with home.locked(lambda _: None):
        halves.add_bytecode(Half(home.live), wanted)


def _turn(live: Half, spare: Half, wanted: Wanted) -> None:
    """Bring the spare to what is wanted and let it change places with `.venv`."""
    if spare.has(wanted) and not spare.changed_folders():
        halves.restamp(spare, wanted)
    else:
        halves.patch(spare, wanted)
    if not halves.swap(live, spare):
        halves.patch(live, wanted)


class _Home:
    """Where the two halves of a project are."""

    def __init__(self, project: Project, store: Store) -> None:
        self.live = str(project.environment)
        root = str(project.root)
        name = f"{project.root.name}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}"
        self._folder = store.spares / name
        self.mutex = str(self._folder / "lock")
        self.copies = os.stat(root).st_dev != os.stat(store.root).st_dev
        # An exchange needs both halves on one filesystem.
        self.spare = f"{root}/.envkit/spare" if self.copies else str(self._folder / "spare")

    @contextmanager
    def locked(self, say: Callable[[str], None]) -> Iterator[None]:
        """Hold the project's halves alone; the kernel lets go when the process ends."""
        self._folder.mkdir(parents=True, exist_ok=True)
        os.makedirs(os.path.dirname(self.spare), exist_ok=True)
        if self.copies:
            Path(self.spare).with_name(".gitignore").write_text("*\n")
        descriptor = os.open(self.mutex, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
                say(f"Waiting for another envkit in this project ({holder or 'unknown'})")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"pid {os.getpid()}".encode(), 0)
            yield
        finally:
            os.close(descriptor)


def _wanted(chosen: Plan, home: _Home, say: Callable[[str], None]) -> Wanted:
    request, python = chosen.request, chosen.interpreter
    project, store = request.project, request.store
    copy = home.copies or project.config.link.value == "copy"
    found: list[Distribution] = []

    def distribution(name: str, version: str, entry: Path, direct_url: str = "") -> Distribution:
        return Distribution(
            name=name,
            version=version,
            entry=str(entry),
            bytecode="",
            python=f"{home.live}/bin/python",
            copy=copy,
            direct_url=direct_url,
        )

    if "pip" not in {pin.name for pin in chosen.pins}:
        found.append(distribution("seed-pip", "", _seed(store, python)))
    for pin in chosen.pins:
        entry = downloads.find(store, pin, python)
        if entry is None:
            raise MissingError(f"{pin} has gone from the store meanwhile", "Run it again.")
        url = parts.direct_url(pin.url, entry.name) if pin.url else ""
        found.append(distribution(pin.name, pin.version or pin.url, entry, url))
    if project.editable:
        entry = editable.entry(project, python, store)
        if not entry.is_dir():
            say(f"Building {project.name} in editable form")
            editable.build(project, python, store, environ=request.environ, offline=request.offline)
        url = editable.direct_url(project)
        found.append(distribution(lock.normalize(project.name), editable.VERSION, entry, url))
    compiled = _with_bytecode(found, chosen, say)
    frame: Part = skeleton.make(store, python, home.live, project.name)
    return Wanted(
        location=home.live,
        interpreter=python,
        parts=(frame, *compiled),
        groups=tuple(group.name for group in request.groups),
        configured=request.groups == project.choose(),
        spare=home.spare,
        mutex=home.mutex,
        inputs=chosen.inputs,
        summary=f"{count(len(chosen.pins), 'distribution')}, Python {python.version}",
    )


def _with_bytecode(
    found: Sequence[Distribution], chosen: Plan, say: Callable[[str], None]
) -> list[Distribution]:
    """Return distributions with the byte-code that there is, compiling it first if set so."""
    setting = chosen.request.project.config.compile.value
    if setting == "off":
        return list(found)
    store, kind = chosen.request.store, bytecode_kind(chosen.interpreter)
    if setting == "now":
        lacking = [one for one in found if not bytecode.entry(store, one.entry, kind).is_dir()]
        if lacking:
            say(f"Compiling {count(len(lacking), 'distribution')}")
            compile_all(store, lacking, chosen.interpreter, idle=False)
    return [
        replace(one, bytecode=str(place))
        if (place := bytecode.entry(store, one.entry, kind)).is_dir()
        else one
        for one in found
    ]


def compile_all(
    store: Store, found: Sequence[Distribution], python: Interpreter, *, idle: bool
) -> None:
    """Compile distributions of the store, as many at once as there are processors."""
    with store.temporary() as folder, ThreadPoolExecutor(os.cpu_count() or 1) as pool:

        def compile_one(numbered: tuple[int, Distribution]) -> None:
            number, one = numbered
            wheel = manifest.read(one.entry)
            if wheel:
                bytecode.compile_entry(
                    store,
                    wheel,
                    executable=python.executable,
                    kind=bytecode_kind(python),
                    draft=folder / str(number),
                    idle=idle,
                )

        list(pool.map(compile_one, enumerate(found)))


def bytecode_kind(python: Interpreter) -> str:
    """Return what decides the form of an interpreter's byte-code."""
    return f"{python.cache_tag}-{python.magic}"


def _seed(store: Store, python: Interpreter) -> Path:
    """Return the entry of the pip that virtualenv would put into an environment."""
    text = f"{skeleton.virtualenv_state()} {python.short_version}"
    key = "seed-" + hashlib.sha256(text.encode()).hexdigest()[:35]
    entry = wheels.selected(store, key)
    if entry is None:
        archive = pip.seed_wheel(python)
        sha256 = file_sha256(archive)
        entry = store.wheels / sha256
        with store.temporary() as folder:
            draft = folder / "draft"
            wheels.add(archive, name="pip", sha256=sha256, entry=entry, draft=draft)
        wheels.select(store, key, entry)
    return entry


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
    if project.editable:
        yield project.root / "setup.py"
        yield project.root / "setup.cfg"
