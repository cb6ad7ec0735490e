"""`envkit status`: what it sees of a changed lock and of a changed environment."""

import sys
from pathlib import Path

import pytest

from tests.support.projects import SITE, Machine, Project, snapshot


@pytest.fixture
def project(machine: Machine) -> Project:
    """A project with an environment in which all is well."""
    made = machine.project()
    made.lock("alpha-1.0", "commands-1.0", "certs-1.0")
    made.install()
    return made


def test_all_is_well(project: Project) -> None:
    before = snapshot(project.root)
    result = project.envkit("status")
    assert result.code == 0, result.text
    assert "lock default" in result.out
    assert snapshot(project.root) == before
    found = project.envkit("status", "--json").json
    assert found["good"] is True
    assert found["environment"] == "current"
    assert found["locks"] == [
        {"group": "default", "file": "requirements.txt", "state": "fresh", "reason": ""}
    ]
    assert (found["changes"], found["drift"]) == ([], [])
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))


def test_a_stale_lock(project: Project) -> None:
    (project.root / "requirements.in").write_text("delta\n")
    result = project.envkit("status", "--json")
    assert result.code == 1
    assert result.json["locks"][0]["state"] == "stale"
    assert "stale" in project.envkit("status").out


def test_a_lock_that_is_not_there(project: Project) -> None:
    (project.root / "requirements.txt").unlink()
    result = project.envkit("status", "--json")
    assert result.code == 1
    assert result.json["locks"][0]["state"] == "missing"


def test_a_lock_that_cannot_be_read(project: Project) -> None:
    project.write_lock(["alpha>=1"])
    result = project.envkit("status", "--json")
    assert result.code == 1
    assert result.json["locks"][0]["state"] == "unreadable"
    assert "requirements.txt:1" in result.json["locks"][0]["reason"]


def test_a_lock_that_is_not_installed(project: Project) -> None:
    project.lock("alpha-1.1", "certs-1.0", "delta-1.0")
    result = project.envkit("status", "--json")
    assert result.code == 1
    assert result.json["environment"] == "different"
    assert result.json["changes"] == [
        {"name": "alpha", "old": "1.0", "new": "1.1"},
        {"name": "commands", "old": "1.0", "new": ""},
        {"name": "delta", "old": "", "new": "1.0"},
    ]
    shown = project.envkit("status")
    assert shown.code == 1
    assert "~ alpha 1.0 -> 1.1" in shown.out


def test_no_environment(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    result = project.envkit("status", "--json")
    assert (result.code, result.json["environment"]) == (1, "absent")


def test_an_environment_of_somebody_else(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    project.call([sys.executable, "-m", "venv", "--without-pip", ".venv"])
    result = project.envkit("status", "--json")
    assert (result.code, result.json["environment"]) == (1, "foreign")


def test_an_unfinished_environment(project: Project) -> None:
    (project.venv / ".envkit" / "stamp").unlink()
    result = project.envkit("status", "--json")
    assert (result.code, result.json["environment"]) == (1, "unfinished")
    project.install()
    assert project.envkit("status").code == 0


@pytest.mark.parametrize(
    ("path", "kind", "shown"),
    [
        (f"{SITE}/stray.py", "added", f"{SITE}/stray.py"),
        (f"{SITE}/stray", "added", f"{SITE}/stray"),
        ("bin/stray", "added", "bin/stray"),
        (f"{SITE}/alpha/old.py", "missing", f"{SITE}/alpha/old.py"),
        ("bin/commands", "missing", "bin/commands"),
        (f"{SITE}/alpha", "missing", f"{SITE}/alpha"),
        (f"{SITE}/alpha/old.py", "altered", f"{SITE}/alpha/old.py"),
        ("bin/commands", "altered", "bin/commands"),
        (f"{SITE}/certs/cacert.pem", "altered", f"{SITE}/certs/cacert.pem"),
    ],
)
def test_drift_is_seen_and_mended(project: Project, path: str, kind: str, shown: str) -> None:
    before = snapshot(project.venv, without=[".envkit"])
    target = project.venv / path
    if kind == "missing":
        target.rename(project.machine.folder / "taken")
    elif kind == "added" and not target.suffix and target.parent.name != "bin":
        target.mkdir()
    else:
        # As editors and installers write: beside it, and then in its place.
        draft = project.machine.folder / "draft"
        draft.write_text("CHANGED = True\n")
        draft.rename(target)
    result = project.envkit("status", "--json")
    assert result.code == 1
    assert [shown, kind] in result.json["drift"]
    assert f"{kind}: {shown}" in project.envkit("status").out
    if not _top_level_tells(path, kind):
        return
    project.install()
    assert snapshot(project.venv, without=[".envkit"]) == before
    assert project.envkit("status").code == 0


def _top_level_tells(path: str, kind: str) -> bool:
    """Return whether site-packages or bin itself changed, which is what `install` looks at."""
    del kind
    return str(Path(path).parent) in (SITE, "bin")


def test_what_pip_adds_is_taken_away(project: Project) -> None:
    before = snapshot(project.venv, without=[".envkit", "__pycache__"])
    assert project.pip("install", "delta==1.0").code == 0
    assert project.installed()["delta"] == "1.0"
    result = project.envkit("status", "--json")
    assert result.code == 1
    assert [f"{SITE}/delta.py", "added"] in result.json["drift"]
    assert project.envkit("install", "--check").code == 1
    project.install()
    assert snapshot(project.venv, without=[".envkit", "__pycache__"]) == before
    assert not project.has("delta")


def test_what_pip_replaces_is_put_back(project: Project) -> None:
    assert project.pip("install", "alpha==2.0").code == 0
    assert project.installed()["alpha"] == "2.0"
    project.install()
    assert project.installed()["alpha"] == "1.0"
    assert project.has("alpha.old")
    # The store was not reached through the links.
    other = project.machine.project("other")
    other.lock("alpha-1.0")
    other.install()
    assert other.python("import alpha, alpha.old; print(alpha.__version__)") == "1.0\n"


def test_what_pip_uninstalls_is_put_back(project: Project) -> None:
    before = snapshot(project.venv, without=[".envkit"])
    assert project.pip("uninstall", "--yes", "commands").code == 0
    assert "commands" not in project.installed()
    project.install()
    assert snapshot(project.venv, without=[".envkit"]) == before


def test_groups_that_were_installed_are_those_that_count(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    project.lock("delta-1.0", group="dev")
    project.install("--group", "dev")
    result = project.envkit("status", "--json")
    assert result.code == 0, result.text
    assert [one["group"] for one in result.json["locks"]] == ["default", "dev"]


def test_no_group_at_all(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    project.install("--no-default")
    result = project.envkit("status")
    assert result.code == 0, result.text
