"""`envkit install`: from one lock to the next, and what it says and leaves."""

import os
import sys
from pathlib import Path

import pytest

from envkit import project as projects
from envkit.installation import execution
from envkit.installation import plan as plans
from envkit.installation.request import Request
from envkit.store.layout import Store
from tests.support import Index, good
from tests.support.projects import PYTHON, Machine, snapshot


def test_fresh_install(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0", "delta-1.0")
    result = project.install()
    assert project.installed() == {"alpha": "1.0", "delta": "1.0"}
    assert project.python("import alpha, delta; print(alpha.__version__)") == "1.0\n"
    assert "+ alpha 1.0\n" in result.err
    assert "+ delta 1.0\n" in result.err
    assert f"2 distributions, Python {PYTHON}" in result.err
    assert result.out == ""


def test_what_the_store_lacks_is_fetched_once(fresh_machine: Machine) -> None:
    index = fresh_machine.index
    index.add(good()["alpha-1.0"], good()["delta-1.0"])
    for name in ("first", "second"):
        project = fresh_machine.project(name)
        project.lock("alpha-1.0", "delta-1.0")
        project.install()
        assert project.installed() == {"alpha": "1.0", "delta": "1.0"}
    assert [index.downloads(good()[key].filename) for key in ("alpha-1.0", "delta-1.0")] == [1, 1]
    assert fresh_machine.leftovers() == []


def test_nothing_to_do(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    project.install()
    before, inode = snapshot(project.venv), project.venv.stat().st_ino
    result = project.install()
    assert result.err.startswith("Already up to date: 1 distribution")
    assert (snapshot(project.venv), project.venv.stat().st_ino) == (before, inode)


def test_nothing_to_do_is_answered_without_heavy_imports(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    project.install()
    traced = project.call([sys.executable, "-X", "importtime", "-m", "envkit", "install"])
    assert "Already up to date" in traced.err
    imported = {line.rpartition("|")[2].strip() for line in traced.err.splitlines()}
    assert "envkit.environment.quick" in imported
    assert imported.isdisjoint({"click", "json", "tomllib", "tomli", "packaging", "subprocess"})


def test_a_touched_lock_is_no_change(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    project.install()
    inode = project.venv.stat().st_ino
    os.utime(project.root / "requirements.txt")
    assert "Already up to date" in project.install().err
    assert project.venv.stat().st_ino == inode
    # Now the new time is known, too.
    assert "Already up to date" in project.install().err


@pytest.mark.parametrize(
    ("before", "after", "said", "modules"),
    [
        (["alpha-1.0"], ["alpha-1.1"], "~ alpha 1.0 -> 1.1", ["alpha.old", "alpha.new"]),
        (["alpha-1.1"], ["alpha-2.0"], "~ alpha 1.1 -> 2.0", ["alpha.new"]),
        (["alpha-2.0"], ["alpha-1.0"], "~ alpha 2.0 -> 1.0", ["alpha.old"]),
        (["alpha-1.0", "delta-1.0"], ["alpha-1.0"], "- delta 1.0", ["alpha.old"]),
        (["alpha-1.0"], ["alpha-1.0", "delta-1.0"], "+ delta 1.0", ["alpha.old", "delta"]),
        (["alpha-1.0"], [], "- alpha 1.0", []),
    ],
    ids=["bump", "major", "downgrade", "removal", "addition", "nothing left"],
)
def test_from_one_lock_to_another(
    machine: Machine, before: list[str], after: list[str], said: str, modules: list[str]
) -> None:
    project = machine.project()
    project.lock(*before)
    project.install()
    project.lock(*after)
    result = project.install()
    assert said in result.err
    assert project.installed() == {key[:-4]: key[-3:] for key in after}
    known = ["alpha.old", "alpha.new", "delta"]
    assert [name for name in known if project.has(name)] == modules


def test_a_patched_environment_is_the_same_as_a_new_one(machine: Machine) -> None:
    project = machine.project()
    for keys in (["alpha-1.0", "space-one-1.0", "paths-1.0"], ["alpha-2.0", "commands-1.0"]):
        project.lock(*keys)
        project.install()
    project.lock("alpha-1.1", "space-one-2.0", "commands-1.0")
    project.install()
    patched = snapshot(project.venv, without=[".envkit"])
    project.venv.rename(machine.folder / "aside")
    for spare in (machine.store / "spares-v1").iterdir():
        spare.rename(machine.folder / spare.name)
    project.install()
    assert snapshot(project.venv, without=[".envkit"]) == patched


def test_to_another_lock_and_back(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0", "forest-1.0")
    text = (project.root / "requirements.txt").read_bytes()
    project.install()
    first, inode = snapshot(project.venv, without=[".envkit"]), project.venv.stat().st_ino
    leaf = project.site / "forest" / "part05" / "leaf007.py"
    project.lock("alpha-1.1", "forest-1.0")
    project.install()
    other = project.venv.stat().st_ino
    assert other != inode
    # Nothing is linked anew: a file's ctime changes with its number of links.
    ctime = leaf.stat().st_ctime_ns
    (project.root / "requirements.txt").write_bytes(text)
    result = project.install()
    assert result.err.startswith("Switched back: 2 distributions")
    assert project.venv.stat().st_ino == inode
    assert snapshot(project.venv, without=[".envkit"]) == first
    assert project.installed()["alpha"] == "1.0"
    project.lock("alpha-1.1", "forest-1.0")
    assert project.install().err.startswith("Switched back")
    assert (project.venv.stat().st_ino, leaf.stat().st_ctime_ns) == (other, ctime)


def test_back_to_a_spare_that_somebody_changed(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    project.install()
    (project.site / "alpha" / "stray.py").write_text("STRAY = True\n")
    project.lock("alpha-1.1")
    project.install()
    project.lock("alpha-1.0")
    project.install()
    assert project.installed() == {"alpha": "1.0"}
    assert not project.has("alpha.stray")


def test_a_lock_that_changes_while_it_is_installed(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    found = projects.read(project.root, machine.environ)
    assert found
    request = Request(
        project=found,
        groups=found.choose(),
        store=Store(root=machine.store),
        environ=machine.environ,
    )
    plan = plans.make(request)
    project.lock("alpha-1.1")
    execution.apply(plan, report=lambda _: None, report_files=lambda _: None)
    assert project.installed() == {"alpha": "1.0"}
    project.install()
    assert project.installed() == {"alpha": "1.1"}


def test_markers(machine: Machine) -> None:
    project = machine.project()
    project.lock(
        "alpha-1.0 ; python_version >= '3.8'",
        "delta-1.0 ; sys_platform == 'vms'",
        "penguin-1.0 ; extra == 'fast'",
    )
    project.install()
    assert project.installed() == {"alpha": "1.0"}


def test_a_lock_with_extras(machine: Machine) -> None:
    project = machine.project()
    project.lock("beta-1.0", "gamma-1.0", "delta-1.0", "alpha-1.1", "penguin-1.0")
    path = project.root / "requirements.txt"
    path.write_text(
        path.read_text().replace("beta==", "beta[fast]==").replace("mma==", "mma[deep]==")
    )
    project.install()
    assert sorted(project.installed()) == ["alpha", "beta", "delta", "gamma", "penguin"]
    assert project.pip("check").code == 0


def test_a_lock_in_the_form_of_pip_compile(machine: Machine) -> None:
    project = machine.project()
    digest = machine.index.sha256(good()["alpha-1.0"].filename)
    project.write_lock(
        [
            "#",
            "# This file is autogenerated by pip-compile with Python 3.11",
            "#",
            "alpha==1.0 ; python_version >= '3' \\",
            f"    --hash=sha256:{digest} \\",
            f"    --hash=sha256:{'0' * 64}",
            "    # via -r requirements.in",
        ]
    )
    project.install()
    assert project.installed() == {"alpha": "1.0"}


def test_from_a_folder_below(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    (project.root / "src" / "deep").mkdir(parents=True)
    assert project.envkit("install", below="src/deep").code == 0
    assert project.installed() == {"alpha": "1.0"}
    assert "Already up to date" in project.envkit("install", below="src").err


def test_a_removed_environment_comes_back_from_the_store(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0", "schemes-1.0")
    project.install()
    before = snapshot(project.venv, without=[".envkit"])
    project.venv.rename(machine.folder / "gone")
    asked = len(machine.index.requests)
    project.install("--offline")
    assert snapshot(project.venv, without=[".envkit"]) == before
    assert len(machine.index.requests) == asked


def test_a_moved_project(machine: Machine) -> None:
    project = machine.project("before")
    project.lock("commands-1.0")
    project.install()
    moved = machine.project("after")
    (moved.root / "envkit.toml").unlink()
    moved.root.rmdir()
    project.root.rename(moved.root)
    moved.install()
    assert moved.script("commands").out == "main\n"
    first = (moved.venv / "bin" / "commands").read_text().splitlines()[0]
    assert first == f"#!{moved.venv}/bin/python"


def test_a_foreign_environment_is_left_alone(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    project.call([sys.executable, "-m", "venv", "--without-pip", ".venv"])
    (project.venv / "mine.txt").write_text("mine\n")
    before = snapshot(project.venv)
    result = project.envkit("install")
    assert result.code == 2
    assert "was not made by envkit" in result.err
    assert "--replace" in result.err
    assert snapshot(project.venv) == before
    project.install("--replace")
    assert project.installed() == {"alpha": "1.0"}
    assert not (project.venv / "mine.txt").exists()
    project.lock("alpha-1.1")
    project.install()
    assert project.installed() == {"alpha": "1.1"}


def test_a_link_in_the_place_of_the_environment(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    elsewhere = machine.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.txt").write_text("mine\n")
    project.venv.symlink_to(elsewhere)
    result = project.envkit("install")
    assert result.code == 2
    assert "is not a folder" in result.err
    assert os.listdir(elsewhere) == ["mine.txt"]


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_was_replaced_is_not_followed(machine: Machine, kind: str) -> None:
    project = machine.project()
    elsewhere = machine.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.txt").write_text("mine\n")
    if kind == "link":
        project.venv.symlink_to(elsewhere)
    else:
        project.venv.write_text("not a folder\n")
    for key in ("alpha-1.0", "alpha-1.1", "alpha-2.0"):
        project.lock(key)
        project.install("--replace")
        assert project.installed() == {"alpha": key.partition("-")[2]}
    assert snapshot(elsewhere).keys() == {"mine.txt"}


def test_modules_of_the_project_do_not_get_in_the_way(fresh_machine: Machine) -> None:
    # As the installed command, which does not look for modules in the folder that it runs in.
    index = fresh_machine.index
    index.add(good()["alpha-1.0"], good()["sourced-1.0"])
    project = fresh_machine.project()
    project.lock("alpha-1.0", "sourced-1.0")
    for name in ("json", "zipfile", "csv", "virtualenv", "packaging", "envkit", "pip"):
        (project.root / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    command = fresh_machine.folder / "command.py"
    command.write_text("from envkit.__main__ import command\ncommand()\n")
    for skeleton in (fresh_machine.store / "skeletons-v1").iterdir():
        skeleton.rename(fresh_machine.folder / skeleton.name)
    result = project.call([sys.executable, str(command), "install"])
    assert result.code == 0, result.text
    assert (project.site / "sourced").is_dir()


def test_an_index_with_a_password(tmp_path: Path, bare_store: Path) -> None:
    with Index(tmp_path / "index", username="ada", password="s3cret") as index:
        index.add(good()["alpha-1.0"])
        machine = Machine(tmp_path, index)
        machine.seed_from(bare_store)
        project = machine.project()
        project.lock("alpha-1.0")
        result = project.install()
        assert "s3cret" not in result.text
        assert project.installed() == {"alpha": "1.0"}
    for path in (*project.root.rglob("*"), *machine.store.rglob("*")):
        if path.is_file() and not path.is_symlink():
            assert b"s3cret" not in path.read_bytes(), path
