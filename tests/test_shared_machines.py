"""Machines that several people use: whose files are taken, and whose are refused."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import good
from tests.support.projects import SITE, Machine, Project, snapshot

KEYS = ("alpha-1.0", "commands-1.0", "schemes-1.0")

# A user who is neither root nor whoever runs the tests.
STRANGER = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def common(full_store: Path, tmp_path: Path) -> Path:
    """An administrator's store, which has all good distributions with their byte-code."""
    folder = tmp_path / "common"
    shutil.copytree(full_store, folder, symlinks=True)
    # Copied files have other inodes than their manifests say, which is no matter to who copies.
    return folder


@pytest.fixture
def project(fresh_machine: Machine, common: Path) -> Project:
    """A project on a machine that has nothing of its own and no index, but a store to read."""
    fresh_machine.index.add(*(good()[key] for key in (*KEYS, "delta-1.0")))
    made = fresh_machine.project()
    made.lock(*KEYS)
    fresh_machine.environ["ENVKIT_STORE_READONLY"] = str(common)
    return made


def wheel(folder: Path, project: Project, key: str = "alpha-1.0") -> Path:
    return folder / "wheels-v1" / project.machine.index.sha256(good()[key].filename)


def test_what_a_read_only_store_has_is_not_fetched(project: Project, common: Path) -> None:
    before = snapshot(common)
    project.install("--offline")
    assert project.installed() == {"alpha": "1.0", "commands": "1.0", "schemes": "1.0"}
    assert project.envkit("verify", "--depth", "hashes").code == 0
    assert snapshot(common) == before
    for key in KEYS:
        assert project.machine.index.downloads(good()[key].filename) == 0
    # What is used is one's own: the other store may go.
    shutil.rmtree(common)
    other = project.machine.project("other")
    other.lock(*KEYS)
    other.install("--offline")


def test_what_it_lacks_is_looked_for_in_the_next_and_then_fetched(
    project: Project, common: Path, tmp_path: Path
) -> None:
    second = tmp_path / "second"
    shutil.copytree(common, second, symlinks=True)
    shutil.rmtree(wheel(common, project))
    shutil.rmtree(wheel(common, project, "delta-1.0"))
    shutil.rmtree(wheel(second, project, "delta-1.0"))
    stores = os.pathsep.join([str(tmp_path / "absent"), str(common), str(second)])
    project.machine.environ["ENVKIT_STORE_READONLY"] = stores
    project.lock(*KEYS, "delta-1.0")
    project.install()
    index = project.machine.index
    counts = {key: index.downloads(good()[key].filename) for key in (*KEYS, "delta-1.0")}
    assert counts == {**dict.fromkeys(KEYS, 0), "delta-1.0": 1}


def test_what_was_altered_in_it_is_passed_over(project: Project, common: Path) -> None:
    path = wheel(common, project) / "tree" / "site" / "alpha" / "__init__.py"
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[:-1] + b"#")
    result = project.install()
    assert "Passed over in a read-only store" in result.err
    assert str(path) in result.err
    assert (project.site / "alpha" / "__init__.py").read_bytes() == content
    assert project.machine.index.downloads(good()["alpha-1.0"].filename) == 1


@pytest.mark.parametrize("mode", [0o775, 0o757], ids=["by-its-group", "by-all"])
@pytest.mark.parametrize("which", ["store", "selections", "bucket", "entry"])
def test_a_read_only_store_that_others_can_write_is_refused(
    project: Project, common: Path, which: str, mode: int
) -> None:
    place = {
        "store": common,
        "selections": common / "selections-v1",
        "bucket": common / "wheels-v1",
        "entry": wheel(common, project),
    }[which]
    place.chmod(mode)
    result = project.envkit("install")
    assert result.code == 2, result.text
    assert f"{place} can be written by others" in result.err
    assert not project.venv.exists()


@as_root
@pytest.mark.parametrize("which", ["store", "entry"])
def test_a_read_only_store_of_another_user_is_refused(
    project: Project, common: Path, which: str
) -> None:
    place = common if which == "store" else wheel(common, project)
    os.chown(place, STRANGER, -1)
    result = project.envkit("install")
    assert result.code == 2, result.text
    assert f"{place} belongs to user" in result.err
    assert not project.venv.exists()


def test_a_store_of_ones_own_that_others_can_write_is_refused(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    machine.store.chmod(0o777)
    result = project.envkit("install")
    assert result.code == 2
    assert f"{machine.store} can be written by others" in result.err
    assert f"chmod go-w {machine.store}" in result.err
    machine.store.chmod(0o755)
    project.install()


@as_root
def test_an_entry_of_another_user_is_refused(project: Project) -> None:
    project.install()
    place = wheel(project.machine.store, project)
    os.chown(place, STRANGER, -1)
    project.lock("alpha-1.0")
    result = project.envkit("install")
    assert result.code == 2
    assert f"{place} belongs to user" in result.err


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077])
def test_whatever_the_umask_nobody_else_can_write_the_store(
    fresh_machine: Machine, umask: int
) -> None:
    fresh_machine.index.add(*(good()[key] for key in KEYS))
    shutil.rmtree(fresh_machine.store)
    project = fresh_machine.project()
    project.lock(*KEYS)
    done = subprocess.run(
        [sys.executable, "-m", "envkit", "install"],
        cwd=project.root,
        env=fresh_machine.environ,
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for place in (fresh_machine.store, project.venv):
        for folder, _, names in os.walk(place):
            for path in (Path(folder), *(Path(folder, name) for name in names)):
                if not path.is_symlink():
                    assert not path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH), path
    project.python("import alpha")
    assert (project.venv / SITE).is_dir()
