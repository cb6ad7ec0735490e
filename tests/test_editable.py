"""The project itself in its environment, its own files being what is imported."""

import json
import shutil
from pathlib import Path

import pytest

from tests.support import Distribution, backend, projects
from tests.support.projects import Machine, Project, snapshot

PYPROJECT = projects.PYPROJECT.replace("@NAME@", "Demo.Project")

ENTRY_POINTS = "[console_scripts]\ndemo = demo:main\n"


@pytest.fixture
def project(machine: Machine) -> Project:
    """A project that has a package, a command and a build backend of its own."""
    made = machine.project()
    made.lock("alpha-1.0")
    (made.describe("Demo.Project") / "entry_points.txt").write_text(ENTRY_POINTS)
    (made.root / "src" / "demo").mkdir()
    (made.root / "src" / "demo" / "__init__.py").write_text("def main():\n    print('first')\n")
    return made


def test_the_project_is_installed(project: Project) -> None:
    result = project.install()
    assert "+ demo-project (editable)" in result.err
    assert project.installed() == {"alpha": "1.0", "demo-project": "1.0"}
    assert project.script("demo").out == "first\n"
    assert "Already up to date" in project.install().err
    assert project.envkit("status").code == 0


def test_an_edit_of_its_source_is_seen(project: Project) -> None:
    project.install()
    source = project.root / "src" / "demo" / "__init__.py"
    source.write_text("def main():\n    print('second')\n")
    assert project.script("demo").out == "second\n"
    assert "Already up to date" in project.install().err


def test_an_edit_of_its_description_builds_it_again(project: Project) -> None:
    project.install()
    info = project.root / "meta" / "demo_project-1.0.dist-info"
    (info / "entry_points.txt").write_text(ENTRY_POINTS.replace("demo =", "renamed ="))
    (project.root / "pyproject.toml").write_text(PYPROJECT + 'description = "Renamed"\n')
    project.install()
    assert project.script("renamed").out == "first\n"
    assert not (project.venv / "bin" / "demo").exists()


def test_pip_knows_that_it_is_editable(project: Project) -> None:
    project.install()
    (info,) = project.site.glob("demo_project-*.dist-info")
    said = json.loads((info / "direct_url.json").read_text())
    assert said == {"dir_info": {"editable": True}, "url": project.root.as_uri()}
    listed = json.loads(project.pip("list", "--editable", "--format", "json").out)
    assert [(one["name"], one["editable_project_location"]) for one in listed] == [
        ("Demo.Project", str(project.root))
    ]
    assert project.pip("uninstall", "--yes", "demo-project").code == 0
    assert project.installed() == {"alpha": "1.0"}
    assert (project.root / "src" / "demo" / "__init__.py").exists()
    assert list(project.site.glob("*emo*")) == []


def test_a_project_that_is_not_to_be_installed(project: Project) -> None:
    (project.root / "envkit.toml").write_text("editable = false\n")
    project.install()
    assert project.installed() == {"alpha": "1.0"}
    (project.root / "envkit.toml").write_text("editable = true\n")
    project.install()
    assert project.installed() == {"alpha": "1.0", "demo-project": "1.0"}


def test_two_projects_of_one_name(project: Project) -> None:
    project.install()
    other = project.machine.project("other")
    leave = shutil.ignore_patterns(".venv")
    shutil.copytree(project.root, other.root, dirs_exist_ok=True, ignore=leave)
    (other.root / "src" / "demo" / "__init__.py").write_text("def main():\n    print('other')\n")
    other.install()
    assert other.script("demo").out == "other\n"
    assert project.script("demo").out == "first\n"


@pytest.mark.parametrize(
    ("code", "phrase"),
    [
        ("def build_editable(*arguments):\n    raise RuntimeError('no luck')\n", "no luck"),
        ("import no_such_module\n", "no_such_module"),
        ("def build_wheel(*arguments):\n    return ''\n", "build_editable"),
    ],
)
def test_a_build_that_fails(project: Project, code: str, phrase: str) -> None:
    (project.root / "envkit.toml").write_text("editable = false\n")
    project.install()
    (project.root / "envkit.toml").write_text("")
    (project.root / "backend.py").write_text(code)
    before = snapshot(project.venv)
    result = project.envkit("install")
    assert result.code == 4, result.text
    assert "Building Demo.Project in editable form failed" in result.err
    assert phrase in result.err
    assert "bug" not in result.err
    assert snapshot(project.venv) == before


def test_what_the_build_needs_and_is_not_there(project: Project) -> None:
    text = PYPROJECT.replace("requires = []", 'requires = ["no-such-thing"]')
    (project.root / "pyproject.toml").write_text(text)
    result = project.envkit("install")
    assert result.code == 4
    assert "no-such-thing" in result.err
    assert not project.venv.exists()


def test_what_the_build_needs_comes_out_of_the_lock(fresh_machine: Machine) -> None:
    """With its own requirements, and without a word with the index; hashes were compared."""
    helper = Distribution(name="helper", files={"helper.py": ""})
    source = Path(backend.__file__).read_text()
    builder = Distribution(
        name="builder",
        files={"builder.py": f"import helper, shutil\n{source}\nassert shutil.which('tool')\n"},
        requires=("helper>=1; python_version > '3'", "absent; python_version < '3'"),
        console_scripts={"tool": "helper:main"},
    )
    fresh_machine.index.add(helper, builder)
    project = described(fresh_machine, 'requires = ["builder>=1,<2"]\nbuild-backend = "builder"\n')
    project.lock(builder, helper)
    project.install()
    assert "demo-project" in project.installed()
    pages = [path for path in fresh_machine.index.requests if path.startswith("/simple/")]
    assert sorted(pages) == ["/simple/builder/", "/simple/helper/"]


def test_what_the_build_needs_in_another_version_is_fetched(fresh_machine: Machine) -> None:
    source = Path(backend.__file__).read_text()
    old, new = (
        Distribution(name="builder", version=version, files={"builder.py": source + more})
        for version, more in (("1.0", "raise SystemExit('too old')\n"), ("2.0", ""))
    )
    fresh_machine.index.add(old, new)
    project = described(fresh_machine, 'requires = ["builder>=2"]\nbuild-backend = "builder"\n')
    project.lock(old)
    project.install()
    assert project.installed() == {"builder": "1.0", "demo-project": "1.0"}


def described(machine: Machine, build_system: str) -> Project:
    """Make a project that is built by a distribution."""
    made = machine.project()
    (made.root / "pyproject.toml").write_text(
        f'[build-system]\n{build_system}\n[project]\nname = "Demo.Project"\nversion = "1.0"\n'
    )
    info = made.root / "meta" / "demo_project-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Demo.Project\nVersion: 1.0\n")
    return made
