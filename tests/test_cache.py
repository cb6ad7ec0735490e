"""`envkit cache`: what takes the space, and the taking away of what nobody uses."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.support import good
from tests.support.projects import Machine, Project, snapshot


@pytest.fixture
def project(fresh_machine: Machine) -> Project:
    """A project on a machine with a store of its own, which has had one lock."""
    keys = ("alpha-1.0", "alpha-1.1", "alpha-2.0", "commands-1.0", "delta-1.0")
    fresh_machine.index.add(*(good()[key] for key in keys))
    made = fresh_machine.project()
    made.lock("alpha-1.0", "commands-1.0")
    made.install()
    return made


def entry(machine: Machine, key: str) -> Path:
    return machine.store / "wheels-v1" / machine.index.sha256(good()[key].filename)


def outdated(project: Project) -> None:
    """Install twice, so that neither environment nor spare has the first lock's distributions."""
    for key in ("alpha-1.1", "alpha-2.0"):
        project.lock(key)
        project.install()


def disk_usage(folder: Path) -> int:
    """Return the bytes on the disk of a folder, as du has them."""
    command = ["du", "--summarize", "--block-size=1", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout.split()[0])


def test_where_it_is(project: Project) -> None:
    assert project.envkit("cache", "dir").out.strip() == str(project.machine.store)
    outside = project.envkit("cache", "dir", below="..")
    assert outside.out.strip() == str(project.machine.store)


def test_the_size_is_what_du_says(project: Project) -> None:
    found = project.envkit("cache", "size", "--json").json
    assert found["total"] == disk_usage(project.machine.store)
    names = {one["name"] for one in found["buckets"]}
    assert {"wheels-v1", "bytecode-v1", "spares-v1", "skeletons-v1"} <= names
    assert found["unused"] == 0


def test_what_is_shared_and_what_is_not(project: Project) -> None:
    other = project.machine.project("other")
    other.lock("alpha-1.0", "delta-1.0")
    other.install()
    found = project.envkit("cache", "size", "--json").json
    shares = {one["project"]: one for one in found["projects"]}
    assert set(shares) == {str(project.root), str(other.root)}
    one, two = shares[str(project.root)], shares[str(other.root)]
    assert one["shared"] == two["shared"] > 0
    assert one["alone"] > 0
    text = project.envkit("cache", "size").out
    assert str(other.root) in text
    assert "unpacked wheels" in text


def test_only_what_no_project_uses_goes(project: Project) -> None:
    machine = project.machine
    outdated(project)
    old = entry(machine, "alpha-1.0")
    kept = [entry(machine, "alpha-1.1"), entry(machine, "alpha-2.0")]
    planned = project.envkit("cache", "prune", "--dry-run", "--json")
    assert planned.json["freed"] > 0
    assert "alpha 1.0" in {one["what"] for one in planned.json["items"]}
    assert old.is_dir()
    result = project.envkit("cache", "prune", "--json")
    assert result.code == 0, result.text
    assert result.json["items"] == planned.json["items"]
    assert not old.exists()
    assert all(one.is_dir() for one in kept)
    assert project.envkit("rollback").code == 0
    assert project.envkit("verify", "--depth", "hashes", "--json").json["differences"] == []
    again = project.envkit("cache", "prune")
    assert "Freed 0 B: 0 folders" in again.out
    assert machine.leftovers() == []
    assert machine.index.downloads(good()["alpha-1.0"].filename) == 1
    project.lock("alpha-1.0")
    project.install()
    assert machine.index.downloads(good()["alpha-1.0"].filename) == 2


def test_what_is_freed_is_what_du_says(project: Project) -> None:
    outdated(project)
    before = disk_usage(project.machine.store)
    freed = project.envkit("cache", "prune", "--json").json["freed"]
    assert freed > 0
    after = disk_usage(project.machine.store)
    assert abs(before - after - freed) <= 4096 * 3


def test_a_project_that_has_gone(project: Project) -> None:
    machine = project.machine
    other = machine.project("other")
    other.lock("delta-1.0")
    other.install()
    shutil.rmtree(other.root)
    assert entry(machine, "delta-1.0").is_dir()
    result = project.envkit("-v", "cache", "prune")
    assert f"spare of {other.root}" in result.out
    assert not entry(machine, "delta-1.0").exists()
    assert entry(machine, "alpha-1.0").is_dir()
    assert len(list((machine.store / "spares-v1").iterdir())) == 1


def test_young_things_are_kept(project: Project) -> None:
    machine = project.machine
    outdated(project)
    result = project.envkit("cache", "prune", "--older-than", "1d", "--json")
    assert result.json["items"] == []
    assert result.json["kept"] > 0
    time.sleep(1.1)
    result = project.envkit("cache", "prune", "--older-than", "1s", "--json")
    assert result.json["items"]
    assert not entry(machine, "alpha-1.0").exists()


def test_down_to_a_size(project: Project) -> None:
    outdated(project)
    total = project.envkit("cache", "size", "--json").json["total"]
    enough = project.envkit("cache", "prune", "--max-size", f"{total + 10**6}B", "--json").json
    assert enough["items"] == []
    some = project.envkit("cache", "prune", "--max-size", f"{total - 1}B", "--dry-run", "--json")
    every = project.envkit("cache", "prune", "--dry-run", "--json")
    assert 0 < len(some.json["items"]) < len(every.json["items"])


@pytest.mark.parametrize(
    "options", [("--older-than", "soon"), ("--max-size", "-1GB"), ("--max-size", "1parsec")]
)
def test_quantities_that_are_none(project: Project, options: tuple[str, str]) -> None:
    result = project.envkit("cache", "prune", *options)
    assert result.code == 2
    assert repr(options[1]) in result.err


def test_what_was_altered_goes(project: Project) -> None:
    path = entry(project.machine, "alpha-1.0") / "tree" / "site" / "alpha" / "__init__.py"
    path.unlink()
    assert project.envkit("verify", "--store").code == 1
    project.install()
    assert list((project.machine.store / "set-aside").iterdir())
    result = project.envkit("-v", "cache", "prune")
    assert "alpha 1.0, found altered" in result.out
    assert not list((project.machine.store / "set-aside").iterdir())


def test_the_store_is_kept_within_bounds_unasked(project: Project) -> None:
    machine = project.machine
    outdated(project)
    machine.environ |= {"ENVKIT_COMPILE": "background", "ENVKIT_CACHE_AGE": "0s"}
    project.lock("alpha-2.0", "delta-1.0")
    project.install()
    machine.rest()
    assert not entry(machine, "alpha-1.0").exists()
    assert entry(machine, "alpha-2.0").is_dir()
    assert project.envkit("verify").code == 0
    # Once a day is enough.
    for key in ("delta-1.0", "commands-1.0"):
        project.lock(key)
        project.install()
    machine.rest()
    assert entry(machine, "alpha-2.0").is_dir()


def test_pruning_changes_no_environment(project: Project) -> None:
    outdated(project)
    before = snapshot(project.venv)
    assert project.envkit("cache", "prune").code == 0
    assert snapshot(project.venv) == before
    assert "Already up to date" in project.install().err
