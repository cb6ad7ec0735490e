"""A project behind a mount point, as in a container: nothing can be linked, moved or exchanged."""

import pytest

from tests.support import good
from tests.support.mounts import mounted
from tests.support.projects import Machine, snapshot
from tests.support.scenarios import LOCKS, ONE


@pytest.mark.parametrize("compiled", ["now", "background"])
def test_behind_a_mount_point(fresh_machine: Machine, compiled: str) -> None:
    fresh_machine.index.add(*(good()[key] for key in {*sum(LOCKS, ())}))
    fresh_machine.environ["ENVKIT_COMPILE"] = compiled
    plain = fresh_machine.project("plain")
    for lock in LOCKS:
        # With the background on, all that can be moved in is ready after this.
        plain.lock(*lock)
        plain.install()
        fresh_machine.rest()
    project = fresh_machine.project("mounted")
    with mounted(project.root, "--bind", str(project.root)):
        for lock in (ONE, *LOCKS):
            project.lock(*lock)
            project.install()
            fresh_machine.rest()
            plain.lock(*lock)
            plain.install()
            fresh_machine.rest()
            own = ["pyvenv.cfg", ".envkit", "bin", "RECORD"]
            assert snapshot(project.venv, without=own) == snapshot(plain.venv, without=own)
            assert project.envkit("status").code == 0
            assert project.envkit("install").err.startswith("Already up to date")
