"""What goes on after `install` has ended, in a process of its own.

Killed at any instant it leaves an environment that works and is what its lock says.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path

from envkit import process
from envkit.installation.request import Request


def start(request: Request) -> None:
    """Start the process that completes the environment of a request, and do not wait for it.

    Where none can be started, the next installation starts one.
    """
    config = request.project.config
    job = {
        "root": str(request.project.root),
        "groups": [group.name for group in request.groups],
        "settings": {"python": config.python, "link": config.link},
        "overridden": request.overridden,
        "revision": request.revision,
    }
    with contextlib.suppress(OSError):
        process.detach([sys.executable, "-m", __name__, json.dumps(job)], env=request.environ)


def main(job: str) -> None:
    """Complete the environment that a job names, after those that were begun before."""
    from envkit import collection, mutex, project, quantities
    from envkit.installation import completion
    from envkit.store import layout

    values = json.loads(job)
    found = project.read(Path(values["root"]), os.environ)
    if found is None:
        return
    for key, value in values["settings"].items():
        found = project.with_option(found, key, value, "install")
    store = layout.locate(found.config.store, os.environ)
    # The processors are for whoever uses the environment meanwhile.
    os.nice(10)
    with mutex.hold(f"{store.root}/background.lock"), store.in_use():
        completion.complete(
            Request(
                project=found,
                groups=tuple(map(found.group, values["groups"])),
                store=store,
                environ=os.environ,
                offline=True,
                overridden=values["overridden"],
                revision=values["revision"],
            )
        )
    collection.collect_unasked(
        store,
        older_than=quantities.parse_seconds(found.config.cache_age),
        max_size=quantities.parse_bytes(found.config.cache_size),
    )


if __name__ == "__main__":
    from envkit.errors import EnvkitError

    try:
        main(sys.argv[1])
    except (EnvkitError, OSError) as error:
        # Nobody is there to be told. What is missing costs the first import some time, no more.
        sys.exit(str(error))
