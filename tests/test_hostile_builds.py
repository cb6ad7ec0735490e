"""What is built on the spot goes through the same door as what an index offers."""

import pytest

from tests.support import Distribution, good
from tests.support.projects import Machine, Project


def refused(project: Project) -> str:
    """Run an install that has to fail without a trace; return its error, which is two lines."""
    result = project.envkit("install")
    assert result.code == 4, result.text
    assert not project.venv.exists()
    assert project.machine.leftovers() == []
    error = result.err[result.err.index("error: ") :]
    assert error.count("\n") == 2, error
    assert error.replace("\n", "").isprintable()
    assert "Traceback" not in result.text
    return error


@pytest.mark.parametrize(
    ("one", "phrase"),
    [
        (Distribution(name="crafty", files={"evil\x1b[31m.py": ""}), "has an unusable name"),
        (
            Distribution(name="crafty", console_scripts={"--help": "crafty:main"}),
            "entry point '--help'",
        ),
    ],
)
def test_an_sdist_that_builds_a_hostile_wheel(
    fresh_machine: Machine, one: Distribution, phrase: str
) -> None:
    filename = fresh_machine.index.publish(one.sdist(fresh_machine.folder / "made"))
    project = fresh_machine.project()
    digest = fresh_machine.index.sha256(filename)
    project.write_lock([f"crafty==1.0 --hash=sha256:{digest}"])
    before = fresh_machine.entries()
    assert phrase in refused(project)
    assert fresh_machine.entries() == before


@pytest.mark.parametrize(
    ("file", "text", "phrase"),
    [
        ("entry_points.txt", "[console_scripts]\n--help = demo:main\n", "entry point '--help'"),
        ("METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: latest\n", "'latest'"),
    ],
)
def test_a_project_that_builds_a_hostile_wheel(
    machine: Machine, file: str, text: str, phrase: str
) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    (project.describe("demo") / file).write_text(text)
    before = machine.entries()
    assert phrase in refused(project)
    assert machine.entries() == before


def test_a_version_that_was_changed_in_the_lock_alone(fresh_machine: Machine) -> None:
    index = fresh_machine.index
    index.add(good()["alpha-1.0"], good()["alpha-1.1"])
    project = fresh_machine.project()
    digest = index.sha256(good()["alpha-1.0"].filename)
    project.write_lock([f"alpha==1.1 --hash=sha256:{digest}"])
    assert "a hash that is not in the lock" in refused(project)
