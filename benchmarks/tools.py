"""The tools that are compared, each in the ways that its users run it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.locks import Lock, LockError, UvProjects, normalized
from benchmarks.timing import Command

ALIKE = ("requirements.in", "requirements.txt", "envkit.toml")
# What would change how a tool works, as opposed to where it looks for packages.
_DROPPED = re.compile(
    r"^(PYTHON\w*|VIRTUAL_ENV\w*|CONDA_\w*|ENVKIT_\w*|PIP_(REQUIRE_VIRTUALENV|NO_COMPILE|TARGET|CACHE_DIR"
    r"|REQUIRE_HASHES|NO_DEPS|USER|PREFIX)"
    r"|UV_(?!(DEFAULT_INDEX|INDEX\w*|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|HTTP_TIMEOUT|INSECURE_HOST"
    r"|KEYRING_PROVIDER|NATIVE_TLS|SYSTEM_CERTS|CONFIG_FILE)$)\w*)$"
)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to run one tool.

    ``kind`` picks the command: for uv ``sync``, ``install`` or ``project``, else the tool's name.
    ``compiles`` is true where the person waits for byte-code. ``extra`` are variables set for it
    alone.
    """

    tool: str
    kind: str
    label: str
    offline: bool = False
    compiles: bool = False
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """The label as a folder name."""
        return re.sub(r"[^a-z0-9]+", "-", self.label.lower()).strip("-")

    def takes_part(self, row: str) -> bool:
        """Whether it belongs into ``row``: cold is never offline, and ``extra`` matters there.

        Where nothing goes on behind an install, a fresh environment is linked file by file.
        """
        if row == "cold":
            return not self.offline
        return not self.extra or (row == "warm" and not self.compiles)

    def imports_in(self, row: str) -> bool:
        """Whether the heavy import after it is worth measuring, or is that of another variant."""
        if self.tool == "uv":
            return self.kind != "install" and (self.offline or row == "cold")
        return True


def variants(tools: tuple[str, ...]) -> list[Variant]:
    """Every variant of the named tools, envkit's own first."""
    listed = [
        Variant(tool="envkit", kind="envkit", label="envkit install"),
        Variant(tool="envkit", kind="envkit", label="envkit install --offline", offline=True),
        Variant(
            tool="envkit",
            kind="envkit",
            label="ENVKIT_COMPILE=now envkit install",
            compiles=True,
            extra={"ENVKIT_COMPILE": "now"},
        ),
        Variant(
            tool="envkit",
            kind="envkit",
            label="ENVKIT_COMPILE=off envkit install",
            extra={"ENVKIT_COMPILE": "off"},
        ),
        *(
            Variant(
                tool="uv",
                kind=kind,
                label=label
                + (" --compile-bytecode" if compiles else "")
                + (" --offline" if offline else ""),
                offline=offline,
                compiles=compiles,
            )
            for kind, label, compiles in (
                ("sync", "uv pip sync", False),
                ("install", "uv pip install -r", False),
                ("project", "uv sync --frozen", False),
                ("sync", "uv pip sync", True),
            )
            for offline in (False, True)
        ),
        Variant(tool="pip", kind="pip", label="pip install -r", compiles=True),
    ]
    return [variant for variant in listed if variant.tool in tools]


@dataclass(frozen=True, kw_only=True)
class Toolbox:
    """Where the tools are, the interpreter they install for, the environment they run in.

    ``environ`` is the user's, ``uv_index`` what `indexes.uv_settings` made of pip's configuration.
    """

    python: str
    envkit: tuple[str, ...]
    uv: str
    environ: Mapping[str, str]
    uv_index: Mapping[str, str]
    matplotlib: Path

    def env(self, variant: Variant, caches: Path) -> dict[str, str]:
        """Make the environment for ``variant``, every cache of its tool below ``caches``."""
        env = base_env(self.environ, self.python)
        env |= {
            f"XDG_{name}_HOME": str(caches / name.lower()) for name in ("CACHE", "DATA", "STATE")
        }
        env["PIP_CACHE_DIR"] = str(caches / "pip")
        if variant.tool == "uv":
            env |= self.uv_index
            env |= {"UV_CACHE_DIR": str(caches / "uv"), "UV_PYTHON_DOWNLOADS": "never"}
        if variant.tool == "envkit":
            env["ENVKIT_STORE"] = str(caches / "store")
        return env | dict(variant.extra)

    def install(self, variant: Variant, project: Path, caches: Path) -> list[Command]:
        """Name the commands that bring ``project/.venv`` to the lock that lies in ``project``."""
        env = self.env(variant, caches)
        fresh = not (project / ".venv").exists()
        lines = {"envkit": self._envkit, "uv": self._uv, "pip": self._pip}[variant.tool](
            variant, fresh
        )
        if variant.tool == "pip":
            lines[-1] = [str(project / ".venv/bin/python"), *lines[-1]]
        return [Command(argv=tuple(argv), cwd=project, env=env) for argv in lines]

    def heavy_import(self, project: Path, imports: tuple[str, ...], caches: Path) -> Command:
        """Name the command that imports ``imports`` in ``project/.venv``."""
        env = base_env(self.environ, self.python) | {
            "XDG_CACHE_HOME": str(caches / "cache"),
            "MPLCONFIGDIR": str(self.matplotlib),
            "MPLBACKEND": "Agg",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        script = "".join(f"import {names}\n" for names in imports)
        return Command(argv=(str(project / ".venv/bin/python"), "-c", script), cwd=project, env=env)

    def _envkit(self, variant: Variant, _fresh: bool) -> list[list[str]]:
        return [[*self.envkit, "install", *(["--offline"] if variant.offline else [])]]

    def _uv(self, variant: Variant, fresh: bool) -> list[list[str]]:
        options = ["--offline"] if variant.offline else []
        options += ["--compile-bytecode"] if variant.compiles else []
        if variant.kind == "project":
            return [[self.uv, "sync", "--frozen", "--python", self.python, *options]]
        what = ["sync"] if variant.kind == "sync" else ["install", "-r"]
        argv = [self.uv, "pip", *what, "requirements.txt", "--require-hashes", "--python", ".venv"]
        venv = [[self.uv, "venv", "--python", self.python, ".venv"]] if fresh else []
        return [*venv, argv + options]

    def _pip(self, _variant: Variant, fresh: bool) -> list[list[str]]:
        argv = ["-m", "pip", "install", "--require-hashes", "--no-deps", "-r", "requirements.txt"]
        return [*([[self.python, "-m", "venv", ".venv"]] if fresh else []), argv]


def base_env(environ: Mapping[str, str], python: str) -> dict[str, str]:
    """Take from ``environ`` what steers a tool; put ``python`` first on the path."""
    env = {name: value for name, value in environ.items() if not _DROPPED.match(name)}
    env["PATH"] = os.pathsep.join([str(Path(python).parent), env.get("PATH", os.defpath)])
    return env


class Checkout:
    """Puts a lock into a project folder, as version control does on a switch of branches."""

    def __init__(self, uv_projects: UvProjects | None) -> None:
        self._uv_projects = uv_projects

    def place(self, variant: Variant, lock: Lock, project: Path) -> None:
        """Copy what ``variant`` installs from; raises `LockError`."""
        project.mkdir(parents=True, exist_ok=True)
        if variant.kind == "project":
            if self._uv_projects is None:
                raise LockError("a uv project needs uv")
            source = self._uv_projects.ensure(lock)
            names: tuple[str, ...] = ("pyproject.toml", "uv.lock")
        else:
            source, names = lock.folder, ALIKE
        for name in names:
            # As version control does it, which leaves alone what is the same.
            if not _same(source / name, project / name):
                shutil.copyfile(source / name, project / name)


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


def differs(project: Path, lock: Lock, python: str) -> str | None:
    """Say what in ``project/.venv`` is not as locked: a version, or the Python it is for.

    None when all is well.
    """
    environment = project / ".venv"
    home = re.search(r"^home *= *(.*)$", (environment / "pyvenv.cfg").read_text(), re.MULTILINE)
    wanted = Path(python).resolve().parent
    if home is None or Path(home[1].strip()).resolve() != wanted:
        return f"the environment is not for {python}"
    found: dict[str, list[str]] = {}
    for info in environment.glob("lib/python*/site-packages/*.dist-info"):
        name, _, version = info.name.removesuffix(".dist-info").partition("-")
        found.setdefault(normalized(name), []).append(version)
    wrong = [name for name, version in lock.pins.items() if found.get(name) != [version]]
    return f"not as locked afterwards: {', '.join(wrong[:5])}" if wrong else None
