"""The store: what comes into it, and what becomes of it when somebody writes into it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Distribution, good
from tests.support.projects import Machine, Project, snapshot


@pytest.fixture
def project(fresh_machine: Machine) -> Project:
    """A project with alpha 1.0, whose files are no other machine's."""
    fresh_machine.index.add(good()["alpha-1.0"], good()["sourced-1.0"])
    made = fresh_machine.project()
    made.lock("alpha-1.0")
    made.install()
    return made


def entry(project: Project, bucket: str, key: str) -> Path:
    """Return the folder in which the store keeps a distribution."""
    digest = project.machine.index.sha256(good()[key].filename)
    (found,) = (project.machine.store / bucket).glob(f"{digest}*")
    return found


def write_into(path: Path, text: str) -> None:
    path.chmod(0o644)
    path.write_text(text)


@pytest.mark.parametrize(
    ("bucket", "key", "file"),
    [
        ("wheels-v1", "alpha-1.0", "tree/site/alpha/old.py"),
        ("builds-v1", "sourced-1.0", "tree/site/sourced/__init__.py"),
    ],
)
def test_an_entry_that_was_altered_is_fetched_again(
    project: Project, bucket: str, key: str, file: str
) -> None:
    machine = project.machine
    project.lock("alpha-1.0", "sourced-1.0")
    project.install()
    before = (entry(project, bucket, key) / file).read_bytes()
    write_into(entry(project, bucket, key) / file, "ALTERED = True\n")
    other = machine.project("other")
    other.lock("alpha-1.0", "sourced-1.0")
    result = other.install()
    assert f"{entry(project, bucket, key)} was altered in the store" in result.err
    assert (entry(project, bucket, key) / file).read_bytes() == before
    assert (other.site / file.removeprefix("tree/site/")).read_bytes() == before
    assert machine.index.downloads(good()[key].filename) == 2
    assert [path.name for path in (machine.store / "set-aside").iterdir()] != []
    assert other.script("sourced").out == "sourced\n"
    assert "Already up to date" in other.install().err


def test_an_entry_that_lost_a_file_is_fetched_again(project: Project) -> None:
    lost = entry(project, "wheels-v1", "alpha-1.0") / "tree/site/alpha/old.py"
    lost.unlink()
    other = project.machine.project("other")
    other.lock("alpha-1.0")
    assert "was altered in the store" in other.install().err
    assert lost.is_file()
    assert (other.site / "alpha" / "old.py").is_file()


def test_an_altered_entry_is_no_use_offline(project: Project) -> None:
    write_into(entry(project, "wheels-v1", "alpha-1.0") / "tree/site/alpha/old.py", "ALTERED = 1\n")
    other = project.machine.project("other")
    other.lock("alpha-1.0")
    result = other.envkit("install", "--offline")
    assert result.code == 4
    assert "The store lacks alpha 1.0" in result.err
    assert not other.venv.exists()


def test_bytecode_that_was_altered_is_compiled_again(project: Project) -> None:
    digest = project.machine.index.sha256(good()["alpha-1.0"].filename)
    (compiled,) = (project.machine.store / "bytecode-v1").glob(f"{digest}*")
    (pyc,) = compiled.glob("tree/site/alpha/__pycache__/old.*.pyc")
    before = pyc.read_bytes()
    pyc.chmod(0o644)
    pyc.write_bytes(b"nonsense")
    other = project.machine.project("other")
    other.lock("alpha-1.0")
    other.install("--offline")
    assert (other.site / "alpha" / "__pycache__" / pyc.name).read_bytes() == before
    assert other.python("import alpha.old; print(alpha.old.OLD)") == "True\n"


def test_an_entry_that_was_taken_away_is_fetched_again(project: Project) -> None:
    machine = project.machine
    shutil.rmtree(entry(project, "wheels-v1", "alpha-1.0"))
    assert "Already up to date" in project.install().err
    other = machine.project("other")
    other.lock("alpha-1.0")
    other.install()
    assert other.installed() == {"alpha": "1.0"}
    assert machine.index.downloads(good()["alpha-1.0"].filename) == 2


def test_another_store_has_the_same_bytes(project: Project) -> None:
    # Everything but the environment is gone, the spare included.
    before = snapshot(project.venv, without=[".envkit"])
    project.machine.store.rename(project.machine.folder / "gone")
    assert "Already up to date" in project.install().err
    project.venv.rename(project.machine.folder / "old")
    project.install()
    assert snapshot(project.venv, without=[".envkit"]) == before


def test_bytecode_that_comes_afterwards(fresh_machine: Machine) -> None:
    fresh_machine.index.add(good()["forest-1.0"], good()["crooked-1.0"])
    fresh_machine.environ["ENVKIT_COMPILE"] = "background"
    project = fresh_machine.project()
    project.lock("forest-1.0", "crooked-1.0")
    project.install()
    inode = project.venv.stat().st_ino
    fresh_machine.rest()
    compiled = [path for path in project.site.rglob("forest/**/*.pyc") if path.stat().st_nlink > 1]
    assert len(compiled) == 500
    assert project.venv.stat().st_ino == inode
    assert "Already up to date" in project.install().err
    assert project.envkit("status").code == 0
    assert fresh_machine.leftovers() == []
    later = snapshot(project.venv, without=[".envkit"])
    # The same as if one had waited for it.
    project.venv.rename(fresh_machine.folder / "old")
    project.install("--offline", env={"ENVKIT_COMPILE": "now"})
    assert snapshot(project.venv, without=[".envkit"]) == later


def test_a_store_on_another_filesystem(fresh_machine: Machine, elsewhere: Path) -> None:
    fresh_machine.index.add(good()["alpha-1.0"], good()["alpha-1.1"], good()["commands-1.0"])
    fresh_machine.environ |= {"ENVKIT_STORE": str(elsewhere / "store"), "ENVKIT_COMPILE": "off"}
    project = fresh_machine.project()
    for key in ("alpha-1.0", "alpha-1.1", "alpha-1.0"):
        project.lock(key, "commands-1.0")
        result = project.install()
        assert project.installed() == {"alpha": key.partition("-")[2], "commands": "1.0"}
    assert result.err.startswith("Switched back")
    assert project.script("commands").code == 3
    assert (project.site / "alpha" / "old.py").stat().st_nlink == 1
    # What has to be beside the environment is nothing that anybody would commit.
    assert (project.root / ".envkit" / ".gitignore").read_text() == "*\n"
    assert project.envkit("status").code == 0


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder that is not on the filesystem of the other folders."""
    shared = Path("/dev/shm")  # noqa: S108
    if not os.access(shared, os.W_OK) or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one filesystem alone")
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        yield Path(folder)


def test_several_at_once(fresh_machine: Machine) -> None:
    # Several projects that need the same, and one of them twice.
    index = fresh_machine.index
    many = [Distribution(name=f"many{n:02}", files={f"many{n:02}.py": ""}) for n in range(12)]
    index.add(*many)
    projects = [fresh_machine.project(name) for name in ("one", "two")]
    for project in projects:
        project.lock(*many)
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "envkit", "install"],
            cwd=project.root,
            env=fresh_machine.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        for project in (*projects, projects[0])
    ]
    for child in running:
        _, err = child.communicate(timeout=120)
        assert child.returncode == 0, err
    for project in projects:
        assert len(project.installed()) == 12
        assert project.envkit("status").code == 0
    assert fresh_machine.leftovers() == []
