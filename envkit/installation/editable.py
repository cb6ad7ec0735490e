"""The project itself, installed so that its own files are what is imported (PEP 660)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from envkit import pip, process
from envkit.environment.parts import Distribution
from envkit.errors import ToolError
from envkit.interpreter import Interpreter
from envkit.project import Project
from envkit.store.layout import Store

# What an editable wheel's metadata may depend on; code is not in it.
_DESCRIPTIONS = ("pyproject.toml", "setup.py", "setup.cfg", "requirements.in")

# What stands for the version of a project that is used in place, and has whichever it has now.
VERSION = "(editable)"


def entry(project: Project, interpreter: Interpreter, store: Store) -> Path:
    """Return where the project's editable wheel, as it is described now, is kept."""
    digest = hashlib.sha256(f"{project.root}\0{interpreter.compatibility}".encode())
    for name in _DESCRIPTIONS:
        path = project.root / name
        digest.update(path.read_bytes() if path.is_file() else b"absent")
    return store.builds / f"editable-{digest.hexdigest()[:40]}"


def build(
    project: Project,
    interpreter: Interpreter,
    store: Store,
    *,
    locked: Sequence[Distribution],
    environ: Mapping[str, str],
    offline: bool,
) -> None:
    """Have the project's own build system make its editable wheel, and store that.

    What the build system needs is put into an environment that lasts only as long as this: out of
    the lock, where the lock has all of it; if not, pip fetches it, and no hash is compared.

    Args:
        project: the project.
        interpreter: the Python that it is for.
        store: the store.
        locked: the distributions that the locks name.
        environ: the environment, with pip's configuration.
        offline: ask no index.

    Raises:
        ToolError: the build failed, or what it needs cannot be fetched.
    """
    from build import BuildBackendException, BuildException, ProjectBuilder

    from envkit.store import digest, wheels

    what = f"Building {project.name} in editable form failed"
    with store.temporary() as folder:
        python = _environment(interpreter, folder / "env")

        def provide(needs: set[str]) -> None:
            from envkit.installation import build_requirements

            found = build_requirements.among(locked, needs, interpreter.markers)
            if found is None:
                _install(interpreter, python, needs, folder, project.root, environ, offline=offline)
            else:
                build_requirements.link(found, folder / "env", interpreter)

        def run(
            cmd: Sequence[str],
            cwd: str | None = None,
            extra_environ: Mapping[str, str] | None = None,
        ) -> None:
            path = f"{python.parent}{os.pathsep}{environ.get('PATH', os.defpath)}"
            process.check(
                cmd,
                what=what,
                cwd=Path(cwd) if cwd else None,
                env={**environ, "PATH": path, **(extra_environ or {})},
            )

        try:
            builder = ProjectBuilder(project.root, python_executable=str(python), runner=run)
            needs = builder.build_system_requires
            provide(needs)
            provide(builder.get_requires_for_build("editable") - needs)
            wheel = Path(builder.build("editable", folder / "wheel"))
        except BuildException as error:
            raise ToolError(f"{what}: {error}") from None
        except BuildBackendException as error:
            if isinstance(error.exception, ToolError):
                raise error.exception from None
            # A backend that cannot be imported has its own traceback, whose last line says why.
            trace = str(getattr(error.exception, "traceback", "")).strip()
            raise ToolError(f"{what}: {error}\n{trace.rpartition(chr(10))[2]}".strip()) from None
        wheels.add(
            wheel,
            name=_normalized(wheel.name),
            sha256=digest.sha256(wheel),
            entry=entry(project, interpreter, store),
            draft=folder / "draft",
        )


def direct_url(project: Project) -> str:
    """Return what `direct_url.json` says of the project (PEP 610)."""
    return json.dumps({"dir_info": {"editable": True}, "url": project.root.as_uri()})


def _environment(interpreter: Interpreter, folder: Path) -> Path:
    process.check(
        [interpreter.executable, "-I", "-m", "venv", "--without-pip", str(folder)],
        what=f"{interpreter.executable} could not make an environment to build in",
    )
    return folder / "bin" / "python"


def _install(
    interpreter: Interpreter,
    python: Path,
    requirements: set[str],
    folder: Path,
    root: Path,
    environ: Mapping[str, str],
    *,
    offline: bool,
) -> None:
    listed = pip.requirement_file(folder, sorted(requirements))
    completed = process.run(
        [*pip.command(interpreter), "--python", str(python), "install", "--quiet"]
        + (["--no-index"] if offline else [])
        + ["--requirement", str(listed)],
        env={**environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"},
        # Where paths in pip's configuration begin that are not whole.
        cwd=root,
    )
    if completed.returncode:
        names = ", ".join(sorted(requirements))
        raise pip.explain(completed, f"Fetching what the build system needs ({names}) failed")


def _normalized(filename: str) -> str:
    from packaging.utils import canonicalize_name

    return canonicalize_name(os.path.basename(filename).split("-")[0])
