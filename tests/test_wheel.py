"""envkit as its users get it: built as a wheel, installed from it, used from there."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import pytest

from envkit import __version__
from tests.support.projects import Machine

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel, built from a copy of what it is made of."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements.in"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "envkit", source / "envkit", ignore=shutil.ignore_patterns("__pycache__")
    )
    target = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(target), str(source)], check=True)
    (found,) = target.iterdir()
    return found


def test_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = archive.read(f"envkit-{__version__}.dist-info/METADATA").decode()
    sources = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "envkit").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == sources
    assert {"envkit/py.typed", "envkit/templates/install.sh"} <= names
    wanted = (ROOT / "requirements.in").read_text(encoding="utf-8").split()
    assert sorted(
        line.removeprefix("Requires-Dist: ")
        for line in metadata.splitlines()
        if line.startswith("Requires-Dist: ") and "extra ==" not in line
    ) == sorted(wanted)


def test_wheel_works_where_it_is_installed(wheel: Path, machine: Machine, tmp_path: Path) -> None:
    place = tmp_path / "installed"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    python = place / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--no-index", str(wheel)], check=True)
    # What it depends on is taken from here; an editable envkit, which is a line in a .pth file of
    # this environment, does not come along, since such files are not read in turn.
    (site,) = (place / "lib").glob("python*/site-packages")
    own = Path(click.__file__).parent.parent
    (site / "dependencies.pth").write_text(f"{own}\n", encoding="utf-8")
    where = subprocess.run(
        [str(python), "-c", "import envkit; print(envkit.__file__)"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert where.stdout.startswith(str(place))
    project = machine.project()
    project.lock("above-1.0", "alpha-1.1")
    done = subprocess.run(
        [str(place / "bin" / "envkit"), "install"],
        cwd=project.root,
        env=machine.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert project.has("above")
