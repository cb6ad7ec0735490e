"""`envkit rollback`, `envkit history`, `envkit install --lock`: the ways back."""

import os
import shutil
from pathlib import Path

import pytest

from tests.support.projects import Machine, Project, Snapshot, snapshot

OLD = ("alpha-1.0", "commands-1.0", "forest-1.0")
NEW = ("alpha-2.0", "schemes-1.0", "forest-1.0")


def state(project: Project) -> Snapshot:
    return snapshot(project.venv, without=[".envkit"])


@pytest.fixture
def project(machine: Machine) -> Project:
    """A project with an environment, and one before it."""
    made = machine.project()
    for keys in (OLD, NEW):
        made.lock(*keys)
        made.install()
    return made


@pytest.fixture
def repository(machine: Machine) -> Project:
    """A project whose two locks are commits, the newer one installed."""
    made = machine.project()
    made.git("init", "--quiet")
    (made.root / ".gitignore").write_text(".venv/\n.envkit/\n")
    for keys, subject in ((OLD, "Begin"), (NEW, "Go on")):
        made.lock(*keys)
        made.git("add", "--all")
        made.git("commit", "--message", subject)
        made.install()
    return made


def test_back_and_forth(project: Project) -> None:
    new = state(project)
    result = project.envkit("rollback")
    assert result.code == 0, result.text
    assert "~ alpha 2.0 -> 1.0" in result.err
    assert "+ commands 1.0" in result.err
    assert project.installed() == {"alpha": "1.0", "commands": "1.0", "forest": "1.0"}
    assert project.envkit("verify", "--depth", "hashes", "--json").json["differences"] == []
    assert project.envkit("status").code == 1
    assert project.envkit("rollback").code == 0
    assert state(project) == new
    assert project.envkit("status").code == 0


def test_the_lock_stays_and_is_what_an_install_makes(project: Project) -> None:
    new = state(project)
    assert project.envkit("rollback").code == 0
    result = project.envkit("run", "--", "python", "-c", "")
    assert "not what lock and settings say" in result.err
    assert "Switched back" in project.install().err
    assert state(project) == new


def test_a_dry_run_changes_nothing(project: Project) -> None:
    before = snapshot(project.venv)
    result = project.envkit("rollback", "--dry-run", "--json")
    assert result.code == 0, result.text
    assert {"name": "alpha", "old": "2.0", "new": "1.0"} in result.json["changes"]
    assert snapshot(project.venv) == before


def test_what_was_done_by_hand_comes_back_too(project: Project) -> None:
    (project.site / "mine.py").write_text("")
    project.lock(*OLD)
    project.install()
    result = project.envkit("rollback")
    assert result.code == 0
    assert (project.site / "mine.py").exists()
    assert "changed by hand" in result.err


def test_back_to_an_environment_that_was_removed(project: Project) -> None:
    project.envkit("rollback")
    old = state(project)
    project.envkit("rollback")
    shutil.rmtree(project.venv)
    assert project.envkit("rollback").code == 0
    assert state(project) == old


def test_there_is_nothing_to_go_back_to(machine: Machine) -> None:
    project = machine.project()
    result = project.envkit("rollback")
    assert (result.code, "no environment to go back to" in result.err) == (2, True)
    project.lock("alpha-1.0")
    project.install()
    before = snapshot(project.venv)
    result = project.envkit("rollback")
    assert (result.code, "no environment to go back to" in result.err) == (2, True)
    assert snapshot(project.venv) == before


def test_a_foreign_environment_is_left_alone(project: Project) -> None:
    shutil.rmtree(project.venv)
    project.venv.mkdir()
    (project.venv / "mine").write_text("")
    result = project.envkit("rollback")
    assert (result.code, "not made by envkit" in result.err) == (2, True)
    assert os.listdir(project.venv) == ["mine"]


def test_history_marks_what_is_there(repository: Project) -> None:
    found = repository.envkit("history", "--json").json
    assert [(one["subject"], one["place"], one["lacking"]) for one in found["locks"]] == [
        ("Go on", "installed", 0),
        ("Begin", "previous", 0),
    ]
    assert {"name": "alpha", "old": "1.0", "new": "2.0"} in found["locks"][0]["changes"]
    assert {"name": "alpha", "old": "2.0", "new": "1.0"} in found["back"]
    assert found["installed"]["distributions"] == len(NEW)
    repository.envkit("rollback")
    found = repository.envkit("history", "--json").json
    assert [one["place"] for one in found["locks"]] == ["previous", "installed"]
    text = repository.envkit("history").out
    assert f"- {repository.git('rev-parse', 'HEAD')[:10]}" in text
    assert "* installed" in text
    assert "(envkit rollback)" in text


def test_history_of_what_is_not_committed(repository: Project) -> None:
    repository.lock("alpha-1.1")
    found = repository.envkit("history", "--json").json["locks"]
    assert [one["subject"] for one in found] == ["(not committed)", "Go on", "Begin"]
    assert found[0]["changes"][0] == {"name": "alpha", "old": "2.0", "new": "1.1"}
    limited = repository.envkit("history", "--limit", "1", "--json").json["locks"]
    assert [one["subject"] for one in limited] == ["(not committed)"]


def test_history_without_git(project: Project) -> None:
    found = project.envkit("history", "--json")
    assert found.code == 0, found.text
    assert [one["revision"] for one in found.json["locks"]] == [""]
    assert found.json["previous"]["distributions"] == len(OLD)


def test_a_lock_that_cannot_be_read_is_listed(repository: Project) -> None:
    (repository.root / "requirements.txt").write_text("alpha>=1\n")
    repository.git("commit", "--all", "--message", "Break it")
    found = repository.envkit("history", "--json").json["locks"]
    assert "not a pin" in found[0]["reason"]
    assert found[1]["reason"] == ""


def test_the_lock_of_a_commit(repository: Project) -> None:
    new = state(repository)
    repository.lock("alpha-1.1")
    repository.install()
    result = repository.install("--lock", "HEAD~1", "--offline")
    assert "~ alpha 1.1 -> 1.0" in result.err
    assert repository.installed() == {"alpha": "1.0", "commands": "1.0", "forest": "1.0"}
    assert repository.envkit("status").code == 1
    assert "Already up to date" in repository.install("--lock", "HEAD~1").err
    repository.install("--lock", "HEAD")
    assert state(repository) == new
    repository.install()
    assert repository.installed() == {"alpha": "1.1"}


def test_the_lock_of_a_commit_as_a_plan(repository: Project) -> None:
    before = snapshot(repository.venv)
    result = repository.envkit("install", "--lock", "HEAD~1", "--check", "--json")
    assert result.code == 1
    assert {"name": "alpha", "old": "2.0", "new": "1.0"} in result.json["changes"]
    assert snapshot(repository.venv) == before


@pytest.mark.parametrize(
    ("revision", "said"),
    [
        ("nothing", "names no commit"),
        ("--output=/tmp/x", "names no commit"),
        ("", "names no commit"),
        ("HEAD:requirements.txt", "names no commit"),
    ],
)
def test_a_revision_that_is_none(repository: Project, revision: str, said: str) -> None:
    before = snapshot(repository.venv)
    result = repository.envkit("install", f"--lock={revision}")
    assert (result.code, said in result.err) == (2, True), result.text
    assert snapshot(repository.venv) == before


def test_a_commit_without_a_lock(repository: Project) -> None:
    repository.git("rm", "--quiet", "--cached", "requirements.txt")
    repository.git("commit", "--message", "Without")
    result = repository.envkit("install", "--lock", "HEAD")
    assert (result.code, "There was no requirements.txt" in result.err) == (2, True)


def test_a_commit_of_no_repository(project: Project) -> None:
    result = project.envkit("install", "--lock", "HEAD")
    assert (result.code, "git cannot be asked" in result.err) == (2, True), result.text


def test_without_git(repository: Project, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    result = repository.envkit("install", "--lock", "HEAD", env={"PATH": str(empty)})
    assert (result.code, "git: no such command" in result.err) == (3, True), result.text
    assert repository.envkit("history", env={"PATH": str(empty)}).code == 0
