"""One compilation: a group's requirements, made into a lock by pip-tools."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from envkit import pip, process
from envkit.changes import Change, between
from envkit.errors import EnvkitError, ToolError
from envkit.interpreter import Interpreter
from envkit.locks import inputs, lock, piptools, requirements, resolution
from envkit.locks.formats import Formats, is_control
from envkit.project import DEFAULT_GROUP, Group, Project
from envkit.store.layout import Store

# A user's own pip-tools configuration must not change what a team gets, nor may anything of pip's
# be written into a lock: `--no-emit-options` leaves out indexes, hosts, links and format controls.
_OPTIONS = (
    *("compile", "--verbose", "--no-config", "--no-color", "--newline=lf"),
    *("--resolver=backtracking", "--generate-hashes", "--allow-unsafe", "--strip-extras"),
    *("--no-header", "--annotate", "--annotation-style=split", "--no-emit-options"),
    # No distribution is set apart at the end of the file.
    "--unsafe-package=",
)
# Variables that would change what is written or whether it can be.
_UNWANTED = ("PIP_REQUIRE_VIRTUALENV", "PIP_QUIET", "PIP_VERBOSE", "PIP_TOOLS_RESOLVER", "PIP_LOG")
_INDEX_OPTIONS = re.compile(
    r"(-i|-f|--(index-url|extra-index-url|find-links|trusted-host|no-index))\b"
)
_FIND_LINKS = re.compile(r"^(\s*(?:-f\s*|--find-links(?:\s+|=)))(\S+)", re.MULTILINE)
_VIA = re.compile(r"^(    # via|    #  ) (.+)$")
# Stands beside the copies of the `.in` files, for the dependencies in `pyproject.toml`.
_STATIC = "pyproject-dependencies.in"


@dataclass(frozen=True, kw_only=True)
class Upgrade:
    """Which of the existing pins need not be kept.

    Attributes:
        everything: none is kept.
        names: distributions that are resolved anew, each with or without a specifier (PEP 508).
    """

    everything: bool = False
    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be compiled, and with what.

    Attributes:
        project: the project.
        groups: its groups, the default one first.
        interpreter: the Python that the requirements are resolved under.
        python: what the locks say that they are for: a version or a specifier set.
        store: the store, for temporary folders and tools.
        environ: the environment, with pip's configuration.
        upgrade: which pins are let go of.
    """

    project: Project
    groups: tuple[Group, ...]
    interpreter: Interpreter
    python: str
    store: Store
    environ: Mapping[str, str]
    upgrade: Upgrade = field(default_factory=Upgrade)


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """A group's lock, as it is and as it is to be.

    Attributes:
        group: the group.
        before: the text that stands in its file; None if there is no file.
        after: the text that is to stand there.
        pins: the distributions that it locks.
    """

    group: Group
    before: str | None
    after: str
    pins: tuple[lock.Pin, ...]

    @property
    def changes(self) -> tuple[Change, ...]:
        """The pins that differ, by name."""
        old = {pin.name: pin.version or pin.url for pin in lock.pinned(self.before or "")}
        new = {pin.name: pin.version or pin.url for pin in self.pins}
        return between(old, new)


class Job:
    """One run of pip-tools.

    It reads copies of the requirement files, which lie in a temporary folder as the files
    themselves lie on this machine, so that what they name from one another is found, and so that
    `-c requirements.txt` means the lock that is just being made.
    """

    def __init__(self, request: Request, group: Group, folder: Path) -> None:
        self._request = request
        self._project = request.project
        self._group = group
        self._folder = folder
        self._output = folder / "output.txt"
        self._bounds: str | None = None
        self._files = inputs.files(group)
        first = request.groups[0]
        self._lines = requirements.of_group(
            self._project,
            group,
            self._files,
            coming=first.lock if first.name == DEFAULT_GROUP else None,
        )
        requirements.check(self._lines)

    def run(self, bounds: str | None, on_step: Callable[[str], None]) -> Compiled:
        self._bounds = None if self._group.name == DEFAULT_GROUP else bounds
        sources = self._lay_out()
        before = None
        if self._group.lock.is_file():
            before = requirements.read(self._group.lock)
            if not self._request.upgrade.everything:
                formats = Formats(line.text for line in self._lines)
                self._output.write_text(_seed(before, formats), encoding="utf-8")
        name = inputs.names(self._project, self._group)
        on_step(f"Resolving {name}")

        def report(line: str) -> None:
            found = re.match(r"\s*(?:Collecting|Processing|Using cached|Downloading) (\S+)", line)
            if found:
                on_step(f"Resolving {name}: {found[1].rpartition('/')[2]}")

        completed = process.run(
            [
                *piptools.command(
                    self._request.interpreter,
                    store=self._request.store,
                    environ=self._request.environ,
                ),
                *_OPTIONS,
                *(f"--upgrade-package={one}" for one in self._request.upgrade.names),
                f"--output-file={self._output}",
                *(f"--constraint={path}" for path in self._constraints()),
                *map(str, sources),
            ],
            cwd=self._project.root,
            env=self._environment(),
            on_line=report,
        )
        if completed.returncode:
            raise self._explain(completed, before)
        return self._finish(before)

    def _lay_out(self) -> list[Path]:
        """Copy the requirement files and return the copies of those that pip-tools begins with."""
        default_lock = self._project.group(DEFAULT_GROUP).lock
        for path in self._files:
            if path == default_lock and self._bounds is not None:
                continue
            self._copy(path, _absolute_links(requirements.read(path), path.parent))
        if self._bounds is not None:
            self._copy(default_lock, self._bounds)
        sources = [
            self._place(path)
            for path in self._group.inputs
            if path.suffix == ".in" and path.is_file()
        ]
        static = [line.text for line in self._lines if not line.number]
        if static:
            self._copy(self._project.root / _STATIC, "".join(f"{one}\n" for one in static))
            sources.append(self._place(self._project.root / _STATIC))
        return sources

    def _constraints(self) -> list[Path]:
        if self._bounds is None:
            return []
        return [self._place(self._project.group(DEFAULT_GROUP).lock)]

    def _place(self, path: Path) -> Path:
        absolute = Path(os.path.abspath(path))
        return self._folder / "files" / absolute.relative_to(absolute.anchor)

    def _copy(self, path: Path, text: str) -> None:
        place = self._place(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")

    def _environment(self) -> dict[str, str]:
        env = {k: v for k, v in self._request.environ.items() if k not in _UNWANTED}
        # Nobody is there to answer, and nobody who asked for a lock wants to hear of pip's age.
        return {**env, "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    def _finish(self, before: str | None) -> Compiled:
        body = "\n".join(self._with_own_names(self._output.read_text(encoding="utf-8"))).strip()
        _refuse_secrets(body, self._group)
        digest = inputs.digest(
            self._project, self._group, self._request.python, default_lock=self._bounds
        )
        names = inputs.names(self._project, self._group)
        these = "those files" if " and " in names else "that file"
        after = (
            f"# Locked by envkit from {names}. Change {these}, then run `envkit lock`.\n"
            f"{lock.header(self._request.python, digest)}\n"
        )
        # Of all options these alone decide which of the hashed files is the one to install.
        controls = [line.text for line in self._lines if is_control(line.text)]
        after += "".join(f"{one}\n" for one in dict.fromkeys(controls))
        after += f"{body}\n" if body else ""
        pins = lock.parse(after, self._group.lock).pins
        return Compiled(group=self._group, before=before, after=after, pins=pins)

    def _with_own_names(self, text: str) -> Iterator[str]:
        """Yield the lines of a compiled text in which copies are called what they are copies of.

        The names behind one `via` are put in order once more, so that the order does not depend
        on where the project lies.
        """
        via: list[str] = []
        for line in [*text.splitlines(), ""]:
            found = _VIA.match(line)
            if found and found[1].endswith("via"):
                yield f"{found[1]} {self._own_name(found[2])}"
            elif found:
                via.append(self._own_name(found[2].strip()))
            else:
                yield from (f"    #   {name}" for name in sorted(via))
                via.clear()
                yield line

    def _own_name(self, origin: str) -> str:
        option, _, path = origin.partition(" ")
        copies = str(self._folder / "files")
        if option not in ("-r", "-c") or not path.startswith(copies):
            return origin
        shown = requirements.shown(Path(path[len(copies) :]), self._project.root)
        return f"{self._project.name} (pyproject.toml)" if shown == _STATIC else f"{option} {shown}"

    def _explain(self, completed: process.Completed, before: str | None) -> EnvkitError:
        text = f"{completed.stdout}\n{completed.stderr}"
        texts = {"requirements.txt": self._bounds, self._group.lock.name: before}
        context = resolution.Context(
            group=inputs.names(self._project, self._group),
            python=self._request.interpreter.version,
            lines=self._lines,
            pins={
                f"{pin.name}=={pin.version}": name
                for name, content in texts.items()
                for pin in lock.pinned(content or "")
            },
            upgrades=self._request.upgrade.names,
        )
        doubtful = resolution.doubtful_name(text, context)
        return resolution.explain(text, context, self._ask_index(doubtful) if doubtful else "")

    def _ask_index(self, name: str) -> str:
        """Return what pip says when it is asked for all versions of a distribution."""
        options = [
            os.path.expandvars(word)
            for line in self._lines
            if _INDEX_OPTIONS.match(line.text)
            for word in shlex.split(
                _absolute_links(line.text, (self._project.root / line.file).parent)
            )
        ]
        # What there is in another form than the one that is allowed is there nevertheless.
        options += ["--no-binary=:none:", "--only-binary=:none:"]
        completed = pip.run(
            self._request.interpreter,
            ["index", "versions", "-vv", *options, name],
            environ=self._request.environ,
            cwd=self._project.root,
        )
        return f"{completed.stdout}\n{completed.stderr}"


def _seed(text: str, formats: Formats) -> str:
    """Return the pins of a lock, so that nothing else that stands in it has a say.

    pip-tools keeps the hashes that it finds. Those of a distribution that is now to be taken in
    another form are left out, since its lock need not have those of the other files.
    """
    before = Formats(map(str.strip, text.splitlines()))
    pins = [
        pin if before.of(pin.name) == formats.of(pin.name) else pin._replace(hashes=frozenset())
        for pin in lock.pinned(text)
        if pin.version
    ]
    return "".join(f"{pin.requirement()}\n" for pin in pins)


def _absolute_links(text: str, folder: Path) -> str:
    """Return requirements in which `--find-links` names folders by their whole paths.

    pip looks for them beside the file that names them, and the copies lie elsewhere.
    """

    def absolute(found: re.Match[str]) -> str:
        path = folder / found[2]
        is_there = "://" not in found[2] and os.path.exists(path)
        return f"{found[1]}{shlex.quote(str(path))}" if is_there else found[0]

    return _FIND_LINKS.sub(absolute, text)


def _refuse_secrets(text: str, group: Group) -> None:
    """Keep the promise that no lock holds a secret or a path of this machine, come what may."""
    for line in text.splitlines():
        if re.search(r"://[^/\s]*@|file:/", line) and not line.lstrip().startswith("--hash"):
            raise ToolError(
                f"{group.lock.name} would hold {pip.masked(line).strip()[:80]!r}, "
                "which must not be in a lock",
                "Leave credentials and local paths out of the requirements.",
            )
