"""A command of envkit's as another user runs it: `python -m tests.support.somebody ROOT UID GID …`.

Another user may not read this Python's files, so that all that is needed of them is read before.
"""

import importlib
import os
import pkgutil
import sys

import envkit
from envkit.__main__ import main
from envkit.cli import running
from envkit.gpu.devices import Driver
from envkit.gpu.holders import Holder

# What is imported where it is needed.
_LAZY = (
    "encodings.ascii",
    "encodings.utf_8_sig",
    "grp",
    "shlex",
    "tempfile",
    "traceback",
    "urllib.parse",
)


def become(root: str, uid: int, gid: int) -> None:
    """Become another user, in a project's folder."""
    own = [one.name for one in pkgutil.walk_packages(envkit.__path__, "envkit.")]
    for name in (*own, *_LAZY):
        importlib.import_module(name)
    with Driver() as driver:
        driver.gpus()
    Holder.this(["sh"], "").text()
    # Nor can it look at the environment's Python, to find out whether it is another by now.
    running._differs = lambda found: False  # noqa: ARG005
    os.chdir(root)
    os.setgroups([gid])
    os.setgid(gid)
    os.setuid(uid)


if __name__ == "__main__":
    become(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    sys.argv[1:4] = []
    sys.exit(main())
