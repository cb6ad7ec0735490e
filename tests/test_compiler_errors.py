"""What `envkit lock` says when it cannot lock: who wants what, where it is written, what to do."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from envkit.locks import resolution
from envkit.locks.requirements import Line
from envkit.locks.resolution import Context
from tests.support import Distribution, Index, good
from tests.support.projects import Machine, Project, snapshot


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine that knows an index with distributions that cannot all be locked."""
    folder = tmp_path_factory.mktemp("machine")
    with Index(folder / "index") as index:
        index.add(*good().values())
        index.add(Distribution(name="wants-ghost", requires=("ghost>=3",)))
        index.add(Distribution(name="future", requires_python=">=3.99"))
        index.publish(broken_sdist(folder))
        yield Machine(folder, index)


def broken_sdist(folder: Path) -> Path:
    """Write an sdist whose build says that there is no compiler."""
    root = folder / "broken-1.0"
    root.mkdir()
    (root / "PKG-INFO").write_text(
        "Metadata-Version: 2.2\nName: broken\nVersion: 1.0\nDynamic: Requires-Dist\n"
    )
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (root / "backend.py").write_text("raise SystemExit('no compiler here')\n")
    return Path(shutil.make_archive(str(folder / "broken-1.0"), "gztar", folder, "broken-1.0"))


def refused(project: Project, text: str, code: int = 2) -> str:
    """Return what is said of requirements that cannot be locked, and see that nothing changed."""
    (project.root / "requirements.in").write_text(text)
    before = snapshot(project.root)
    result = project.envkit("lock")
    assert result.code == code, result.text
    assert snapshot(project.root) == before
    assert "Traceback" not in result.text
    assert project.machine.leftovers() == []
    return result.err


@pytest.fixture
def project(machine: Machine, request: pytest.FixtureRequest) -> Project:
    return machine.project(request.node.name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alpha\nbeta=>2\n", "requirements.in:2: not a requirement: 'beta=>2'"),
        ("\n# x\n-e ./alpha\n", "requirements.in:3: an editable requirement cannot be locked"),
        (
            "a @ git+https://u:s3cret@example.org/a\n",
            "requirements.in:1: git+https is version control",
        ),
        ("git+ssh://git@example.org/a\n", "requirements.in:1: git+ssh is version control"),
        ("./alpha-1.0.whl\n", "requirements.in:1: a path of this machine cannot be locked"),
        ("alpha-1.0.tar.gz\n", "requirements.in:1: a path of this machine cannot be locked"),
        ("a @ file:///srv/a.whl\n", "requirements.in:1: a path of this machine cannot be locked"),
        (".\n", "requirements.in:1: a path of this machine cannot be locked"),
        ("a @ https://u:s3cret@h/a.whl\n", "requirements.in:1: the address holds a secret"),
        ("a @ https://h/a.whl?key=${KEY}\n", "requirements.in:1: the address holds a secret"),
        ("alpha\n-r nowhere.in\n", "requirements.in:2: nowhere.in does not exist"),
        ("alpha \\\n  >=1, \\\n  =>2\n", "requirements.in:1: not a requirement"),
    ],
)
def test_what_is_told_without_asking_anybody(machine: Machine, text: str, said: str) -> None:
    asked = len(machine.index.requests)
    project = machine.project(f"project-{len(list(machine.folder.iterdir()))}")
    message = refused(project, text)
    assert message.startswith(f"error: {said}")
    assert "s3cret" not in message
    assert len(machine.index.requests) == asked


def test_a_conflict(project: Project) -> None:
    assert refused(project, "# x\nbeta\nalpha>=2\n") == (
        "error: requirements.in cannot be resolved: no version of alpha satisfies all of these\n"
        "  requirements.in:3 wants alpha>=2\n"
        "  beta 1.0 wants alpha<2\n"
        "hint: Loosen or drop one of these in the .in file, then run `envkit lock` again.\n"
    )


def test_a_conflict_with_the_default_group(project: Project) -> None:
    (project.root / "requirements-dev.in").write_text("alpha>=2\n")
    message = refused(project, "beta\n")
    assert message.startswith("error: requirements-dev.in cannot be resolved: no version of alpha")
    assert "  requirements-dev.in:1 wants alpha>=2\n" in message
    assert "  requirements.txt wants alpha==1.1\n" in message


def test_an_unknown_distribution(project: Project) -> None:
    message = refused(project, "\n\nalpah\n")
    assert message.startswith("error: requirements.in:3 wants alpah: the index has no distribution")
    assert "Check the spelling" in message


def test_a_distribution_that_another_one_wants(project: Project) -> None:
    message = refused(project, "wants-ghost\n")
    assert message.startswith("error: wants-ghost wants ghost>=3: the index has no distribution")


def test_a_version_that_is_not_there(project: Project) -> None:
    message = refused(project, "alpha>=9\n")
    assert message.startswith("error: requirements.in:1 wants alpha>=9: there is no such version")
    assert "1.0, 1.1, 2.0" in message


def test_a_version_for_another_python(project: Project) -> None:
    message = refused(project, "future\n")
    assert "requirements.in:1 wants future, which needs another Python than 3." in message
    assert "1.0 needs >=3.99" in message


def test_an_option_that_pip_does_not_have(project: Project) -> None:
    assert "requirements.in:2: pip has no option --bogus" in refused(project, "alpha\n--bogus x\n")


def test_a_build_that_fails(project: Project) -> None:
    message = refused(project, "broken\n", code=4)
    assert "broken cannot be built for Python 3." in message
    assert "\n  no compiler here\n" in message


def test_no_network(index: Index, tmp_path: Path) -> None:
    project = Machine(tmp_path, index).project()
    index.add(good()["alpha-1.0"])
    (project.root / "requirements.in").write_text("alpha\n")
    assert project.envkit("lock").code == 0
    project.machine.environ["PIP_INDEX_URL"] = "http://u:s3cret@127.0.0.1:9/simple/"
    for text in ("alpha\n", "alpha\ndelta\n"):
        message = refused(project, text, code=4)
        assert message.startswith("error: requirements.in cannot be locked: the index cannot be re")
        assert "s3cret" not in message


def test_an_index_that_wants_to_know_who_asks(tmp_path: Path) -> None:
    with Index(tmp_path / "index", username="joe", password="s3cret") as index:
        index.add(good()["alpha-1.0"])
        machine = Machine(tmp_path, index)
        project = machine.project()
        for url in (index.url, index.url_with_credentials.replace("s3cret", "wr0ng")):
            machine.environ["PIP_INDEX_URL"] = url
            message = refused(project, "alpha\n", code=4)
            assert "requirements.in cannot be locked: the index refuses access" in message
            assert "wr0ng" not in message
        # What pip does with an index that is named here is done; the lock does not name it.
        machine.environ["PIP_INDEX_URL"] = "http://127.0.0.1:9/simple/"
        text = f"--index-url {index.url_with_credentials}\nalpha\n"
        (project.root / "requirements.in").write_text(text)
        assert project.envkit("lock").code == 0
        locked = (project.root / "requirements.txt").read_text()
        assert "alpha==1.0" in locked
        assert not any(word in locked for word in ("s3cret", "joe", "http", index.host))


def test_links_beside_the_file_that_names_them(index: Index, tmp_path: Path) -> None:
    project = Machine(tmp_path, index).project()
    folder = project.root / "more" / "wheels"
    good()["alpha-1.0"].archive(folder)
    (project.root / "more" / "base.in").write_text("--find-links wheels\nalpha\n")
    (project.root / "requirements.in").write_text("-r more/base.in\n")
    result = project.envkit("lock")
    assert result.code == 0, result.text
    assert "    # via -r more/base.in\n" in (project.root / "requirements.txt").read_text()


def test_a_users_own_settings_of_pip_tools_do_not_count(machine: Machine) -> None:
    project = machine.project("with-settings")
    (project.root / "requirements.in").write_text("alpha\n")
    (project.root / ".pip-tools.toml").write_text(
        "[tool.pip-tools]\ngenerate-hashes = false\nannotate = false\n"
    )
    assert project.envkit("lock").code == 0
    text = (project.root / "requirements.txt").read_text()
    assert "--hash=sha256:" in text
    assert "# via" in text


def test_a_project_in_a_repository_stays_clean(machine: Machine) -> None:
    project = machine.project("repository")
    git = shutil.which("git") or pytest.skip("no git here")
    subprocess.run([git, "init", "-q", project.root], check=True)
    (project.root / "requirements.in").write_text("alpha\n")
    assert project.envkit("lock").code == 0
    assert sorted(path.name for path in project.root.iterdir()) == [
        ".git",
        "envkit.toml",
        "requirements.in",
        "requirements.txt",
    ]


CONTEXT = Context(
    group="requirements.in",
    python="3.12.1",
    lines=(Line(file="requirements.in", number=4, text="Pandas >= 2.3"),),
    pins={"numpy==1.26.4": "requirements.txt"},
    upgrades=("scipy<2",),
)


def test_many_versions_are_told_as_a_range() -> None:
    error = resolution.explain(
        "The conflict is caused by:\n"
        "    The user requested pandas>=2.3\n"
        "    pandas 2.3.2 depends on numpy>=2\n"
        "    pandas 2.3.1 depends on numpy>=2\n"
        "    The user requested (constraint) numpy==1.26.4\n"
        "    The user requested scipy<2\n"
        "\n"
        "To fix this you could try to:\n"
        "1. loosen the range\n",
        CONTEXT,
    )
    assert error.message.splitlines() == [
        "requirements.in cannot be resolved: no version of numpy satisfies all of these",
        "  requirements.in:4 wants pandas>=2.3",
        "  pandas 2.3.1 to 2.3.2 wants numpy>=2",
        "  requirements.txt wants numpy==1.26.4",
        "  --upgrade-package wants scipy<2",
    ]


def test_the_last_word_counts() -> None:
    conflict = "The conflict is caused by:\n    The user requested a<2\n"
    missing = (
        "ERROR: Could not find a version that satisfies the requirement a>9 (from versions: 1, 2)\n"
    )
    assert "cannot be resolved" in resolution.explain(missing + conflict, CONTEXT).message
    assert "no such version" in resolution.explain(conflict + missing, CONTEXT).message


def test_what_is_not_known_is_shown_without_secrets() -> None:
    error = resolution.explain(
        "Traceback:\n  File x\npip._internal.exceptions.Odd: https://joe:s3cret@h/ is odd\n",
        CONTEXT,
    )
    assert error.message == "requirements.in cannot be locked:\nhttps://****@h/ is odd"
