"""Filesystems mounted for a test, where that is allowed."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(kind: str, source: str, target: Path, *options: str) -> Iterator[Path]:
    """Mount a filesystem, and take it away at the end; the test is skipped where nobody may.

    Args:
        kind: the filesystem's type; empty for a bind mount.
        source: the device, or for a bind mount the folder.
        target: where; made if it is not there.
        options: as behind `mount -o`.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    target.mkdir(parents=True, exist_ok=True)
    command = ["mount", *(["-t", kind] if kind else []), source, str(target)]
    if options:
        command[1:1] = ["-o", ",".join(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield target
    finally:
        subprocess.run(["umount", "--lazy", str(target)], check=True)  # noqa: S607
