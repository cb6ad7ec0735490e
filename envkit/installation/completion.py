"""What is done for an environment after it is in place, when nobody waits for it."""

from __future__ import annotations

import os
import time

from envkit.environment import patch, persistence, ready, stamp
from envkit.environment.halves import Half, Wanted
from envkit.environment.home import Home
from envkit.environment.parts import Distribution
from envkit.environment.tree import Layout
from envkit.installation import composition, plan
from envkit.installation.request import Request
from envkit.interpreter import Interpreter
from envkit.locks import inputs
from envkit.store import bytecode

# How long a user is left alone with an environment that has all its byte-code, in seconds.
_PATIENCE = 4.0


def complete(request: Request) -> None:
    """Do for a finished environment what makes it, and the next one, quicker to use.

    The byte-code that it lacks is compiled and linked in; its distributions are linked once more,
    for the next environment; what was thrown away is removed, and all the rest is brought to the
    disk; every folder of the spare is looked at, so that nobody has to later.
    Does nothing if the environment is not, or not any more, what the locks say.

    Raises:
        EnvkitError: the interpreter failed, or the project cannot be read.
    """
    chosen = plan.make(request)
    home = Home(request.project.root, request.store)
    if chosen.lacking:
        return
    wanted = composition.compose(chosen, home)
    if any(isinstance(part, Distribution) and not part.bytecode for part in wanted.parts):
        _compile(wanted, request)
        wanted = composition.compose(chosen, home)
    else:
        # Whoever installed is about to import, which links by the thousand would hold up.
        time.sleep(_PATIENCE)
    with home.locked():
        live = Half(home.live)
        if not live.has(wanted):
            return
        if live.lacks_bytecode(wanted):
            patch.add_bytecode(live, wanted)
    for part in wanted.parts:
        if isinstance(part, Distribution) and not part.copy:
            ready.fill(request.store, part, wanted.layout)
    request.store.sweep()
    persistence.sync(request.store, home)
    with home.locked():
        spare = Half(home.spare)
        if spare.stamp and not spare.changed_folders():
            stamp.settle(spare.path)


def _compile(wanted: Wanted, request: Request) -> None:
    """Compile what the environment has no byte-code for, what is imported first before the rest."""
    home, python = wanted.home, wanted.interpreter
    lacking = [one for one in wanted.parts if isinstance(one, Distribution) and not one.bytecode]
    direct = inputs.direct_names(request.project, request.groups)
    with home.locked():
        half = Half(home.live)
        live = _live(home, half, python) if half.has(wanted) else None
    bytecode.compile_all(
        request.store,
        [one.entry for one in lacking],
        executable=python.executable,
        kind=python.bytecode_kind,
        idle=True,
        first=[one.entry for one in lacking if one.name in direct],
        live=live,
    )


def _live(home: Home, half: Half, python: Interpreter) -> bytecode.Live:
    """Return where byte-code may go while nothing else happens to an environment."""
    witness = f"{half.path}/{stamp.RECORD}"
    status = os.stat(witness)
    return bytecode.Live(
        site=f"{half.path}/{Layout.of(python.short_version).site}",
        mutex=home.mutex,
        witness=witness,
        state=(status.st_ino, status.st_mtime_ns),
    )
