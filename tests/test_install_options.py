"""`envkit install` with its options: groups, offline, plans, checks, copies, interpreters."""

import json
import os
import platform
import sys
from pathlib import Path

import pytest

from envkit import interpreter
from envkit.errors import MissingError
from tests.support import good
from tests.support.projects import Machine, snapshot


def test_groups(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    project.lock("delta-1.0", "alpha-1.0", group="dev")
    project.install()
    assert project.installed() == {"alpha": "1.0"}
    project.install("--group", "dev")
    assert project.installed() == {"alpha": "1.0", "delta": "1.0"}
    project.install("--no-default", "--group", "dev")
    assert project.installed() == {"alpha": "1.0", "delta": "1.0"}
    project.install()
    assert project.installed() == {"alpha": "1.0"}
    project.install("--no-default")
    assert project.installed() == {}


def test_groups_that_the_settings_name(machine: Machine) -> None:
    project = machine.project(settings='groups = ["default", "dev"]\n')
    project.lock("alpha-1.0")
    project.lock("delta-1.0", group="dev")
    project.install()
    assert project.installed() == {"alpha": "1.0", "delta": "1.0"}
    assert "Already up to date" in project.install().err
    # It need not be the default group's lock that changes.
    project.lock("penguin-1.0", group="dev")
    project.install()
    assert project.installed() == {"alpha": "1.0", "penguin": "1.0"}


def test_groups_that_disagree(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    project.lock("alpha-2.0", group="dev")
    result = project.envkit("install", "--group", "dev")
    assert result.code == 2
    assert "requirements.txt has alpha 1.0, requirements-dev.txt has alpha 2.0" in result.err


def test_an_unknown_group(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    project.lock("delta-1.0", group="dev")
    result = project.envkit("install", "--group", "docs")
    assert result.code == 2
    assert "requirements-docs.in does not exist" in result.err
    assert "Groups here: default, dev." in result.err


def test_offline_with_what_it_needs(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0", "sourced-1.0")
    asked = len(machine.index.requests)
    project.install("--offline")
    assert project.installed() == {"alpha": "1.0", "sourced": "1.0"}
    assert len(machine.index.requests) == asked


def test_offline_without_what_it_needs(fresh_machine: Machine) -> None:
    fresh_machine.index.add(good()["alpha-1.0"])
    project = fresh_machine.project()
    project.lock("alpha-1.0")
    result = project.envkit("install", "--offline")
    assert result.code == 4
    assert "The store lacks alpha 1.0" in result.err
    assert not project.venv.exists()
    assert fresh_machine.index.requests == []


def test_a_dry_run_says_what_the_real_run_does(fresh_machine: Machine) -> None:
    fresh_machine.index.add(*(good()[key] for key in ("alpha-1.0", "alpha-1.1", "delta-1.0")))
    fresh_machine.index.add(good()["penguin-1.0"])
    project = fresh_machine.project()
    project.lock("alpha-1.0", "delta-1.0")
    project.install()
    project.lock("alpha-1.1", "penguin-1.0")
    before = snapshot(fresh_machine.folder, without=["interpreters-v1"])
    asked = len(fresh_machine.index.requests)
    dry = project.envkit("install", "--dry-run")
    assert dry.code == 0
    assert dry.out.splitlines() == ["~ alpha 1.0 -> 1.1", "- delta 1.0", "+ penguin 1.0"]
    assert "1 added, 1 removed, 1 changed; 2 to be fetched" in dry.err
    assert snapshot(fresh_machine.folder, without=["interpreters-v1"]) == before
    assert len(fresh_machine.index.requests) == asked
    real = project.install()
    said = [line.strip() for line in real.err.splitlines() if line.startswith("  ")]
    assert said == dry.out.splitlines()
    assert "2 fetched" in real.err


def test_check(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    assert project.envkit("install", "--check").code == 1
    assert not project.venv.exists()
    project.install()
    assert project.envkit("install", "--check").code == 0
    (project.site / "stray.py").write_text("")
    assert project.envkit("install", "--check").code == 1
    (project.site / "stray.py").unlink()
    project.install()
    project.lock("alpha-1.1")
    before = snapshot(project.venv)
    assert project.envkit("install", "--check").code == 1
    assert snapshot(project.venv) == before


def test_results_as_json(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    planned = project.envkit("install", "--dry-run", "--json").json
    assert planned["changes"] == [{"name": "alpha", "old": "", "new": "1.0"}]
    assert (planned["changed"], planned["fetch"]) == (True, [])
    done = project.install("--json").json
    assert done["changes"] == planned["changes"]
    assert done["touched"] is True
    assert project.install("--json").json["touched"] is False


def test_quiet_and_verbose(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    assert project.envkit("-q", "install").text == ""
    project.lock("alpha-1.1")
    assert os.path.realpath(sys.executable) in project.envkit("-v", "install").err


def test_copies(machine: Machine) -> None:
    project = machine.project("copied")
    project.lock("alpha-1.0", "certs-1.0", "schemes-1.0", "hammer-1.0")
    project.install()
    linked = snapshot(project.venv, without=[".envkit"])
    assert (project.site / "alpha" / "old.py").stat().st_nlink > 1
    project.install("--copy")
    copied = snapshot(project.venv, without=[".envkit"])
    files = [path for path in project.venv.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path for path in files if path.stat().st_nlink > 1] == []
    assert {path: node[:2] for path, node in copied.items()} == {
        path: node[:2] for path, node in linked.items()
    }
    # A copy is its owner's to change; what may be executed stays so.
    assert {path for path, node in copied.items() if node.mode & 0o100} == {
        path for path, node in linked.items() if node.mode & 0o100
    }
    assert "Already up to date" in project.install("--copy").err


def test_copies_by_the_settings(machine: Machine) -> None:
    project = machine.project(settings='link = "copy"\n')
    project.lock("alpha-1.0")
    project.install()
    assert (project.site / "alpha" / "old.py").stat().st_nlink == 1


def test_projects_share_inodes(machine: Machine) -> None:
    modules = []
    for name in ("one", "two"):
        project = machine.project(name)
        project.lock("alpha-1.0")
        project.install()
        modules.append(project.site / "alpha" / "old.py")
    assert modules[0].samefile(modules[1])


def test_the_python_that_is_named(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    base = os.path.realpath(sys.executable)
    project.install("--python", base)
    assert project.installed() == {"alpha": "1.0"}
    real = os.path.realpath(project.venv / "bin" / "python")
    assert real == base


def test_a_python_that_is_nowhere(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    result = project.envkit("install", "--python", "3.99")
    assert result.code == 3
    assert "Python 3.99 is asked for" in result.err
    result = project.envkit("install", "--python", "/nowhere/bin/python")
    assert result.code == 3
    assert "/nowhere/bin/python" in result.err


def test_a_program_that_is_no_python(machine: Machine, tmp_path: Path) -> None:
    program = tmp_path / "python3.8"
    program.write_text("#!/bin/sh\necho I am no Python\n")
    program.chmod(0o755)
    project = machine.project()
    project.lock("alpha-1.0")
    for command in ("install", "lock"):
        result = project.envkit(command, "--python", str(program))
        assert result.code == 3
        assert "cannot be asked what it is" in result.err


def test_envkits_own_python_is_not_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "python_discovery", None)  # cannot be imported
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    said: list[str] = []
    for request in ("", minor, f">={minor}"):
        found = interpreter.find(
            request, cache=tmp_path / "cache", environ=os.environ, say=said.append
        )
        assert os.path.samefile(found.executable, os.path.realpath(sys.executable))
        assert found.version == platform.python_version()
    assert said == []
    with pytest.raises(ImportError):
        interpreter.find("3.99", cache=tmp_path / "cache", environ=os.environ, say=said.append)
    assert said == ["Looking for Python 3.99"]


def test_a_python_that_is_too_old(tmp_path: Path) -> None:
    found = interpreter.find("", cache=tmp_path, environ=os.environ)
    interpreter.refuse_old(found._replace(version="3.9.0"))
    with pytest.raises(MissingError, match=r"Python 3\.8\.18 \(.*\) is too old") as raised:
        interpreter.refuse_old(found._replace(version="3.8.18"))
    assert raised.value.hint.startswith("Choose Python 3.9 or newer")


def test_a_python_that_the_lock_is_not_for(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    path = project.root / "requirements.txt"
    pin = path.read_text().splitlines()[1]
    project.write_lock([f"# envkit-lock: python=3.8 inputs=sha256:{'0' * 64}", pin])
    result = project.envkit("install", "--python", sys.executable)
    # It is stale as well, which is said first: what it is for may be about to change.
    assert result.code == 2
    assert "stale" in result.err


def test_what_is_said_as_json_is_one_document(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    result = project.install("--json")
    assert json.loads(result.out)["distributions"] == 1


def test_options_are_for_this_time_alone(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    module = project.site / "alpha" / "old.py"
    project.install()
    assert module.stat().st_nlink > 1
    project.install("--copy")
    assert module.stat().st_nlink == 1
    project.install()
    assert module.stat().st_nlink > 1
