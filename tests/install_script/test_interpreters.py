"""Which Python the install script takes, and what it says where none will do."""

from pathlib import Path

import pytest

from tests.support.scripted import HERE, Project, script


def claiming(path: Path, version: str, python: Path) -> Path:
    """Make a stand-in that says it is of this version, and otherwise is that interpreter."""
    numbers = ", ".join(version.split("."))
    return script(
        path,
        f'[ "$1 $2" = "-I -c" ] || exec {python} "$@"\n'
        f"version=\"({numbers}, 'final', 0)\"\n"
        'code="import sys; sys.version_info = $version\n$3"\n'
        f'shift 3; exec {python} -I -c "$code" "$@"',
    )


def test_neither_venv_nor_pip_names_the_package(project: Project, neither: Path) -> None:
    script(project.bin / "apt-get", "exit 1")
    error = project.fail(3, "--python", str(neither))
    assert f"{neither} has neither venv and ensurepip, nor pip." in error
    assert f"apt-get install python{HERE}-venv" in error
    assert not (project.root / ".venv").exists()


@pytest.mark.parametrize(
    ("wish", "names", "chosen"),
    [
        ("3.11", {"python3": "3.12.1", "python3.11": "3.11.7"}, "python3.11"),
        ("3.11.7", {"python3.11": "3.11.8", "python": "3.11.7"}, "python"),
        ("3.1", {"python3": "3.11.7", "python": "3.1.0"}, "python"),
        (">=3.10", {"python3.10": "3.10.1", "python3.12": "3.12.1"}, "python3.12"),
        (">=3.10", {"python3": "3.10.1", "python3.12": "3.12.1"}, "python3"),
        (">=3.10,<3.12", {"python3": "3.12.0", "python3.9": "3.9.1", "python": "3.11.1"}, "python"),
        ("~=3.10", {"python3": "3.9.9", "python3.14": "3.14.0"}, "python3.14"),
        ("~=3.10.2", {"python3": "3.11.0", "python3.10": "3.10.3"}, "python3.10"),
        ("==3.11.*,!=3.11.4", {"python3": "3.11.4", "python3.11": "3.11.5"}, "python3.11"),
        ("!=3.12.*", {"python3": "3.12.4", "python3.13": "3.13.1"}, "python3.13"),
        (">3.11", {"python": "3.11.0", "python3.11": "3.11.1"}, "python3.11"),
        ("==3.11", {"python3": "3.11.4", "python3.11": "3.11.0"}, "python3.11"),
        (">=3.9", {"python3": "2.7.18", "python": "3.9.0"}, "python"),
    ],
)  # fmt: skip
def test_finds_the_python_that_the_lock_asks_for(
    project: Project, neither: Path, wish: str, names: dict[str, str], chosen: str
) -> None:
    (project.bin / "python3").unlink()
    for name, version in names.items():
        claiming(project.bin / name, version, neither)
    project.lock(python=wish)
    assert f"{project.bin}/{chosen} has neither" in project.fail(3)


def test_finds_pyenv_and_uv_and_passes_broken_shims(
    project: Project, neither: Path, tmp_path: Path
) -> None:
    script(project.bin / "python3", "echo 'pyenv: python3: command not found' >&2; exit 127")
    script(project.bin / "python", "echo 'Unknown option: -I' >&2; exit 2")
    project.lock(python=">=3.90")
    pyenv, uv = tmp_path / ".pyenv/versions", tmp_path / ".local/share/uv/python"
    claiming(uv / "cpython-3.91.1-linux-x86_64-gnu/bin/python3", "3.91.1", neither)
    assert "found no" in project.fail(3)  # 3.91 is not among the versions looked for by name
    project.lock(python="3.91")
    assert f"{uv}/cpython-3.91.1-linux" in project.fail(3)
    claiming(pyenv / "3.91.0/bin/python", "3.91.0", neither)
    assert f"{pyenv}/3.91.0/bin/python has" in project.fail(3)
    elsewhere = {"PYENV_ROOT": "/nonexistent", "UV_PYTHON_INSTALL_DIR": "/nonexistent"}
    assert "found no Python 3.91" in project.fail(3, env=elsewhere)


@pytest.mark.parametrize(
    ("tool", "hint"),
    [
        ("apt-get", "sudo apt-get install python3.99 python3.99-venv"),
        ("dnf", "sudo dnf install python3.99"),
        ("apk", "sudo apk add python3"),
        ("pacman", "sudo pacman -S python"),
        ("brew", "Install it: brew install python@3.99"),
        ("true", "with your system's packages, pyenv or uv"),
    ],
)
def test_no_fitting_python(project: Project, tool: str, hint: str) -> None:
    (project.bin / "id").unlink()
    script(project.bin / "id", "echo 1000")
    script(project.bin / tool, "exit 1")
    project.lock(python="3.99")
    error = project.fail(3)
    assert "found no Python 3.99, as requirements.txt asks for." in error
    assert hint in error
    assert len(error.splitlines()) == 2


def test_python_option(project: Project, neither: Path, tmp_path: Path) -> None:
    other = claiming(tmp_path / "other/bin/pythön", "3.90.1", neither)
    claiming(project.bin / "python3.90", "3.90.2", neither)
    project.lock(python=">=3.90")
    assert f"{other} has neither" in project.fail(3, "--python", str(other))
    assert f"/.{other} has neither" in project.fail(3, "--python", f".{other}")
    assert "/grep is not a Python 3 that runs" in project.fail(3, "--python", f"{project.bin}/grep")
    assert f"{project.bin}/python3.90 has" in project.fail(3, "--python", "python3.90")
    assert f"{project.bin}/python3.90 has" in project.fail(3, "--python=3.90")
    project.lock(python="3.91")
    for wrong in ("3.90", "python3.90", str(other)):
        error = project.fail(2, "--python", wrong)
        assert f"--python {wrong} is not Python 3.91, as requirements.txt asks for." in error
