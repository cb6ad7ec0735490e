"""`envkit lock`, through the real pip-tools and an index of the tests' own."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import Distribution, Index, good
from tests.support.projects import PYTHON, Machine, Project, snapshot

PIN = re.compile(r"^([a-z0-9-]+)==(\S+) .*\\$", re.MULTILINE)


@pytest.fixture
def published_machine(published: Index, tmp_path: Path) -> Machine:
    """A machine with nothing in its store; nobody may change its index."""
    return Machine(tmp_path, published)


@pytest.fixture
def project(published_machine: Machine) -> Project:
    return published_machine.project()


def write(project: Project, **files: str) -> None:
    """Write `.in` files: a group's name and its text."""
    for group, text in files.items():
        suffix = "" if group == "default" else f"-{group}"
        (project.root / f"requirements{suffix}.in").write_text(text)


def text_of(project: Project, group: str = "default") -> str:
    suffix = "" if group == "default" else f"-{group}"
    return (project.root / f"requirements{suffix}.txt").read_text()


def locked(project: Project, group: str = "default") -> dict[str, str]:
    return dict(PIN.findall(text_of(project, group)))


def relock(project: Project, *options: str, code: int = 0) -> str:
    result = project.envkit("lock", *options)
    assert result.code == code, result.text
    return result.text


def found(minor: str, cache: Path) -> str:
    """Return the path of an interpreter of this user's own; empty if there is none."""
    code = (
        "import os, pathlib, sys\n"
        "from envkit import interpreter\n"
        "cache = pathlib.Path(sys.argv[2])\n"
        "print(interpreter.find(sys.argv[1], cache=cache, environ=os.environ).executable)"
    )
    command = [sys.executable, "-c", code, minor, str(cache)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def test_a_lock(project: Project) -> None:
    write(project, default="above\nbeta[fast]  # quick\n")
    said = relock(project)
    assert "requirements.txt is new: 6 distributions" in said
    text = text_of(project)
    first, second = text.splitlines()[:2]
    assert first == (
        "# Locked by envkit from requirements.in. Change that file, then run `envkit lock`."
    )
    assert re.fullmatch(rf"# envkit-lock: python={PYTHON} inputs=sha256:[0-9a-f]{{64}}", second)
    assert locked(project) == {
        **dict.fromkeys(("above", "beta", "delta", "gamma", "penguin"), "1.0"),
        "alpha": "1.1",
    }
    digest = project.machine.index.sha256(good()["alpha-1.1"].filename)
    assert (
        f"alpha==1.1 \\\n    --hash=sha256:{digest}\n    # via\n    #   above\n    #   beta\n"
        in text
    )
    assert "    # via -r requirements.in\n" in text
    assert "[" not in text
    assert project.machine.index.host not in text
    assert str(project.root) not in text
    assert project.machine.leftovers() == []


def test_locking_again_changes_nothing(project: Project) -> None:
    write(project, default="above\n", dev="delta\n")
    relock(project)
    before = snapshot(project.root)
    times = [path.stat().st_mtime_ns for path in sorted(project.root.iterdir())]
    (project.root / "deep" / "er").mkdir(parents=True)
    result = project.envkit("lock", below="deep/er")
    assert "requirements.txt is up to date: 2 distributions" in result.err
    assert "requirements-dev.txt is up to date: 1 distribution" in result.err
    (project.root / "deep" / "er").rmdir()
    (project.root / "deep").rmdir()
    assert snapshot(project.root) == before
    assert [path.stat().st_mtime_ns for path in sorted(project.root.iterdir())] == times


def test_the_same_lock_in_another_folder(published_machine: Machine) -> None:
    texts = set()
    for name in ("aaa", "zzz/project"):
        made = published_machine.project(name)
        (made.root.parent / "common.in").write_text("alpha\n")
        write(made, default="-r ../common.in\nabove\nalpha>=1\n")
        relock(made)
        texts.add(text_of(made))
    assert len(texts) == 1
    assert "    # via\n    #   -r ../common.in\n    #   -r requirements.in\n    #   above\n" in (
        texts.pop()
    )


def test_pins_are_kept_until_let_go_of(index: Index, tmp_path: Path) -> None:
    made = Machine(tmp_path, index).project()
    index.add(good()["alpha-1.0"], good()["mixed-case-name-1.0"])
    write(made, default="alpha\nmixed.case_name\n")
    relock(made)
    index.add(good()["alpha-1.1"], good()["alpha-2.0"], good()["mixed-case-name-1.1"])
    assert "up to date" in relock(made)
    said = relock(made, "--upgrade-package", "alpha<2")
    assert "~ alpha 1.0 -> 1.1" in said
    assert locked(made) == {"alpha": "1.1", "mixed-case-name": "1.0"}
    assert "~ alpha 1.1 -> 2.0" in relock(made, "-P", "alpha")
    relock(made, "--upgrade")
    assert locked(made) == {"alpha": "2.0", "mixed-case-name": "1.1"}
    write(made, default="alpha<2\n")
    said = relock(made)
    assert "- mixed-case-name 1.1" in said
    assert locked(made) == {"alpha": "1.1"}


def test_letting_go_of_what_is_not_there(project: Project) -> None:
    write(project, default="delta\n")
    assert "--upgrade-package nothing: no lock has nothing" in relock(project, "-P", "nothing")
    assert "is not a requirement" in relock(project, "-P", "=>", code=2)
    assert "adds nothing" in relock(project, "-U", "-P", "delta", code=2)


def test_groups_agree_with_the_default_one(project: Project) -> None:
    # By itself, dev would take alpha 2.0.
    write(project, default="beta\n", dev="above\n", extra="-c requirements.txt\nalpha\n")
    relock(project)
    assert locked(project)["alpha"] == "1.1"
    for group in ("dev", "extra"):
        assert locked(project, group)["alpha"] == "1.1"
        assert "    #   -c requirements.txt\n" in text_of(project, group)
    # The constraint is the lock that is being made, not the one that it takes the place of.
    write(project, default="alpha==1.0\n")
    relock(project)
    assert [locked(project, group)["alpha"] for group in ("dev", "extra")] == ["1.0", "1.0"]
    assert relock(project, "--check").count("is up to date") == 3


def test_one_group_alone(project: Project) -> None:
    write(project, default="delta\n", dev="above\n")
    relock(project, "--group", "dev")
    assert not (project.root / "requirements.txt").exists()
    assert locked(project, "dev") == {"above": "1.0", "alpha": "2.0"}
    said = relock(project, "--group", "docs", code=2)
    assert "There is no group docs: requirements-docs.in does not exist" in said
    assert "Groups here: default, dev." in said


def test_dependencies_in_pyproject(project: Project) -> None:
    (project.root / "envkit.toml").unlink()
    (project.root / "pyproject.toml").write_text(
        '[project]\nname = "demo"\nversion = "1"\ndependencies = ["above", "delta"]\n'
        "[tool.envkit]\n"
    )
    write(project, default="alpha<2\n")
    relock(project)
    text = text_of(project)
    assert text.startswith(
        "# Locked by envkit from requirements.in and pyproject.toml. Change those"
    )
    assert "    # via demo (pyproject.toml)\n" in text
    assert "    #   -r requirements.in\n    #   above\n" in text
    assert locked(project) == {"above": "1.0", "alpha": "1.1", "delta": "1.0"}


def test_nothing_is_wanted_yet(project: Project) -> None:
    assert "nothing to lock: no requirements.in" in relock(project, code=2)
    write(project, default="# soon\n")
    assert "requirements.txt is new: 0 distributions" in relock(project)
    assert len(text_of(project).splitlines()) == 2
    relock(project, "--check")


def test_check(project: Project) -> None:
    assert "requirements.txt does not exist" not in relock(project, "--check", code=2)
    write(project, default="alpha<2\n")
    assert "requirements.txt does not exist; run `envkit lock`" in relock(
        project, "--check", code=1
    )
    relock(project)
    relock(project, "--check")
    write(project, default="alpha<1.1\n")
    asked = len(project.machine.index.requests)
    before = snapshot(project.root)
    said = relock(project, "--check", code=1)
    assert "requirements.txt is older than what requirements.in asks for" in said
    assert len(project.machine.index.requests) == asked
    relock(project, "--python", "9.9", "--check", code=1)
    assert snapshot(project.root) == before


def test_check_compiles_anew(index: Index, tmp_path: Path) -> None:
    made = Machine(tmp_path, index).project()
    index.add(good()["above-1.0"], good()["alpha-1.0"])
    write(made, default="above\n")
    relock(made)
    before = text_of(made)
    path = made.root / "requirements.txt"
    path.write_text(before[: before.index("alpha==")])
    result = made.envkit("lock", "--check")
    assert (result.code, result.out) == (1, "  + alpha 1.0\n")
    assert path.read_text() == before[: before.index("alpha==")]
    as_json = made.envkit("lock", "--check", "--json")
    assert (as_json.code, as_json.json["fresh"], as_json.json["written"]) == (1, False, False)
    assert as_json.json["groups"]["default"]["changes"] == [
        {"name": "alpha", "old": "", "new": "1.0"}
    ]


def test_check_of_a_lock_that_somebody_else_made(project: Project) -> None:
    write(project, default="alpha\n")
    (project.root / "requirements.txt").write_text(f"alpha==2.0 --hash=sha256:{'0' * 64}\n")
    assert "was not made by `envkit lock`" in relock(project, "--check", code=1)


def test_dry_run(project: Project) -> None:
    write(project, default="alpha<2\n")
    relock(project)
    write(project, default="above\nalpha<1.1\n")
    before = snapshot(project.root)
    result = project.envkit("lock", "--dry-run")
    assert (result.code, result.out) == (0, "  + above 1.0\n  ~ alpha 1.1 -> 1.0\n")
    assert snapshot(project.root) == before
    report = project.envkit("lock", "-n", "--json").json
    assert report["groups"]["default"]["pins"] == 2
    path = project.root / "requirements.txt"
    path.chmod(0o640)
    result = project.envkit("-q", "lock", "--json")
    assert (result.err, result.json["written"]) == ("", True)
    assert result.json["groups"]["default"]["lock"] == "requirements.txt"
    assert locked(project) == {"above": "1.0", "alpha": "1.0"}
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("minor", ["3.10", "3.11", "3.12", "3.13", "3.14"])
def test_for_another_python(minor: str, index: Index, tmp_path: Path) -> None:
    executable = found(minor, tmp_path / "cache")
    if not executable:
        pytest.skip(f"no Python {minor} here")
    made = Machine(tmp_path, index).project()
    index.add(good()["alpha-1.0"], good()["sourced-1.0"], Distribution(name="new"))
    write(made, default="alpha\nnew; python_version >= '3.12'\nsourced\n")
    relock(made, "--python", executable)
    assert f"# envkit-lock: python={minor} " in text_of(made)
    assert ("new" in locked(made)) is (tuple(map(int, minor.split("."))) >= (3, 12))


def test_the_setting_is_what_the_lock_is_for(published_machine: Machine) -> None:
    wide = f">={PYTHON}, <4"
    made = published_machine.project(settings=f'python = "{wide}"\n')
    write(made, default="alpha\n")
    relock(made)
    assert f"# envkit-lock: python=>={PYTHON},<4 " in text_of(made)
    (made.root / "envkit.toml").write_text(f'python = "{PYTHON}"\n')
    said = relock(made, "--check", code=1)
    assert f"requirements.txt is for Python >={PYTHON},<4, not {PYTHON}" in said


def test_an_interpreter_that_is_not_there(project: Project) -> None:
    write(project, default="alpha\n")
    said = relock(project, "--python", "3.99", code=3)
    assert "Python 3.99 is asked for, and no interpreter on this machine is one" in said


def test_a_killed_lock_leaves_everything(index: Index, tmp_path: Path) -> None:
    made = Machine(tmp_path, index).project()
    index.add(good()["alpha-1.0"])
    write(made, default="alpha\n")
    relock(made)
    before = snapshot(made.root)
    # Without metadata beside it, the file itself is asked for, and that takes its time.
    slow = good()["sourced-1.0"]
    index.add(slow)
    index.delay(slow.filename, 60)
    for number in (signal.SIGKILL, signal.SIGINT):
        write(made, default="alpha\n", dev="sourced\n")
        asked = index.downloads(slow.filename)

        def waiting(asked: int = asked) -> None:
            limit = time.monotonic() + 30
            while index.downloads(slow.filename) == asked and time.monotonic() < limit:
                time.sleep(0.02)

        result = made.stopped("lock", when=waiting, number=number)
        assert result.code in (130, -signal.SIGKILL)
        (made.root / "requirements-dev.in").unlink()
        assert snapshot(made.root) == before
    index.heal(slow.filename)
    write(made, dev="sourced\n")
    relock(made)
    assert made.machine.leftovers() == []
