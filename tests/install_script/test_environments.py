"""What the install script makes, of which it makes it, and when it makes it anew."""

import shutil
import subprocess
import sys
from pathlib import Path

import pip
import pytest

from tests.support import Distribution, backend
from tests.support.scripted import ALPHA, BETA, HERE, SHELLS, Project, stand_in


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_installs_what_the_lock_says_and_says_so(project: Project, shell: list[str]) -> None:
    said = project.install(shell=shell)
    assert f"Making .venv with {project.bin}/python3, from requirements.txt." in said
    version = ".".join(map(str, sys.version_info[:3]))
    assert f"Done: .venv has Python {version} and 1 distribution.\n" in said
    assert f". '{project.root}/.venv/bin/activate'" in said
    alpha = subprocess.run([project.root / ".venv/bin/alpha"], capture_output=True, check=True)
    assert alpha.stdout == b"alpha here\n"
    assert project.leftovers() == []
    assert [path.name for path in (project.root / ".venv/.envkit").iterdir()] == ["install-sh"]

    before = (project.root / ".venv").stat()
    assert project.install(shell=shell) == ".venv is already up to date.\n"
    assert (project.root / ".venv").stat() == before


def test_a_python_with_venv_gives_pip_and_nothing_else_unlocked(project: Project) -> None:
    (project.bin / "python3").unlink()
    (project.bin / f"python{HERE}").symlink_to(Path(sys.executable).resolve())
    project.lock(ALPHA, BETA, python=">=3.8")
    said = project.install()
    assert f"{project.bin}/python{HERE}" in said
    assert "3 distributions" in said
    assert project.has("pip")
    assert project.has("beta")
    assert not project.has("setuptools")


def test_without_venv_module_pip_fetches_virtualenv(project: Project, tmp_path: Path) -> None:
    python = stand_in(tmp_path / "no venv", "ensurepip", "venv")
    # A stand-in for virtualenv: the base interpreter's venv, with this run's pip put into it.
    Distribution(
        name="virtualenv",
        files={
            "virtualenv/__init__.py": "",
            "virtualenv/__main__.py": "import os, subprocess, sys\n"
            "venv = sys.argv[-1]\n"
            "base = os.path.realpath(sys.executable)\n"
            "subprocess.run([base, '-m', 'venv', '--without-pip', venv], check=True)\n"
            "site = f'{venv}/lib/python%d.%d/site-packages' % sys.version_info[:2]\n"
            f"os.symlink({str(Path(pip.__file__).parent)!r}, f'{{site}}/pip')\n",
        },
    ).wheel(project.wheels)
    project.install("--python", str(python))
    assert project.has("alpha")
    assert [path.name for path in (project.root / ".venv/.envkit").iterdir()] == ["install-sh"]


def test_groups(project: Project) -> None:
    project.lock(BETA, group="dev")
    project.lock(ALPHA, group="docs.1")
    assert "from requirements.txt requirements-dev.txt." in project.install("--dev")
    assert "already" in project.install("--group=dev", "--dev")
    assert project.has("alpha, beta")
    project.install("--no-default", "--group", "docs.1")
    assert not project.has("beta")
    assert project.has("alpha")


def test_an_empty_lock_is_a_lock(project: Project) -> None:
    project.lock()
    assert "0 distributions" in project.install()


def test_rebuilds_when_something_changed(project: Project) -> None:
    project.install()
    (project.root / ".venv/mine").touch()
    project.lock(ALPHA, BETA)
    assert "Making" in project.install()
    assert project.has("beta")
    assert not (project.root / ".venv/mine").exists()
    project.python.unlink()
    project.python.symlink_to("/nonexistent/python")
    assert "Making" in project.install()
    moved = project.root.rename(project.root.with_name("moved"))
    again = Project(root=moved, wheels=project.wheels, bin=project.bin, env=project.env)
    assert "Making" in again.install()


def test_runs_from_its_own_activated_environment(project: Project) -> None:
    project.install()
    project.lock(ALPHA, BETA)
    bin_folder = f"{project.root}/.venv/bin"
    path = f"{bin_folder}/:{project.bin}:{bin_folder}"
    said = project.install(env={"VIRTUAL_ENV": f"{project.root}/.venv", "PATH": path})
    assert f"Making .venv with {project.bin}/python3" in said
    assert project.has("beta")


def test_the_callers_settings_do_not_lead_elsewhere(project: Project, tmp_path: Path) -> None:
    (tmp_path / "path/alpha-1.0.dist-info").mkdir(parents=True)
    (tmp_path / "path/alpha-1.0.dist-info/METADATA").write_text(ALPHA.metadata)
    env = {
        "PYTHONPATH": str(tmp_path / "path"), "PYTHONHOME": "/nonexistent", "PIP_USER": "1",
        "PIP_TARGET": str(tmp_path / "target"), "CDPATH": str(tmp_path),
    }  # fmt: skip
    del project.env["HOME"]  # is not needed
    project.install(env=env)
    assert project.has("alpha")


def editable_project(project: Project, table: str) -> None:
    (project.root / "pyproject.toml").write_text(f"[build-system]\n{table}[project]\nname='x'\n")
    (project.root / "src").mkdir()
    (project.root / "src/mine.py").write_text("HERE = True\n")
    info = project.root / "meta/mine-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(Distribution(name="mine").metadata)


def test_the_project_itself_is_editable(project: Project) -> None:
    editable_project(project, 'requires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n')
    shutil.copy(backend.__file__, project.root / "backend.py")
    project.install(env={"PIP_REQUIRE_HASHES": "1"})
    (project.root / "src/more.py").touch()
    assert project.has("mine, more")
    assert "already" in project.install()
    project.lock(BETA, ALPHA, group="dev")
    project.install("--no-default", "--dev")
    assert not project.has("mine")


def test_a_locked_backend_is_not_fetched_again(project: Project, tmp_path: Path) -> None:
    source = Path(backend.__file__).read_text()
    source += f"\nPath({str(tmp_path / 'ran in')!r}).write_text(sys.prefix)\n"
    project.lock(Distribution(name="backend", files={"backend.py": source}))
    editable_project(project, 'requires = ["backend"]\nbuild-backend = "backend"\n')
    project.install()
    assert project.has("mine")
    assert (tmp_path / "ran in").read_text() == str(project.root / ".venv")


def test_a_backend_that_cannot_be_had(project: Project) -> None:
    editable_project(project, 'requires = ["absent"]\n')
    error = project.fail(4)
    assert "installing the project itself failed" in error
    assert "absent" in error
