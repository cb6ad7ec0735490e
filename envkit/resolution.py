"""Why requirements cannot be resolved, told from what pip-tools and pip print."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from envkit import pip
from envkit.errors import EnvkitError, ToolError, UsageError
from envkit.requirements import Line

# pip has no codes for its errors: these are the phrases of its resolver and its preparer.
_CONFLICT = "The conflict is caused by:"
_WANTS = re.compile(r"\s+(?P<name>\S+) (?P<version>\S+) depends on (?P<what>.+)")
_ASKED = re.compile(r"\s+The user requested (?P<bound>\(constraint\) )?(?P<what>.+)")
_NOT_FOUND = re.compile(
    r"Could not find a version that satisfies the requirement (?P<what>.+?)"
    r"(?: \(from (?!versions: )(?P<owner>.*?)\))? \(from versions: (?P<versions>.*?)\)$",
    re.MULTILINE,
)
_OTHER_PYTHON = re.compile(r"(?P<version>[^\s;]+) Requires-Python (?P<python>[^;\n]+)")
_PYTHON_NOTE = "Ignored the following versions that require a different python version: "
_BUILD = re.compile(
    r"metadata-generation-failed|Failed to build|subprocess-exited-with-error|"
    r"Getting requirements to build wheel|BuildBackend"
)
_REFUSED = re.compile(r"\b(401|403) (Client )?Error|\b(Unauthorized|Forbidden)\b|User for \S+:")
_UNREACHED = re.compile(
    r"connection error:|connection broken|ConnectionError|Max retries exceeded|"
    r"Could not fetch URL .*(timed out|SSL|certificate)|ReadTimeoutError|ConnectTimeoutError|"
    r"NameResolutionError|SSLError|ProxyError|IncompleteRead"
)
_HTTP = re.compile(r"HTTP error (?P<code>\d{3}).*? for (?:url|URL):? (?P<url>\S+)")
_EXCEPTION = re.compile(r"[\w.]+\.(?P<kind>\w+): (?P<text>.+)")

# So many lines of who wants what are read; more is noise.
_MOST = 6


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a failed compilation was about.

    Attributes:
        group: the name of the group's first input, as it is shown.
        python: the version of the interpreter it was resolved for.
        lines: what the inputs say.
        bounds: the versions that the default group's lock keeps this group to, by name.
    """

    group: str
    python: str
    lines: Sequence[Line]
    bounds: Mapping[str, str]


def explain(text: str, context: Context) -> EnvkitError:
    """Return a failure of pip-tools in words that say who wants what, and what to do.

    Args:
        text: what it printed, on both streams.
        context: what it was about.
    """
    text = pip.masked(text)
    if _CONFLICT in text:
        return _conflict(text.rpartition(_CONFLICT)[2], context)
    # pip-tools tries again without the pins of before: the last word counts.
    missing = list(_NOT_FOUND.finditer(text))[-1:]
    if missing and missing[0]["versions"] != "none":
        return _not_found(missing[0], text, context)
    unavailable = _unavailable(text, context)
    if unavailable:
        return unavailable
    if missing:
        return _not_found(missing[0], text, context)
    if _BUILD.search(text):
        return ToolError(
            f"{context.group}: a source distribution cannot be built for Python "
            f"{context.python}:\n{_tail(text)}",
            "Choose a version that has a wheel, or install what its build needs.",
        )
    http = _HTTP.search(text)
    if http:
        return ToolError(f"{context.group}: {http['url']} answers with {http['code']}")
    return ToolError(f"{context.group} cannot be locked:\n{_tail(text)}")


def _unavailable(text: str, context: Context) -> ToolError | None:
    """Return the error of an index, or of a disk, that does not play its part; or None."""
    what = f"{context.group} cannot be locked"
    if _REFUSED.search(text):
        return ToolError(
            f"{what}: the index refuses access",
            "Check the credentials: netrc, keyring, or the index in `pip config list`.",
        )
    if _UNREACHED.search(text):
        return ToolError(
            f"{what}: the index cannot be reached",
            "Check the network, proxy and certificates (`pip config list`), then run it again.",
        )
    if "No space left on device" in text:
        return ToolError(f"{what}: the disk is full", "Make room, then run it again.")
    return None


def unknown_name(text: str) -> str | None:
    """Return the name of which the indexes had no version at all, if that is what went wrong."""
    names = [found["what"] for found in _NOT_FOUND.finditer(text) if found["versions"] == "none"]
    return re.split(r"[\s\[<>=!~;@(]", names[-1])[0] if names and _CONFLICT not in text else None


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
    names = [_name(what) for _, what in wishes]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not twice:
        return "these do not go together"
    return f"no version of {' or '.join(twice)} satisfies all of these"


def _origin(what: str, context: Context) -> str:
    """Return where a requirement that pip calls the user's is written."""
    for line in context.lines:
        if _same(line.text, _requirement(what)):
            return line.where
    if context.bounds.get(_name(what)):
        return "requirements.txt"
    return "--upgrade-package"


def _same(line: str, requirement: str) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        one, other = Requirement(line), Requirement(requirement)
    except InvalidRequirement:
        return line.replace(" ", "") == requirement.replace(" ", "")
    return _name(one.name) == _name(other.name) and one.specifier == other.specifier


def _requirement(what: str) -> str:
    """Return a requirement without pip's note of where it came from."""
    return re.split(r" \(from | from -[rc] ", what)[0].strip()


def _name(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement.strip())[0]).lower()


def _range(versions: Sequence[str]) -> str:
    if not versions:
        return ""
    return f"{versions[0]} " if len(set(versions)) == 1 else f"{versions[-1]} to {versions[0]} "


def _not_found(missing: re.Match[str], text: str, context: Context) -> UsageError:
    what, owner = missing["what"], missing["owner"]
    where = f"{owner} wants" if owner and not owner.startswith("-r") else _origin(what, context)
    there = [] if missing["versions"] == "none" else missing["versions"].split(", ")
    elsewhere = _for_other_pythons(what, text)
    if elsewhere:
        return UsageError(
            f"{where}: {what}: its versions need another Python than {context.python}: {elsewhere}",
            "Allow an older version, or lock for another Python (--python, [tool.envkit] python).",
        )
    if not there:
        return UsageError(
            f"{where}: the index has no distribution called {what}",
            "Check the spelling, and that pip knows the right index (`pip config list`).",
        )
    return UsageError(
        f"{where}: no version of {_name(what)} satisfies {what}",
        f"The newest that there are for Python {context.python}: {', '.join(there[-3:])}.",
    )


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


def _tail(text: str, count: int = 8) -> str:
    """Return the last lines that speak to a user: pip's errors, or the last exception."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR", "error"))]
    exceptions = [found for line in lines if (found := _EXCEPTION.fullmatch(line))]
    if exceptions and not errors:
        return exceptions[-1]["text"]
    return "\n".join((errors or lines)[-count:])
