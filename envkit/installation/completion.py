"""What is done for an environment after it is in place, when nobody waits for it."""

from __future__ import annotations

import os

from envkit.environment import halves
from envkit.environment.halves import Half
from envkit.environment.home import Home
from envkit.environment.parts import Distribution
from envkit.environment.record import RECORD
from envkit.environment.tree import Layout
from envkit.installation import composition, plan
from envkit.installation.plan import Request
from envkit.interpreter import Interpreter
from envkit.locks import inputs
from envkit.store import bytecode


def complete(request: Request) -> None:
    """Compile the byte-code that a finished environment lacks, and link it in.

    Does nothing if the environment is not, or not any more, what the locks say.

    Raises:
        EnvkitError: the interpreter failed, or the project cannot be read.
    """
    chosen = plan.make(request)
    home = Home(request.project.root, request.store)
    if chosen.lacking:
        return
    wanted = composition.compose(chosen, home)
    lacking = [one for one in wanted.parts if isinstance(one, Distribution) and not one.bytecode]
    direct = inputs.direct_names(request.project, request.groups)
    with home.locked():
        half = Half(home.live)
        live = _live(home, half, chosen.interpreter) if half.has(wanted) else None
    bytecode.compile_all(
        request.store,
        [one.entry for one in lacking],
        executable=chosen.interpreter.executable,
        kind=chosen.interpreter.bytecode_kind,
        idle=True,
        first=[one.entry for one in lacking if one.name in direct],
        live=live,
    )
    wanted = composition.compose(chosen, home)
    with home.locked():
        halves.add_bytecode(Half(home.live), wanted)


def _live(home: Home, half: Half, python: Interpreter) -> bytecode.Live:
    """Return where byte-code may go while nothing else happens to an environment."""
    witness = f"{half.path}/{RECORD}"
    status = os.stat(witness)
    return bytecode.Live(
        site=f"{half.path}/{Layout.of(python.short_version).site}",
        mutex=home.mutex,
        witness=witness,
        state=(status.st_ino, status.st_mtime_ns),
    )
