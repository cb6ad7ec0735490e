"""Locks in any order, edits by hand in between: what there is in the end is the last lock's."""

import os
import random
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support import Distribution, Index
from tests.support.projects import Machine, Project, Snapshot, snapshot

# How many sequences are gone through, and how many with --thorough.
FEW, MANY = 8, 400

NAMES = ("one", "two", "three", "four", "five")

# Few, so that distributions often have one path, each with a content of its own.
FOLDERS = ("", "common/", "common/deep/", "other/", "space/")
MODULES = ("alpha", "beta", "gamma", "__init__")

SETTINGS = ("", "", 'link = "copy"\n', 'python = ">=3.9"\ngroups = ["default"]\n')

distributions = st.builds(
    lambda name, number, modules, script, data: Distribution(
        name=name,
        version=f"{number}.0",
        files={f"{module}.py": f"WHOSE = {name + str(number)!r}\n" for module in sorted(modules)},
        console_scripts={script: "common:main"} if script else {},
        data={"share/note.txt": name} if data else {},
    ),
    name=st.sampled_from(NAMES),
    number=st.integers(1, 2),
    modules=st.sets(
        st.builds(str.__add__, st.sampled_from(FOLDERS), st.sampled_from(MODULES)),
        min_size=1,
        max_size=6,
    ),
    script=st.sampled_from(["", "", "tool", "other-tool"]),
    data=st.booleans(),
)

# Each lock is an order of some of the distributions, one version of each name.
locks = st.lists(st.permutations(NAMES).map(lambda names: names[:3]), min_size=3, max_size=5)


@given(
    pool=st.lists(
        distributions, unique_by=lambda one: (one.name, one.version), min_size=6, max_size=10
    ),
    wanted=locks,
    seed=st.integers(0, 10**6),
)
def sequence(store: Path, pool: list[Distribution], wanted: list[Sequence[str]], seed: int) -> None:
    """Go through a sequence of locks, and compare what it leads to with a new environment."""
    chance = random.Random(seed)  # noqa: S311
    with tempfile.TemporaryDirectory() as folder, Index(Path(folder, "index")) as index:
        index.add(*pool)
        machine = Machine(Path(folder, "machine"), index)
        machine.seed_from(store)
        machine.environ["ENVKIT_COMPILE"] = chance.choice(["now", "off"])
        project = machine.project(settings=chance.choice(SETTINGS))
        chosen: list[Distribution] = []
        for names in wanted:
            before, chosen = chosen, _some(pool, names, chance)
            project.lock(*chosen)
            project.install()
            if before and chance.random() < 0.3:
                # Two locks can be the same: then there is nothing to go back to.
                assert project.envkit("rollback").code in (0, 2)
                project.install()
            _edit(project, chance)
        # The same lock once more is not looked at below the top: another one comes in between.
        project.lock(*(pool[:1] if chosen != pool[:1] else pool[1:2]))
        project.install()
        project.lock(*chosen)
        project.install()
        assert project.envkit("verify", "--depth", "hashes").code == 0
        found = _state(project)
        shutil.rmtree(project.venv)
        shutil.rmtree(machine.store / "spares-v1")
        project.install()
        assert found == _state(project)


def _some(
    pool: Sequence[Distribution], names: Sequence[str], chance: random.Random
) -> list[Distribution]:
    """Return the distributions of these names that there are, a version of each, in their order."""
    found = []
    for name in names:
        versions = [one for one in pool if one.name == name]
        if versions:
            found.append(chance.choice(versions))
    return found or [pool[0]]


def _edit(project: Project, chance: random.Random) -> None:
    """Do some of what people do to an environment by hand."""
    for _ in range(chance.randrange(4)):
        paths = [path for path in sorted(project.site.rglob("*")) if "pip" not in path.parts[-2]]
        path = chance.choice(paths or [project.site])
        kind = chance.choice(["remove", "replace", "add", "link", "folder", "environment", "stamp"])
        if kind == "environment":
            if chance.random() < 0.3:
                shutil.rmtree(project.venv)
                return
        elif kind == "stamp":
            (project.venv / ".envkit" / "stamp").unlink(missing_ok=True)
        elif kind == "add" or path == project.site:
            (path if path.is_dir() else path.parent).joinpath("mine.py").write_text("MINE = 1\n")
        else:
            _remove(path)
            if kind == "replace":
                path.write_text("MINE = 2\n")
            elif kind == "link":
                path.symlink_to("/nowhere")
            elif kind == "folder":
                path.mkdir()
                (path / "mine.py").write_text("")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _state(project: Project) -> Snapshot:
    return snapshot(project.venv, without=[".envkit"])


def test_the_end_depends_on_the_last_lock_alone(
    bare_store: Path, request: pytest.FixtureRequest
) -> None:
    thorough = request.config.getoption("--thorough")
    run = settings(
        max_examples=MANY if thorough else FEW,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        derandomize=not thorough,
        suppress_health_check=list(HealthCheck),
        database=None,
    )(sequence)
    run(store=bare_store)
