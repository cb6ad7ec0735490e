"""What goes on after `install` has ended: byte-code is compiled and linked into the environment.

Run as a program by `install`, with the project's folder and the names of the groups. Killed at any
instant it leaves an environment that works and is what its lock says.
"""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

from envkit import installation, project
from envkit.errors import EnvkitError
from envkit.store import layout


def main(root: str, groups: list[str]) -> None:
    """Compile what the environment of a project has no byte-code for."""
    found = project.read(Path(root), os.environ)
    if found is None:
        return
    store = layout.locate(found.config.store.value, os.environ)
    descriptor = os.open(store.root / "background.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        request = installation.Request(
            project=found,
            groups=tuple(map(found.group, groups)),
            store=store,
            environ=os.environ,
            offline=True,
        )
        installation.complete(request)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2:])
    except (EnvkitError, OSError) as error:
        # Nobody is there to be told. What is missing costs the first import some time, no more.
        sys.exit(str(error))
