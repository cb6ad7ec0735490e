"""What an installation starts from, decided before anything is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from envkit import interpreter
from envkit.assets import installation as assets
from envkit.assets.installation import Plan as Files
from envkit.changes import Change
from envkit.environment import halves, stamp, visibility
from envkit.environment.halves import Half
from envkit.errors import UsageError
from envkit.installation import choice
from envkit.installation.request import Request
from envkit.interpreter import Interpreter
from envkit.locks import inputs, lock
from envkit.locks.lock import Lock, Pin
from envkit.locks.names import normalize
from envkit.project import Group, Project
from envkit.store.layout import Store


class Plan(NamedTuple):
    """What an installation starts from; nothing has been done yet.

    Attributes:
        request: what was asked for.
        interpreter: the Python that serves it.
        pins: what the locks say for it.
        entries: the folder of the store's entry for each pin that it has one for.
        inputs: the files that were read, each with its state before.
        content: the digest, in hex, of what they held.
        overrides: the lines for the files that stand above the settings, as they were before.
        live: `.venv` as it was found.
        changes: what will be different to a user.
        files: what is lacking of the project's large files.
        differs: whether `.venv` will be another: it is absent, another Python's, not what the locks
            say, somebody put something into it, or other GPUs may be seen.
    """

    request: Request
    interpreter: Interpreter
    pins: tuple[Pin, ...]
    entries: Mapping[Pin, str]
    inputs: Mapping[str, str]
    content: str
    overrides: tuple[str, ...]
    live: Half
    changes: tuple[Change, ...]
    files: Files
    differs: bool

    @property
    def changed(self) -> bool:
        """Whether anything will be changed: the environment, or a large file."""
        return self.differs or self.files.changed

    @property
    def lacking(self) -> tuple[Pin, ...]:
        """The pins that the store has nothing for."""
        return tuple(pin for pin in self.pins if pin not in self.entries)


def make(request: Request, say: Callable[[str], None] = lambda _: None) -> Plan:
    """Return what an installation starts from; nothing is changed.

    Args:
        request: what is to be installed.
        say: called with a line before what can take time.

    Raises:
        UsageError: a lock is missing, stale, not readable, or not for this interpreter.
        MissingError: there is no interpreter that the project can use.
    """
    while True:
        files = {str(path): stamp.state_of(str(path)) for path in _input_files(request)}
        made = _make(request, files, say)
        # What was read has to be what the environment is going to be known by.
        if stamp.are_unchanged(files):
            return made


def _make(request: Request, files: Mapping[str, str], say: Callable[[str], None]) -> Plan:
    project = request.project
    locks = _locks(request)
    content = stamp.content_digest(list(files))
    if request.revision:
        # Made from what these files held once, it is not what they hold now.
        content = request.revision
        files = {**files, **{str(group.lock): content for group in request.groups}}
    request.store.prepare(say)
    python = find_interpreter(project, locks, request.store, request.environ, say)
    pins = lock.select(locks, python.markers)
    entries = {pin: entry for pin in pins if (entry := choice.find(request.store, pin, python))}
    live = Half(str(project.environment))
    versions = lock.versions(pins)
    if request.has_project:
        from envkit.installation import editable

        versions[normalize(project.name)] = editable.VERSION
    changes = halves.changes(live, versions)
    return Plan(
        request=request,
        interpreter=python,
        pins=pins,
        entries=entries,
        inputs=files,
        content=content,
        overrides=tuple(stamp.override_lines()),
        live=live,
        changes=changes,
        files=assets.plan(project, request.store),
        differs=bool(changes)
        or len(entries) < len(pins)
        or live.is_drifted(python)
        or not _sees_what_is_set(live, project),
    )


def _sees_what_is_set(live: Half, project: Project) -> bool:
    parts = live.record.parts if live.record else ()
    return visibility.is_of(project.config.gpu, (part.source for part in parts))


def _locks(request: Request) -> list[Lock]:
    """Return the locks of a request: those that are there, which must be fresh, or a commit's."""
    project = request.project
    if not request.revision:
        locks = [lock.read(group.lock) for group in request.groups]
        for group, one in zip(request.groups, locks, strict=True):
            inputs.check_fresh(project, group, one)
        return locks
    from envkit import git

    locks = []
    for group in request.groups:
        text = git.show(project.root, request.revision, group.lock.name)
        if text is None:
            raise UsageError(f"There was no {group.lock.name} in {request.revision[:10]}")
        locks.append(lock.parse(text, Path(f"{request.revision[:10]}:{group.lock.name}")))
    return locks


def installed_groups(project: Project) -> tuple[Group, ...]:
    """Return the groups that the environment was made for; the configured ones without one."""
    known = stamp.read(str(project.environment))
    return tuple(map(project.group, known.get("group", ()))) if known else project.choose()


def find_interpreter(
    project: Project,
    locks: Sequence[Lock],
    store: Store,
    environ: Mapping[str, str],
    say: Callable[[str], None] = lambda _: None,
) -> Interpreter:
    """Return the Python that a project and its locks ask for.

    Raises:
        MissingError: none on the machine satisfies them.
        UsageError: they contradict one another.
    """
    locked = next((one.python for one in locks if one.python), "")
    request = project.python_request(locked)
    python = interpreter.find(request, cache=store.interpreters, environ=environ, say=say)
    for wish, source in [
        *((one.python, f"{one.path.name} was compiled for") for one in locks),
        (project.requires_python or "", "requires-python is"),
    ]:
        if wish != request and not interpreter.satisfies(python.version, wish):
            raise UsageError(
                f"{source} Python {wish}, but {project.config.source('python')} chooses "
                f"{python.version} ({python.executable})",
                "Run `envkit lock` for the other Python, or choose this one with --python.",
            )
    return python


def _input_files(request: Request) -> Iterator[Path]:
    project = request.project
    yield project.root / "envkit.toml"
    yield project.root / "pyproject.toml"
    for group in request.groups:
        yield group.lock
        yield from group.inputs
        yield from inputs.files(group)
    if request.has_project:
        yield project.root / "setup.py"
        yield project.root / "setup.cfg"
