"""Environments for every CPython that virtualenv makes them for, whichever runs envkit itself."""

import json
import os
from pathlib import Path

import pytest

from envkit import interpreter
from envkit.errors import MissingError
from tests.support.projects import Machine, Project

# virtualenv's own range; older ones are refused, as tests of the options show.
MINORS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")

KEYS = ("alpha-1.0", "commands-1.0", "schemes-1.0", "certs-1.0")
OTHER = ("alpha-2.0", "commands-1.0", "twins-1.0")


def lock(project: Project, keys: tuple[str, ...]) -> None:
    """Write a lock that says of no Python that it is for it."""
    project.write_lock([project.line(key) for key in keys])


def look(project: Project, minor: str, keys: tuple[str, ...]) -> None:
    """Make sure that an environment is that Python's, and has what it should."""
    code = (
        "import importlib.metadata as m, json, sys, commands\n"
        "names = [d.metadata['Name'] + '-' + d.version for d in m.distributions()]\n"
        "print(json.dumps(['%d.%d' % sys.version_info[:2], sorted(names)]))"
    )
    python, names = json.loads(project.python(code))
    assert python == minor
    assert [name for name in names if not name.startswith("pip-")] == sorted(keys)
    assert project.script("commands").code == 3
    assert project.envkit("verify", "--depth", "hashes", "--json").json["differences"] == []


@pytest.mark.parametrize("minor", MINORS)
def test_there_and_back(machine: Machine, minor: str, tmp_path: Path) -> None:
    try:
        # Those of whoever runs the tests, whose home is not the one of the machine here.
        python = interpreter.find(minor, cache=tmp_path / "cache", environ=os.environ)
    except MissingError:
        pytest.skip(f"no Python {minor} here")
    project = machine.project(settings=f'python = "{python.executable}"\n')
    (project.root / "requirements.in").write_text("alpha\n")
    lock(project, KEYS)
    project.install()
    look(project, minor, KEYS)
    assert "Already up to date" in project.install().err
    lock(project, OTHER)
    project.install()
    look(project, minor, OTHER)
    assert project.envkit("rollback").code == 0
    look(project, minor, KEYS)
