"""pip-tools, run under the interpreter that something is locked for."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from envkit import process, refusals
from envkit.errors import MissingError
from envkit.interpreter import Interpreter
from envkit.store.layout import Store, publish

# Runs pip-tools out of folders that are named on the command line, up to `--`; they come last, so
# that an interpreter's own standard library wins.
#
# Where an index has no JSON interface of its own beside the simple one (PEP 503, 691), pip-tools
# downloads every file of a release, for all platforms, to hash it: gigabytes, for some. The hash
# that the index states is taken instead, where it states one; pip holds downloads to it as well.
# Should pip-tools change inside, it is left to do as it likes.
_BOOTSTRAP = """\
import runpy, sys
end = sys.argv.index("--")
sys.path.extend(sys.argv[1:end])
sys.argv[1:] = sys.argv[end + 1:]
try:
    from piptools.repositories.pypi import PyPIRepository
    compute = PyPIRepository._get_file_hash
except (ImportError, AttributeError):
    pass
else:
    def stated_or_computed(self, link):
        stated = getattr(link, "hash", None) or ""
        if getattr(link, "hash_name", None) == "sha256" and len(stated) == 64:
            return "sha256:" + stated
        return compute(self, link)
    PyPIRepository._get_file_hash = stated_or_computed
runpy.run_module("piptools", run_name="__main__", alter_sys=True)
"""

# What would send an installed package to other places than the environment it is meant for.
_ELSEWHERE = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER")


def command(interpreter: Interpreter, *, store: Store, environ: Mapping[str, str]) -> list[str]:
    """Return the command that runs pip-tools under an interpreter.

    envkit's own pip-tools serves every interpreter that it supports, so that nothing is fetched,
    and the interpreter's own packages are not seen. For others an environment with an older
    pip-tools is made in the store, once.

    Raises:
        MissingError: no pip-tools can be had for this interpreter.
    """
    folders = _own_folders(interpreter)
    # Requirement files are UTF-8 everywhere, whatever the locale says.
    options = ["-I", "-X", "utf8"]
    if folders:
        if interpreter.cache_tag != sys.implementation.cache_tag:
            # Byte-code for others is nothing that envkit's own folders should come to hold.
            options += ["-X", f"pycache_prefix={store.tools / 'pycache'}"]
        return [interpreter.executable, *options, "-S", "-c", _BOOTSTRAP, *folders, "--"]
    tool = _tool_environment(interpreter, store, environ)
    return [str(tool / "bin" / "python"), *options, "-c", _BOOTSTRAP, "--"]


def _own_folders(interpreter: Interpreter) -> tuple[str, ...]:
    """Return the folders that hold pip-tools and all it needs; none if it does not run there."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    found: dict[str, Distribution] = {}
    waiting = ["pip-tools"]
    markers = {**interpreter.markers, "extra": ""}
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            found[name] = owner = distribution(name)
        except PackageNotFoundError:
            return ()
        if not SpecifierSet(owner.metadata["Requires-Python"] or "").contains(interpreter.version):
            return ()
        needed = map(Requirement, owner.requires or ())
        waiting += [one.name for one in needed if not one.marker or one.marker.evaluate(markers)]
    return tuple(dict.fromkeys(str(owner.locate_file("")) for owner in found.values()))


def _tool_environment(interpreter: Interpreter, store: Store, environ: Mapping[str, str]) -> Path:
    """Return an environment with the newest pip-tools that an old interpreter can have."""
    identity = f"{interpreter.executable}\n{interpreter.version}\n{interpreter.compatibility}"
    entry = store.tools / f"pip-tools-{hashlib.sha256(identity.encode()).hexdigest()[:24]}"
    if entry.is_dir():
        return entry
    with store.temporary() as folder:
        draft = folder / "tool"
        virtualenv = [sys.executable, "-I", "-m", "virtualenv", "--quiet", "--no-periodic-update"]
        made = process.run(
            [*virtualenv, "--python", interpreter.executable, str(draft)], env=environ
        )
        what = f"The tools for Python {interpreter.version} cannot be made"
        if made.returncode:
            raise refusals.printed(made.stderr, what) or MissingError(
                f"Python {interpreter.version} is too old for envkit to make environments with",
                "Choose a newer Python (--python, [tool.envkit] python).",
            )
        pip = [str(draft / "bin" / "python"), "-I", "-m", "pip"]
        env = {name: value for name, value in environ.items() if name not in _ELSEWHERE}
        env |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
        fetched = process.run([*pip, "install", "--quiet", "pip-tools"], env=env)
        if fetched.returncode:
            raise refusals.printed(fetched.stderr, what) or MissingError(
                f"Python {interpreter.version} is too old for envkit's own pip-tools, "
                "and an older one cannot be fetched for it",
                "Check the network and the index (`pip config list`), or choose a newer Python.",
            )
        publish(draft, entry)
    return entry
