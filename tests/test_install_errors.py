"""`envkit install` where something is wrong: one clear error, and everything as it was."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import Distribution, Index, good, hostile
from tests.support.projects import Machine, Project, Result, snapshot

OLD, NEW = good()["alpha-1.0"], good()["alpha-1.1"]


@pytest.fixture(scope="module")
def old_store(published: Index, bare_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that has alpha 1.0 and nothing else."""
    machine = Machine(tmp_path_factory.mktemp("old"), published)
    machine.seed_from(bare_store)
    project = machine.project()
    project.lock("alpha-1.0")
    project.install()
    return machine.store


@pytest.fixture
def project(index: Index, old_store: Path, tmp_path: Path) -> Project:
    """A project with alpha 1.0, whose lock now says 1.1, which the store lacks."""
    machine = Machine(tmp_path, index)
    machine.seed_from(old_store)
    machine.environ["ENVKIT_COMPILE"] = "off"
    index.add(OLD, NEW)
    made = machine.project()
    made.lock("alpha-1.0")
    made.install("--offline")
    made.lock("alpha-1.1")
    return made


def said(result: Result) -> str:
    """Return the error that a command ended with; it has a line, and perhaps another as a hint."""
    assert "Traceback" not in result.text
    steps = ("Fetching ", "Compiling ")
    lines = [line for line in result.err.splitlines() if not line.startswith(steps)]
    assert lines[0].startswith("error: "), result.err
    assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("hint: ")), result.err
    return "\n".join(lines)


def refused(project: Project, *arguments: str, code: int) -> str:
    """Run an install that has to fail and to change nothing; return its error."""
    before = snapshot(project.venv)
    inode = project.venv.stat().st_ino if before else 0
    entries = project.machine.entries()
    result = project.envkit("install", *arguments)
    assert result.code == code, result.text
    assert snapshot(project.venv) == before
    assert not before or project.venv.stat().st_ino == inode
    assert project.machine.entries() == entries
    return said(result)


def test_a_file_with_another_hash(project: Project) -> None:
    index = project.machine.index
    index.replace_bytes(NEW.filename, (index.folder / OLD.filename).read_bytes())
    error = refused(project, code=4)
    assert "alpha" in error
    assert "hash that is not in the lock" in error
    index.heal(NEW.filename)
    project.install()
    assert project.installed() == {"alpha": "1.1"}
    assert project.machine.leftovers() == []


def _vanished(index: Index) -> None:
    index.remove(NEW.filename)


def _not_found(index: Index) -> None:
    index.status(NEW.filename, 404)


def _forbidden(index: Index) -> None:
    index.status(NEW.filename, 403)


def _out_of_order(index: Index) -> None:
    index.status(NEW.filename, 503)


def _cut(index: Index) -> None:
    index.cut_after(NEW.filename, 200)


@pytest.mark.parametrize(
    ("spoil", "phrase"),
    [
        (_vanished, "no usable file for alpha==1.1"),
        (_not_found, "404"),
        (_forbidden, "refuses access"),
        (_out_of_order, "503"),
        (_cut, "cannot be reached"),
    ],
)
def test_a_file_that_does_not_come(
    project: Project, spoil: Callable[[Index], None], phrase: str
) -> None:
    index = project.machine.index
    spoil(index)
    error = refused(project, code=4)
    assert "alpha 1.1" in error
    assert phrase in error
    index.heal(NEW.filename)
    index.add(NEW)
    project.install()
    assert project.installed() == {"alpha": "1.1"}
    assert project.machine.leftovers() == []


def test_a_file_that_is_for_another_python(fresh_machine: Machine) -> None:
    future = Distribution(name="future", requires_python=">=3.99")
    fresh_machine.index.add(future)
    project = fresh_machine.project()
    project.lock(future)
    result = project.envkit("install")
    assert result.code == 4
    assert "Fetching future 1.0 failed: future 1.0 needs Python >=3.99" in result.err
    assert "hint: Run `envkit lock` under the Python that this machine has" in result.err


def test_one_of_many_does_not_come(project: Project) -> None:
    # Enough for several pips at once; what came nevertheless need not come again.
    index = project.machine.index
    many = [Distribution(name=f"many{n:02}", files={f"many{n:02}.py": ""}) for n in range(16)]
    index.add(*many)
    project.lock("alpha-1.1", *many)
    index.remove(many[7].filename)
    before = snapshot(project.venv)
    result = project.envkit("install")
    assert result.code == 4
    assert "many07" in said(result)
    assert snapshot(project.venv) == before
    index.add(many[7])
    project.install()
    assert len(project.installed()) == 17


def test_a_yanked_file_is_installed_since_it_is_pinned(project: Project) -> None:
    index = project.machine.index
    index.publish(index.folder / NEW.filename, yanked="broken")
    project.install()
    assert project.installed() == {"alpha": "1.1"}


def test_an_index_that_is_not_there(project: Project) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}/simple/"
        project.machine.environ["PIP_INDEX_URL"] = url
        error = refused(project, code=4)
    assert "the index cannot be reached" in error


def test_an_index_that_wants_a_password(tmp_path: Path, bare_store: Path) -> None:
    with Index(tmp_path / "index", username="ada", password="s3cret") as index:
        index.add(OLD)
        machine = Machine(tmp_path, index)
        machine.seed_from(bare_store)
        machine.environ["PIP_INDEX_URL"] = index.url
        project = machine.project()
        project.lock("alpha-1.0")
        error = refused(project, code=4)
        assert "the index refuses access" in error
        machine.environ["PIP_INDEX_URL"] = index.url.replace("://", "://ada:wr0ng@")
        error = refused(project, code=4)
        assert "the index refuses access" in error
        assert "wr0ng" not in error


def test_an_sdist_that_cannot_be_built(project: Project) -> None:
    broken = Distribution(
        name="broken", extensions={"broken": "#error this does not compile\n"}, sdist_only=True
    )
    project.machine.index.add(broken)
    project.lock("alpha-1.0", broken)
    before = snapshot(project.venv)
    result = project.envkit("install")
    assert result.code == 4
    assert "Building broken 1.0 from its sdist failed" in result.err
    assert "Traceback" not in result.err.splitlines()[0]
    assert snapshot(project.venv) == before
    assert project.machine.entries() & {project.machine.index.sha256(broken.filename)} == set()


def test_a_stale_lock(project: Project) -> None:
    with (project.root / "requirements.in").open("a") as opened:
        opened.write("delta\n")
    error = refused(project, code=2)
    assert "requirements.txt is stale: requirements.in has changed" in error
    assert "envkit lock" in error


def test_a_comment_makes_no_lock_stale(project: Project) -> None:
    with (project.root / "requirements.in").open("a") as opened:
        opened.write("\n# why alpha\n")
    project.install()
    assert project.installed() == {"alpha": "1.1"}


def test_no_lock(project: Project) -> None:
    (project.root / "requirements.txt").unlink()
    error = refused(project, code=2)
    assert "requirements.txt does not exist" in error
    assert "envkit lock" in error


@pytest.mark.parametrize(
    ("line", "phrase"),
    [
        ("alpha", "not a pin: 'alpha'"),
        ("alpha>=1.0 --hash=sha256:" + "0" * 64, "not a pin"),
        ("alpha==1.0", "alpha has no sha256 hash"),
        ("alpha==1.0 --hash=md5:" + "0" * 32, "alpha has no sha256 hash"),
        ("--index-url https://example.org/simple", "--index-url cannot stand in a lock"),
        ("-e .", "-e cannot stand in a lock"),
        ("alpha==1.0 ; python_is_nice --hash=sha256:" + "0" * 64, "not a marker"),
    ],
)
def test_a_line_that_is_no_pin(project: Project, line: str, phrase: str) -> None:
    project.write_lock(["# the first line", line])
    error = refused(project, code=2)
    assert phrase in error
    assert phrase == "not a marker" or "requirements.txt:2:" in error


def test_a_distribution_that_is_pinned_twice(project: Project) -> None:
    line = f"alpha==1.0 --hash=sha256:{'0' * 64}"
    project.write_lock([line, line.replace("alpha", "Alpha")])
    assert "requirements.txt:2: alpha is pinned twice" in refused(project, code=2)


def test_no_project(fresh_machine: Machine) -> None:
    project = fresh_machine.project()
    (project.root / "envkit.toml").unlink()
    error = refused(project, code=2)
    assert "is not in a project" in error
    assert "envkit init" in error


def test_two_files_of_settings(project: Project) -> None:
    (project.root / "pyproject.toml").write_text("[tool.envkit]\n")
    error = refused(project, code=2)
    assert "both envkit.toml and [tool.envkit] in pyproject.toml" in error
    assert "Keep one of them." in error


@pytest.mark.parametrize(
    ("settings", "phrase"),
    [
        ('pyhton = "3.11"\n', "Did you mean python?"),
        (
            'colour = "red"\n',
            "Known: assets, cache_age, cache_size, compile, editable, gpu, groups, image, link, "
            "python, services, store.",
        ),
        ("python = 3.11\n", "envkit.toml: python: must be text"),
        ('groups = "dev"\n', "groups: must be a list, as in"),
        ('link = "symlink"\n', "'symlink' is not one of copy, hardlink"),
        ("link = \n", "not valid TOML"),
    ],
)
def test_settings_that_make_no_sense(project: Project, settings: str, phrase: str) -> None:
    (project.root / "envkit.toml").write_text(settings)
    assert phrase in refused(project, code=2)


def test_a_variable_that_makes_no_sense(project: Project) -> None:
    project.machine.environ["ENVKIT_LINK"] = "symlink"
    assert "$ENVKIT_LINK: 'symlink' is not one of" in refused(project, code=2)


def test_a_store_that_cannot_be_made(project: Project) -> None:
    blocked = project.machine.folder / "blocked"
    blocked.write_text("a file\n")
    project.machine.environ["ENVKIT_STORE"] = str(blocked / "store")
    error = refused(project, code=2)
    assert str(blocked / "store") in error


@pytest.mark.parametrize("fault", sorted(hostile()))
def test_a_hostile_wheel(project: Project, fault: str) -> None:
    machine, index, wheel = project.machine, project.machine.index, hostile()[fault]
    # pip, too, has to find it under the name that its file bears.
    name = "other" if fault == "misnamed" else "hostile"
    index.publish(wheel.wheel(machine.folder / "made"))
    before = snapshot(machine.store, without=["tmp", "interpreters-v1", "fetching.lock"])
    outside = set(os.listdir(machine.folder))
    digest = index.sha256(wheel.wheel_filename)
    project.write_lock([f"{name}==1.0 --hash=sha256:{digest}"])
    error = refused(project, code=4)
    assert name in error
    assert error.replace("\n", "").isprintable()
    assert snapshot(machine.store, without=["tmp", "interpreters-v1", "fetching.lock"]) == before
    assert set(os.listdir(machine.folder)) == outside
    assert not Path("/nonexistent").exists()
    project.lock()
    project.install()
    assert machine.leftovers() == []


def test_a_file_and_a_folder_of_one_name(project: Project) -> None:
    index = project.machine.index
    as_file = Distribution(name="as-file", files={"thing.py": "", "thing": "a file"})
    as_folder = Distribution(name="as-folder", files={"thing/__init__.py": ""})
    index.add(as_file, as_folder)
    project.lock("alpha-1.0", as_file, as_folder)
    before = snapshot(project.venv)
    result = project.envkit("install")
    assert result.code == 4
    assert "thing is a file of one distribution and a folder of another" in said(result)
    assert snapshot(project.venv) == before
    project.lock("alpha-1.1", as_folder)
    project.install()
    assert project.installed() == {"alpha": "1.1", "as-folder": "1.0"}
