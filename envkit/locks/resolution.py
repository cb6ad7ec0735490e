"""Why requirements cannot be resolved, told from what pip-tools and pip print."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from envkit import pip
from envkit.errors import EnvkitError, ToolError, UsageError
from envkit.locks.formats import Formats
from envkit.locks.names import name_of
from envkit.locks.requirements import Line

# pip has no codes for its errors: these are the phrases of its resolver and its preparer.
_CONFLICT = "The conflict is caused by:"
_WITHOUT = "no matching distributions available for your environment:"
_NONE = re.compile(r"No matching distribution found for ")
_SOME = "Available versions: "
_WANTS = re.compile(r"\s+(?P<name>\S+) (?P<version>\S+) depends on (?P<what>.+)")
_ASKED = re.compile(r"\s+The user requested (?P<bound>\(constraint\) )?(?P<what>.+)")
_NOT_FOUND = re.compile(
    r"Could not find a version that satisfies the requirement (?P<what>.+?)"
    r"(?: \(from (?!versions: )(?P<owner>.*?)\))? \(from versions: (?P<versions>.*?)\)$",
    re.MULTILINE,
)
_OTHER_PYTHON = re.compile(r"(?P<version>[^\s;]+) Requires-Python (?P<python>[^;\n]+)")
_PYTHON_NOTE = "Ignored the following versions that require a different python version: "
_HTTP = re.compile(r"HTTP error (?P<code>\d{3}).*? for (?:url|URL):? (?P<url>\S+)")
_EXCEPTION = re.compile(r"[\w.]+\.(?P<kind>\w+): (?P<text>.+)")

# So many lines of who wants what, or of what a build said, are read; more is noise.
_MOST, _TAIL = 6, 8


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a failed compilation was about.

    Attributes:
        group: the names of the group's inputs, as they are shown.
        python: the version of the interpreter it was resolved for.
        lines: what the inputs say.
        pins: what was to be kept: requirements like "alpha==1.0", each with its lock's name.
        upgrades: what `--upgrade-package` asks for.
    """

    group: str
    python: str
    lines: Sequence[Line]
    pins: Mapping[str, str]
    upgrades: Sequence[str]


def doubtful_name(text: str, context: Context) -> str | None:
    """Return the name of a distribution of which pip saw no version at all, if there is one.

    It may not exist, or the index may not have answered: pip tells only who asks once more.
    """
    conflict, missing = _verdict(text)
    if not conflict:
        return name_of(missing["what"]) if missing and missing["versions"] == "none" else None
    cause, _, without = conflict.partition(_WITHOUT)
    kept = {
        name_of(found["what"])
        for found in map(_ASKED.fullmatch, cause.splitlines())
        if found and _requirement(found["what"]) in context.pins
    }
    return next((name for name in map(str.strip, without.splitlines()) if name in kept), None)


def explain(text: str, context: Context, asked: str = "") -> EnvkitError:
    """Return a failure of pip-tools in words that say who wants what, and what to do.

    Args:
        text: what it printed, on both streams.
        context: what it was about.
        asked: what pip said when asked for all versions of the doubtful name, in any form.
    """
    text, asked = pip.masked(text), pip.masked(asked)
    doubtful = doubtful_name(text, context)
    what = f"{context.group} cannot be locked"
    conflict, missing = _verdict(text)
    if doubtful and _NONE.search(asked) and not _for_other_pythons(doubtful, text):
        wish, owner = (missing["what"], missing["owner"]) if missing else (doubtful, None)
        return pip.unavailable(text + asked, what) or _unknown(wish, owner, context)
    if conflict:
        return _conflict(conflict, context)
    if missing and doubtful and _SOME in asked:
        return _ruled_out(missing, doubtful, context)
    if missing:
        return _not_found(missing, text, context)
    return pip.unavailable(text, what) or _malformed(text, context) or _failed(text, context)


def _verdict(text: str) -> tuple[str, re.Match[str] | None]:
    """Return pip's account of a conflict, or what it did not find: whichever it came to last.

    pip-tools tries again without the pins of before when they stand in the way.
    """
    missing = next(iter(list(_NOT_FOUND.finditer(text))[-1:]), None)
    start = text.rfind(_CONFLICT)
    if start > (missing.start() if missing else -1):
        return text[start + len(_CONFLICT) :], None
    return "", missing


def _malformed(text: str, context: Context) -> UsageError | None:
    """Return the error of an option that pip does not know, with its place; or None."""
    found = re.search(r"no such option: (\S+)", text)
    if not found:
        return None
    where = next((one.where for one in context.lines if one.text.startswith(found[1])), None)
    return UsageError(f"{where or context.group}: pip has no option {found[1]}")


def _failed(text: str, context: Context) -> ToolError:
    """Return the error of a build, of a server, or whatever else there is."""
    build = re.search(r"lines of output\]\n(.*?)\n\s*\[end of output\]", text, re.DOTALL)
    if build:
        name = re.search(r"Failed to build '([^']+)'|from (?:https?|file)://\S*/([^/\s#]+)", text)
        what = next(filter(None, name.groups())) if name else "a source distribution"
        tail = "\n".join(f"  {line.strip()}" for line in build[1].splitlines()[-_TAIL:])
        return ToolError(
            f"{context.group}: {what} cannot be built for Python {context.python}:\n{tail}",
            "Choose a version that has a wheel, or install what its build needs.",
        )
    http = _HTTP.search(text)
    if http:
        return ToolError(f"{context.group}: {http['url']} answers with {http['code']}")
    return ToolError(f"{context.group} cannot be locked:\n{_tail(text)}")


def _conflict(text: str, context: Context) -> UsageError:
    wishes: dict[tuple[str, str], list[str]] = {}
    for line in text.splitlines():
        wanted, asked = _WANTS.fullmatch(line), _ASKED.fullmatch(line)
        if wanted:
            wishes.setdefault((wanted["name"], wanted["what"]), []).append(wanted["version"])
        elif asked:
            wishes.setdefault((_origin(asked["what"], context), asked["what"]), [])
        elif wishes and line.strip() and not line.startswith("    "):
            break
    lines = [
        f"  {who} {_range(versions)}wants {_requirement(what)}"
        for (who, what), versions in wishes.items()
    ]
    if len(lines) > _MOST:
        lines = [*lines[:_MOST], f"  and {len(lines) - _MOST} more"]
    return UsageError(
        "\n".join([f"{context.group} cannot be resolved: {_contested(list(wishes))}", *lines]),
        "Loosen or drop one of these in the .in file, then run `envkit lock` again.",
    )


def _contested(wishes: Sequence[tuple[str, str]]) -> str:
    """Say what is fought over: the names that are wanted by two at least."""
    names = [name_of(what) for _, what in wishes]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not twice:
        return "these do not go together"
    return f"no version of {' or '.join(twice)} satisfies all of these"


def _origin(what: str, context: Context) -> str:
    """Return where a requirement that pip calls the user's is written."""
    requirement = _requirement(what)
    for line in context.lines:
        if _same(line.text, requirement):
            return line.where
    if requirement in context.pins:
        return context.pins[requirement]
    upgraded = any(_same(one, requirement) for one in context.upgrades)
    return "--upgrade-package" if upgraded else context.group


def _same(line: str, requirement: str) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        one, other = Requirement(line), Requirement(requirement)
    except InvalidRequirement:
        return line.replace(" ", "") == requirement.replace(" ", "")
    return name_of(one.name) == name_of(other.name) and one.specifier == other.specifier


def _requirement(what: str) -> str:
    """Return a requirement without pip's note of where it came from."""
    return re.split(r" \(from | from -[rc] ", what)[0].strip()


def _range(versions: Sequence[str]) -> str:
    if not versions:
        return ""
    return f"{versions[0]} " if len(set(versions)) == 1 else f"{versions[-1]} to {versions[0]} "


def _not_found(missing: re.Match[str], text: str, context: Context) -> UsageError:
    what = missing["what"]
    who = _asker(what, missing["owner"], context)
    elsewhere = _for_other_pythons(what, text)
    if elsewhere:
        return UsageError(
            f"{who} {what}, which needs another Python than {context.python}: {elsewhere}",
            "Allow an older version, or lock for another Python (--python, [tool.envkit] python).",
        )
    there = [one for one in missing["versions"].split(", ") if one != "none"]
    if not there:
        return _unknown(what, missing["owner"], context)
    return UsageError(
        f"{who} {what}: there is no such version of {name_of(what)}",
        f"The newest that there are for Python {context.python}: {', '.join(there[-3:])}.",
    )


def _ruled_out(missing: re.Match[str], name: str, context: Context) -> UsageError:
    """Return the error of a distribution that is there, but in no form that is allowed."""
    who = f"{_asker(missing['what'], missing['owner'], context)} {missing['what']}"
    for line in reversed(context.lines):
        form = Formats([line.text]).of(name)
        if form:
            return UsageError(
                f"{who}: there is no {form} of {name}, and {line.where} allows nothing else",
                "Change that line, or choose another version.",
            )
    return UsageError(
        f"{who}: what there is of {name} is ruled out by pip's configuration",
        "See no-binary and only-binary in `pip config list`.",
    )


def _unknown(what: str, owner: str | None, context: Context) -> UsageError:
    return UsageError(
        f"{_asker(what, owner, context)} {what}: the index has no distribution of this name",
        "Check the spelling, and that pip knows the right index (`pip config list`).",
    )


def _asker(what: str, owner: str | None, context: Context) -> str:
    """Return who asks for a requirement, and that it does: a distribution, or a line."""
    return f"{owner or _origin(what, context)} wants"


def _for_other_pythons(what: str, text: str) -> str:
    """Return what those versions need which would do, were it not for the Python; or nothing."""
    from packaging.requirements import InvalidRequirement, Requirement

    note = text.partition(_PYTHON_NOTE)[2].partition("\n")[0]
    try:
        specifier = Requirement(what).specifier
    except InvalidRequirement:
        return ""
    fitting = [
        found for found in _OTHER_PYTHON.finditer(note) if specifier.contains(found["version"])
    ]
    return f"{fitting[-1]['version']} needs {fitting[-1]['python'].strip()}" if fitting else ""


def _tail(text: str) -> str:
    """Return the last lines that speak to a user: pip's errors, or the last exception."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR", "error"))]
    exceptions = [found for line in lines if (found := _EXCEPTION.fullmatch(line))]
    if exceptions and not errors:
        return exceptions[-1]["text"]
    return "\n".join((errors or lines)[-_TAIL:])
