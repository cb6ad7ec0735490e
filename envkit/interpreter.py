"""Interpreters: finding the one that a project asks for, and what identifies it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from envkit import process
from envkit.errors import MissingError, UsageError
from envkit.store.layout import write_whole

# Run by the interpreter itself; prints what `told` understands. The names and values of the markers
# are those of PEP 508.
PROBE = """
import importlib.util, json, os, platform, sys, sysconfig
full = ".".join(map(str, sys.version_info[:3]))
if sys.version_info.releaselevel != "final":
    full += sys.version_info.releaselevel[0] + str(sys.version_info.serial)
libc = "-".join(platform.libc_ver(sys.executable))
if sys.platform == "darwin":
    libc = platform.mac_ver()[0]
print(json.dumps({
    "version": full,
    "compatibility": "-".join([
        sys.implementation.cache_tag or sys.implementation.name,
        sysconfig.get_config_var("ABIFLAGS") or sys.__dict__.get("abiflags", "") or "",
        "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else "",
        sysconfig.get_platform(), libc]),
    "cache_tag": sys.implementation.cache_tag or "",
    "magic": importlib.util.MAGIC_NUMBER.hex(),
    "markers": {
        "implementation_name": sys.implementation.name,
        "implementation_version": full,
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": full,
        "platform_python_implementation": platform.python_implementation(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    },
}))
"""


# The oldest minor version of Python 3 that virtualenv makes environments for, the newest that
# `lowest` looks for, and so many patches of each.
_OLDEST_MINOR, _NEWEST_MINOR, _PATCHES = 9, 20, 40

# Where version managers keep interpreters, used or not: the variable that moves the folder, where
# it is without one, below it, the interpreters.
_MANAGERS = (
    ("PYENV_ROOT", ".pyenv", "versions"),
    ("MISE_DATA_DIR", ".local/share/mise", "installs/python"),
    ("ASDF_DATA_DIR", ".asdf", "installs/python"),
)


class Interpreter(NamedTuple):
    """A Python on this machine.

    Attributes:
        executable: its absolute path, never that of a shim or of a virtual environment; empty for
            one that is in an image.
        modified: the executable's size and mtime in ns, by which a replaced one is noticed.
        version: the full version ("3.12.1").
        compatibility: what decides, tags aside, which wheels it can use; equal for equal ones.
        cache_tag: what stands in the names of its byte-code files ("cpython-312").
        magic: the number, in hex, that its byte-code files begin with.
        markers: its marker values (PEP 508).
    """

    executable: str
    modified: tuple[int, int]
    version: str
    compatibility: str
    cache_tag: str
    magic: str
    markers: Mapping[str, str]

    @property
    def bytecode_kind(self) -> str:
        """What decides the form of its byte-code."""
        return f"{self.cache_tag}-{self.magic}"

    @property
    def short_version(self) -> str:
        """The major and minor version ("3.12")."""
        return self.markers["python_version"]


def find(
    request: str,
    *,
    cache: Path,
    environ: Mapping[str, str],
    say: Callable[[str], None] = lambda _: None,
) -> Interpreter:
    """Return the interpreter that a project asks for.

    Args:
        request: a version ("3.12", "3.12.1"), a specifier set (">=3.10"), a path, or empty for any
            that envkit supports.
        cache: a folder in which answers are kept, each as long as its executable is unchanged.
        environ: the environment, for PATH and the places that pyenv and uv are set to.
        say: called with a line before a search that can take a second.

    Raises:
        MissingError: no interpreter on the machine satisfies it.
        UsageError: the request cannot be understood.
    """
    remembered = cache / f"request-{_digest(request, environ.get('PATH', ''), sys.executable)}.json"
    known = _load(remembered)
    if known:
        return known
    interpreter = probe(_discover(request, environ, say), cache=cache)
    if not _is_path(request) and not satisfies(interpreter.version, request):
        raise _missing(request)
    refuse_old(interpreter)
    _save(remembered, interpreter)
    return interpreter


def refuse_old(interpreter: Interpreter) -> None:
    """Make sure that environments can be made for an interpreter.

    Raises:
        MissingError: virtualenv does not support it any more.
    """
    if not satisfies(interpreter.version, f">=3.{_OLDEST_MINOR}"):
        raise MissingError(
            f"Python {interpreter.version} ({interpreter.executable}) is too old for envkit to "
            "make environments with",
            f"Choose Python 3.{_OLDEST_MINOR} or newer (--python, [tool.envkit] python).",
        )


def lowest(request: str, *, cache: Path, environ: Mapping[str, str]) -> Interpreter:
    """Return the interpreter with the lowest version among those that satisfy a specifier set.

    What is resolved under it includes what only the older versions need.

    Args:
        request: a specifier set (PEP 440), as in ">=3.10".
        cache: as for `find`.
        environ: as for `find`.

    Raises:
        MissingError: no interpreter on the machine satisfies it.
        UsageError: it is not a specifier set.
    """
    for minor in range(_OLDEST_MINOR, _NEWEST_MINOR + 1):
        if not any(satisfies(f"3.{minor}.{patch}", request) for patch in range(_PATCHES)):
            continue
        try:
            found = find(f"3.{minor}", cache=cache, environ=environ)
        except MissingError:
            continue
        if satisfies(found.version, request):
            return found
    raise _missing(request)


def probe(executable: str, *, cache: Path) -> Interpreter:
    """Return what identifies an interpreter, asking it only when it has changed.

    Raises:
        MissingError: it does not run.
    """
    remembered = cache / f"{_digest(executable)}.json"
    known = _load(remembered)
    if known:
        return known
    completed = process.run([executable, "-I", "-S", "-c", PROBE], cwd=Path("/"))
    if completed.returncode:
        raise MissingError(f"{executable} does not run:\n{completed.last_lines(3)}")
    interpreter = told(completed.stdout, executable, _modified(executable))
    _save(remembered, interpreter)
    return interpreter


def told(printed: str, executable: str = "", modified: tuple[int, int] = (0, 0)) -> Interpreter:
    """Return an interpreter from what it printed when it ran `PROBE`.

    Args:
        printed: what it printed.
        executable: its path; empty if it is not on this machine.
        modified: the size and mtime in ns of the executable.
    """
    return Interpreter(executable=executable, modified=modified, **json.loads(printed))


def from_json(values: Mapping[str, Any]) -> Interpreter:
    """Return the interpreter that was written down as a JSON object of its attributes.

    Raises:
        KeyError, TypeError: the object is something else.
    """
    found = Interpreter(**{**values, "modified": tuple(values["modified"])})
    texts = (found.executable, found.version, found.compatibility, found.cache_tag, found.magic)
    if not all(isinstance(text, str) for text in (*texts, *dict(found.markers).values())):
        raise TypeError
    return found._replace(markers={**found.markers, "python_version": found.short_version})


def satisfies(version: str, request: str) -> bool:
    """Return whether a version is what a request asks for.

    Args:
        version: a full version ("3.12.1").
        request: a version, of which any number of parts may be given, or a specifier set (PEP 440).

    Raises:
        UsageError: the request is neither.
    """
    if not request:
        return True
    if request.replace(".", "").isdigit() and version.replace(".", "").isdigit():
        return f"{version}.".startswith(f"{request}.")
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    text = (
        request
        if request[0] in "<>=!~"
        else f"=={request}.*"
        if request.count(".") < 2
        else f"=={request}"
    )
    try:
        return SpecifierSet(text).contains(version, prereleases=True)
    except InvalidSpecifier:
        raise UsageError(
            f"python = {request!r} is neither a version, a specifier set nor a path",
            'Write it like "3.12", ">=3.10" or "/usr/bin/python3.12".',
        ) from None


def _discover(request: str, environ: Mapping[str, str], say: Callable[[str], None]) -> str:
    """Return the path of the real interpreter that virtualenv's discovery finds."""
    if _is_path(request) and not os.path.isfile(os.path.expanduser(request)):
        raise MissingError(f"{request}: there is no interpreter at this path")
    # The Python that envkit itself runs on is as good as any other that satisfies the request.
    own = "" if _is_path(request) else _own(request)
    if own:
        return own
    say(f"Looking for {request if _is_path(request) else f'Python {request}'}".rstrip())
    from python_discovery import get_interpreter

    wanted = os.path.expanduser(request) or f">=3.{_OLDEST_MINOR}"
    try:
        info = get_interpreter(wanted, env=environ)
    except RuntimeError as error:
        # It asked a program that does not answer as a Python does.
        raise MissingError(f"{request or 'Python'}: cannot be asked what it is: {error}") from None
    if info is None:
        return _managed(request, environ)
    executable = info.system_executable or info.executable
    if executable is None:
        raise _missing(request)
    return os.path.abspath(executable)


def _own(request: str) -> str:
    """Return the interpreter that envkit's environment was made from, if it is what is asked for.

    Discovery would say the same, and take as long as to fetch some distributions.
    """
    found: str = getattr(sys, "_base_executable", "")
    version = ".".join(map(str, sys.version_info[:3]))
    usable = sys.version_info.releaselevel == "final" and satisfies(version, request)
    return os.path.abspath(found) if usable and found and os.path.isfile(found) else ""


def _managed(request: str, environ: Mapping[str, str]) -> str:
    """Return the newest fitting interpreter that pyenv, mise or asdf keep, whether or not in use.

    Discovery follows their shims, which lead to the versions that are switched on here alone.
    """
    found: list[tuple[list[int], Path]] = []
    for variable, usual, below in _MANAGERS:
        root = environ.get(variable) or os.path.join(environ.get("HOME", ""), usual)
        for folder in Path(root, below).glob("[0-9]*.[0-9]*.[0-9]*"):
            executable = folder / "bin" / "python"
            plain = folder.name.replace(".", "").isdigit()
            if plain and satisfies(folder.name, request) and os.access(executable, os.X_OK):
                found.append((list(map(int, folder.name.split("."))), executable))
    if not found:
        raise _missing(request)
    return os.path.realpath(max(found)[1])


def _is_path(request: str) -> bool:
    return os.sep in request


def _missing(request: str) -> MissingError:
    what = f"Python {request}" if request else "a Python"
    version = request.lstrip("<>=!~ ").split(",")[0]
    return MissingError(
        f"{what} is asked for, and no interpreter on this machine is one",
        f"Install it (`pyenv install {version}`, `uv python install {version}`, or your system's "
        f"python{version} package), or name one with --python.",
    )


def _modified(executable: str) -> tuple[int, int]:
    status = os.stat(executable)
    return status.st_size, status.st_mtime_ns


def _digest(*parts: str) -> str:
    import hashlib

    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:24]


def _load(path: Path) -> Interpreter | None:
    try:
        found = from_json(json.loads(path.read_bytes()))
        return found if found.modified == _modified(found.executable) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _save(path: Path, interpreter: Interpreter) -> None:
    # What cannot be remembered is asked for again.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(interpreter._asdict()))
