"""What makes a folder a project: which files it lacks, and writing them."""

from __future__ import annotations

import fnmatch
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envkit import drafts, refusals
from envkit.blueprints import Blueprint
from envkit.errors import UsageError
from envkit.locks import lock
from envkit.locks.names import name_of
from envkit.locks.requirements import split, without_hashes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# The files that are looked at; nothing else in the folder matters.
NAMES = (
    *("envkit.toml", "pyproject.toml", "requirements.in", "requirements.txt"),
    *("install.sh", "Dockerfile", ".dockerignore", ".gitignore"),
)
_IGNORED = (".venv/", ".venv.previous/", ".venv.discard/", ".envkit/")
_TEMPLATES = {
    "install.sh": "install.sh",
    "Dockerfile": "Dockerfile",
    ".dockerignore": "dockerignore",
}
_NOTHING_YET = "# What this project needs, one a line, as in: requests>=2.32\n"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the folder is to become.

    Attributes:
        requirements: what was asked for on the command line (PEP 508).
        python: what the setting `python` is to be, where there is none yet.
        image: the version of Python that the image is built with ("3.12").
        configured: whether the folder has its settings already.
        static: whether `pyproject.toml` has dependencies of its own.
        templates: the text of each template, by its name.
        blueprint: the project to begin with; None for one with nothing in it.
    """

    requirements: tuple[str, ...]
    python: str
    image: str
    configured: bool
    static: bool
    templates: Mapping[str, str]
    blueprint: Blueprint | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The files that are looked at."""
        return (*NAMES, *(self.blueprint.files if self.blueprint else ()))


@dataclass(frozen=True, kw_only=True)
class Step:
    """One file that is written.

    Attributes:
        name: the file's name.
        action: "create", or "add to".
        note: what it gets, in a few words; may be empty.
        before: the content that it has; None where it is not there.
        after: the content that it is to have.
        executable: whether it is made executable.
    """

    name: str
    action: str
    note: str
    before: bytes | None
    after: bytes
    executable: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is done to make a folder a project, in this order.

    Attributes:
        inputs: the files that say what is wanted.
        relock: why the lock that is found takes another form; empty if it stays as it is.
        rest: the files that work with the lock.
    """

    inputs: tuple[Step, ...]
    relock: str
    rest: tuple[Step, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """All files that are written, without the locks."""
        return (*self.inputs, *self.rest)


def look(root: Path, names: Sequence[str] = NAMES) -> dict[str, bytes | None]:
    """Return what the files of a folder hold, by their names; None for those that are not there.

    Args:
        root: the folder.
        names: the files that are looked at.

    Raises:
        UsageError: one cannot be read.
    """
    found: dict[str, bytes | None] = {}
    for name in names:
        path = root / name
        try:
            found[name] = path.read_bytes() if os.path.lexists(path) else None
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    return found


def plan(found: Mapping[str, bytes | None], wish: Wish) -> Plan:
    """Return what is to be done; nothing that is found is in the way of it.

    Args:
        found: what the files hold, as `look` returns it.
        wish: what the folder is to become.

    Raises:
        UsageError: requirements are asked for that the existing `requirements.in` lacks, or a
            file of the blueprint is there, and is another one.
    """
    inputs: list[Step] = _of_blueprint(found, wish.blueprint) if wish.blueprint else []
    relock = ""
    if not wish.configured:
        inputs.append(_settings(found["pyproject.toml"], wish.python, wish.blueprint))
    locked = _text(found["requirements.txt"])
    ours = bool(lock.python_of(locked))
    adopted = bool(locked) and found["requirements.in"] is None and not (ours and wish.static)
    if found["requirements.in"] is not None:
        _refuse_unlisted(_text(found["requirements.in"]), wish.requirements)
    elif wish.blueprint:
        lines = (wish.blueprint.requirements, *(f"{one}\n" for one in wish.requirements))
        inputs.append(_created("requirements.in", "".join(lines)))
    elif adopted:
        inputs.append(_adopted(locked, wish.requirements))
        relock = "locked from requirements.in; the versions that it pins are kept"
    elif wish.requirements or not wish.static:
        text = "".join(f"{one}\n" for one in wish.requirements) or _NOTHING_YET
        inputs.append(_created("requirements.in", text, ", ".join(wish.requirements)))
    if not adopted and locked and not ours and not _is_hashed(locked):
        relock = "locked anew, with hashes; the versions that it pins are kept"
    more = wish.blueprint.ignored if wish.blueprint else ()
    ignore = _gitignore(found[".gitignore"], (*_IGNORED, *more))
    return Plan(
        inputs=(*inputs, *([ignore] if ignore else [])),
        relock=relock,
        rest=tuple(
            _created(name, _from_template(template, wish), executable=name.endswith(".sh"))
            for name, template in _TEMPLATES.items()
            if found[name] is None
        ),
    )


def _of_blueprint(found: Mapping[str, bytes | None], blueprint: Blueprint) -> list[Step]:
    """Return the steps that write a blueprint's own files."""
    others = [
        name for name, text in blueprint.files.items() if found[name] not in (None, text.encode())
    ]
    asked = found["requirements.in"]
    # What was added to it is the user's.
    if asked is not None and not asked.startswith(blueprint.requirements.encode()):
        others.append("requirements.in")
    if others:
        raise UsageError(
            f"{', '.join(others)}: there already, and not the template's", blueprint.elsewhere
        )
    return [_created(name, text) for name, text in blueprint.files.items() if found[name] is None]


def _from_template(template: str, wish: Wish) -> str:
    text = wish.templates[template].replace("@PYTHON@", wish.image)
    if wish.blueprint and template == "Dockerfile":
        return wish.blueprint.dockerfile(text)
    return text


def write(root: Path, steps: Sequence[Step]) -> None:
    """Write files, each by one rename.

    Raises:
        UsageError: a file is no longer what it was when the plan was made, or cannot be one.
        RefusedError: the system refuses.
    """
    for step in steps:
        path = _target(root, step)
        try:
            if (path.read_bytes() if os.path.lexists(path) else None) != step.before:
                raise UsageError(f"{path} has just been changed by something else", "Run it again.")
            path.parent.mkdir(parents=True, exist_ok=True)
            drafts.replace({path: step.after}, executable=step.executable)
        except OSError as error:
            what = f"{path}: cannot be written"
            raise refusals.explained(error, what=what) or UsageError(
                f"{what}: {error.strerror}"
            ) from None


def undo(root: Path, steps: Sequence[Step]) -> None:
    """Take back what `write` wrote, as far as it was written and nobody has changed it since."""
    for step in reversed(steps):
        path = _target(root, step)
        if not path.is_file() or path.read_bytes() != step.after:
            continue
        if step.before is None:
            path.unlink()
            if path.parent != root and not any(path.parent.iterdir()):
                path.parent.rmdir()
        else:
            drafts.replace({path: step.before})


def lines_of(plan: Plan, *, locks: Sequence[str], install: bool) -> list[str]:
    """Return a line for each thing that is done, for people.

    Args:
        plan: the plan.
        locks: the names of the locks that are compiled.
        install: whether the environment is made.
    """
    lines = [_line(step) for step in plan.inputs]
    for name in locks:
        replaced = plan.relock if name == "requirements.txt" else ""
        lines.append(f"replace {name}: {replaced}" if replaced else f"create {name}, the lock")
    lines += [_line(step) for step in plan.rest]
    return [*lines, "install into .venv"] if install else lines


def _line(step: Step) -> str:
    return f"{step.action} {step.name}{': ' if step.note else ''}{step.note}"


def _target(root: Path, step: Step) -> Path:
    """Return the file itself, so that a link to it stays one."""
    return (root / step.name).resolve() if step.before is not None else root / step.name


def _created(name: str, text: str, note: str = "", *, executable: bool = False) -> Step:
    return Step(
        name=name,
        action="create",
        note=note,
        before=None,
        after=text.encode(),
        executable=executable,
    )


def _settings(pyproject: bytes | None, python: str, blueprint: Blueprint | None) -> Step:
    """Return the step that writes the settings, into `pyproject.toml` where that can be."""
    setting = f'python = "{python}"'
    own = f"{setting}\n" + (blueprint.settings if blueprint else "")
    if pyproject is not None:
        end = "\r\n" if b"\r\n" in pyproject else "\n"
        old = pyproject.decode()
        more = blueprint.settings_below("tool.envkit.") if blueprint else ""
        new = old + ("" if old.endswith("\n") or not old else end) + (end if old else "")
        new += f"[tool.envkit]\n{setting}\n{more}".replace("\n", end)
        if _adds_only_settings(old, new, own):
            note = f"[tool.envkit] {setting}"
            return Step(
                name="pyproject.toml",
                action="add to",
                note=note,
                before=pyproject,
                after=new.encode(),
            )
    return _created("envkit.toml", own, setting)


def _adds_only_settings(old: str, new: str, settings: str) -> bool:
    """Return whether a text is still TOML with our table added, and says nothing else anew.

    It is not where `tool` is written as an inline table, to which no table can be added.
    """
    try:
        before, after = tomllib.loads(old), tomllib.loads(new)
    except tomllib.TOMLDecodeError:
        return False
    tool = before.setdefault("tool", {})
    return isinstance(tool, dict) and after == {
        **before,
        "tool": {**tool, "envkit": tomllib.loads(settings)},
    }


def _refuse_unlisted(text: str, wanted: Sequence[str]) -> None:
    """Refuse requirements that are not in a file, which is the user's to change."""
    listed = {name_of(line.text) for line in split(text, "requirements.in")}
    lacking = [one for one in wanted if name_of(one) not in listed]
    if lacking:
        raise UsageError(
            f"requirements.in is there already and does not ask for {', '.join(lacking)}",
            "Add what you need to it, then run `envkit lock` and `envkit install`.",
        )


def _adopted(text: str, wanted: Sequence[str]) -> Step:
    """Return the step that makes the lines of a `requirements.txt` the input."""
    kept = without_hashes(text)
    listed = {name_of(line.text) for line in split("\n".join(kept), "requirements.txt")}
    kept += [one for one in wanted if name_of(one) not in listed]
    count = sum(1 for _ in split("\n".join(kept), "requirements.in"))
    note = f"the {count} lines of requirements.txt, without hashes"
    return _created("requirements.in", "".join(f"{line}\n" for line in kept), note)


def _is_hashed(text: str) -> bool:
    pins = list(lock.pinned(text))
    return bool(pins) and all(pin.hashes for pin in pins)


def _gitignore(before: bytes | None, patterns: Sequence[str]) -> Step | None:
    """Return the step that adds what `.gitignore` lacks, if it lacks anything."""
    old = _text(before)
    lacking = [pattern for pattern in patterns if not _is_ignored(pattern, old)]
    if not lacking:
        return None
    return Step(
        name=".gitignore",
        action="create" if before is None else "add to",
        note=", ".join(lacking),
        before=before,
        after=with_lines(before or b"", lacking),
    )


def with_lines(content: bytes, lines: Sequence[str]) -> bytes:
    """Return the content of a file with more lines, which end as those end that are there."""
    end = b"\r\n" if b"\r\n" in content else b"\n"
    gap = end if content and not content.endswith(b"\n") else b""
    return content + gap + b"".join(line.encode() + end for line in lines)


def _is_ignored(pattern: str, text: str) -> bool:
    """Return whether a `.gitignore` has a say on a folder at the top: for it or, with `!`, against.

    Patterns are as gitignore(5) has them, as far as they can be about one folder.
    """
    name = pattern.strip("/")
    return any(
        fnmatch.fnmatchcase(name, line.lstrip("!").removeprefix("**/").strip("/"))
        for line in map(str.strip, text.splitlines())
        if line and not line.startswith("#")
    )


def _text(content: bytes | None) -> str:
    return (content or b"").decode("utf-8", "replace")
