"""What goes on after `install` has ended: byte-code is compiled and linked into the environment.

Run as a program by `install`, with `installation.background_job` as its argument. Killed at any
instant it leaves an environment that works and is what its lock says.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from pathlib import Path

from envkit import installation, project
from envkit.errors import EnvkitError
from envkit.store import layout


def main(job: str) -> None:
    """Compile what the environment of a project has no byte-code for."""
    values = json.loads(job)
    found = project.read(Path(values["root"]), os.environ)
    if found is None:
        return
    for key, value in values["settings"].items():
        found = project.with_option(found, key, value, "install")
    store = layout.locate(found.config.store.value, os.environ)
    descriptor = os.open(store.root / "background.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        installation.complete(
            installation.Request(
                project=found,
                groups=tuple(map(found.group, values["groups"])),
                store=store,
                environ=os.environ,
                offline=True,
                overridden=values["overridden"],
            )
        )
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except (EnvkitError, OSError) as error:
        # Nobody is there to be told. What is missing costs the first import some time, no more.
        sys.exit(str(error))
