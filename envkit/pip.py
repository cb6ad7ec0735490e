"""pip, run under the interpreter that something is fetched or built for."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

from envkit import process, refusals
from envkit.errors import EnvkitError, IntegrityError, MissingError, ToolError
from envkit.interpreter import Interpreter, satisfies
from envkit.store.layout import write_whole

# pip says what its default is in its help alone, which takes ten times as long to make. Should this
# name change, the help is read.
_DEFAULT_INDEX = """
import sys
sys.path.append(sys.argv[1])
from pip._internal.models.index import PyPI
print(PyPI.simple_url)
"""

# `scheme://user:password@`, of which nothing behind the scheme may be shown.
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]*@")


def command(interpreter: Interpreter) -> list[str]:
    """Return the command that runs pip under an interpreter, whose own packages it does not use.

    envkit's own pip serves where it can: a folder that holds a `__main__.py` is run as a program.
    Interpreters that are too old for it are served by the pip that virtualenv keeps for them.

    Raises:
        MissingError: there is no pip for an interpreter that old.
    """
    folder = _folder()
    if tuple(map(int, interpreter.short_version.split("."))) >= (3, 10):
        return [interpreter.executable, "-I", str(folder)]
    return [interpreter.executable, "-I", str(seed_wheel(interpreter) / "pip")]


def _folder() -> Path:
    """Return the folder of envkit's own pip.

    Looked for on the path alone: where discovery has imported distutils, as on Python 3.10,
    importing pip has setuptools warn of it.
    """
    return _package("pip")


def _package(name: str) -> Path:
    spec = PathFinder.find_spec(name)
    assert spec
    assert spec.origin
    return Path(spec.origin).parent


def seed_wheel(interpreter: Interpreter) -> Path:
    """Return the newest wheel of pip that virtualenv carries and an interpreter can use.

    virtualenv itself would say the same, but takes longer to import than some distributions to
    fetch.

    Raises:
        MissingError: virtualenv carries none for it.
    """
    from packaging.utils import parse_wheel_filename

    carried = (_package("virtualenv") / "seed" / "wheels" / "embed").glob("pip-*.whl")
    fitting = [one for one in carried if satisfies(interpreter.version, _requires_python(one))]
    if not fitting:
        raise MissingError(f"There is no pip for Python {interpreter.version}")
    return max(fitting, key=lambda one: parse_wheel_filename(one.name)[1])


def _requires_python(wheel: Path) -> str:
    """Return the Pythons that a wheel is for, as a specifier set (core metadata, PyPA)."""
    import zipfile
    from email.parser import BytesHeaderParser

    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return BytesHeaderParser().parsebytes(archive.read(name)).get("Requires-Python", "")


def default_index(cache: Path) -> str:
    """Return the index that pip asks when it is told of none; nothing if pip does not say.

    Args:
        cache: a folder in which the answer is kept.
    """
    folder = _folder()
    remembered = cache / f"index-of-pip-{(folder / '__init__.py').stat().st_mtime_ns}"
    try:
        known = remembered.read_text(encoding="utf-8")
    except (OSError, ValueError):
        known = ""
    if known.startswith("http"):
        return known
    asked = [sys.executable, "-I", "-S", "-c", _DEFAULT_INDEX, str(folder.parent)]
    answer = process.run(asked).stdout.strip()
    if not answer.startswith("https://"):
        asked = [sys.executable, "-I", str(folder), "download", "--help"]
        found = re.search(
            r"--index-url.*?\(default\s+(\S+?)\)", process.run(asked).stdout, re.DOTALL
        )
        answer = found[1] if found else ""
    if answer:
        write_whole(remembered, answer)
    return answer


def run(
    interpreter: Interpreter,
    arguments: Sequence[str],
    *,
    environ: Mapping[str, str],
    cwd: Path | None = None,
    on_line: Callable[[str], None] | None = None,
) -> process.Completed:
    """Run pip with the user's own configuration and return what it printed.

    Args:
        interpreter: the Python to run it under.
        arguments: its command and options.
        environ: the environment; its `PIP_*` variables are pip's configuration.
        cwd: the folder to run in.
        on_line: called with each line that it prints.
    """
    env = {**environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    # Only `pip install` heeds these, and nothing here installs.
    for name in ("PIP_REQUIRE_VIRTUALENV", "PYTHONDONTWRITEBYTECODE", "PIP_QUIET", "PIP_VERBOSE"):
        env.pop(name, None)
    return process.run([*command(interpreter), *arguments], env=env, cwd=cwd, on_line=on_line)


def masked(text: str) -> str:
    """Return text with the user names and passwords in its URLs taken out."""
    return _CREDENTIALS.sub("****@", text)


def hides_cause(completed: process.Completed) -> bool:
    """Return whether a pip that failed found nothing, and did not say why it could not look."""
    return bool(completed.returncode) and "(from versions: none)" in completed.stderr


def explain(completed: process.Completed, what: str) -> EnvkitError:
    """Return what a failed pip means, in words that say what to do.

    pip has no codes for its errors, so its own fixed phrases are looked for; what is not known
    is shown as pip printed it.

    Args:
        completed: the pip that failed.
        what: what it was to do, as in "Fetching numpy 2.3 failed".
    """
    text = masked(completed.stderr + completed.stdout)
    known = _for_another_python(text, what) or _known(_CAUSES, text, what)
    known = known or refusals.printed(text, what)
    return known or ToolError(f"{what} (pip, exit code {completed.returncode}):\n{_tail(text)}")


def unavailable(text: str, what: str) -> EnvkitError | None:
    """Return the error of an index, or of a disk, that does not play its part; or None.

    Args:
        text: what pip printed.
        what: what it was to do, as for `explain`.
    """
    known = _known((_REFUSED, _UNTRUSTED, _UNREACHED), text, what)
    return known or refusals.printed(text, what)


class _Cause(NamedTuple):
    """A phrase of pip's, and what it means; `{}` is what the first group that matched found."""

    phrase: str
    kind: type[EnvkitError]
    message: str
    hint: str


_REFUSED = _Cause(
    r"\b(?:401|403|407) (?:Client )?Error|\b(?:Unauthorized|Forbidden)\b|User for \S+:|"
    r"\b407 Proxy Authentication Required",
    ToolError,
    "the index refuses access",
    "Check the credentials: netrc, keyring, or the index and proxy in `pip config list`.",
)
_UNTRUSTED = _Cause(
    r"The repository located at (\S+) is not a trusted or secure host",
    ToolError,
    "pip ignores {}, which it is to ask over http, not https",
    "Use its https address, or name it as `trusted-host` in pip's configuration.",
)
_UNREACHED = _Cause(
    r"NewConnectionError|ConnectionError|Name or service not known|Temporary failure in name|"
    r"Connection refused|[Rr]ead timed out|ConnectTimeoutError|ReadTimeoutError|SSLError|"
    r"Max retries exceeded|[Cc]onnection broken|IncompleteRead|Network is unreachable|"
    r"Connection reset|NameResolutionError|ProxyError|Connection interrupted|"
    r"incomplete-download|connection error:|problem confirming the ssl certificate|"
    r"Could not fetch URL [^\n]*(?:timed out|SSL|certificate)",
    ToolError,
    "the index cannot be reached",
    "Check the network, proxy and certificates (`pip config list`), then run it again.",
)

# The first that is found is the cause; what may only follow from another cause stands behind it.
_CAUSES = (
    _Cause(
        r"THESE PACKAGES DO NOT MATCH THE HASHES(?:.*?^\s*(\S+==\S+|\S+ from \S+))?",
        IntegrityError,
        "the index serves {} with a hash that is not in the lock",
        "Nothing of it was installed. If the change is meant, run `envkit lock --upgrade`.",
    ),
    _Cause(
        r"Wheel '([^']+)' located at \S+ is invalid|(\S+) has an invalid wheel",
        IntegrityError,
        "the wheel of {} is damaged",
        "The lock names this very file: pin another version, or tell its authors.",
    ),
    _REFUSED,
    _Cause(
        r"HTTP error (\d+) while getting|too many (\d+) error responses",
        ToolError,
        "the index answers {}",
        "Run it again later; a file that was withdrawn needs `envkit lock --upgrade-package NAME`.",
    ),
    _UNTRUSTED,
    _UNREACHED,
    _Cause(
        r"No matching distribution found for (\S+)",
        ToolError,
        "the index has no usable file for {}",
        "See that pip knows the right index (`pip config list`). If it was withdrawn, or is not "
        "for this Python, choose another version: `envkit lock --upgrade-package NAME`.",
    ),
)


def _known(causes: Sequence[_Cause], text: str, what: str) -> EnvkitError | None:
    for cause in causes:
        found = re.search(cause.phrase, text, re.MULTILINE | re.DOTALL)
        if found:
            detail = next(filter(None, found.groups()), "a file")
            return cause.kind(f"{what}: {cause.message.format(detail)}", cause.hint)
    return None


def _for_another_python(text: str, what: str) -> EnvkitError | None:
    """Return the error of a file that is there, but not for this Python; or None."""
    found = re.search(r"No matching distribution found for ([^\s=]+)==(\S+)", text)
    needs = found and re.search(rf"[ ;]{re.escape(found[2])} Requires-Python ([^;\n]+)", text)
    if not found or not needs:
        return None
    return ToolError(
        f"{what}: {found[1]} {found[2]} needs Python {needs[1].strip()}",
        "Run `envkit lock` under the Python that this machine has, or install a newer one.",
    )


def _tail(text: str, count: int = 12) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    chosen = [line for line in lines if line.lstrip().startswith("ERROR")] or lines
    return "\n".join(chosen[-count:])


def requirement_file(folder: Path, lines: Sequence[str]) -> Path:
    """Write lines as a requirements file into a folder and return its path."""
    path = folder / "requirements.txt"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    os.chmod(path, 0o600)
    return path
