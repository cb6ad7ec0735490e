"""Filesystems that are mounted for a test, where that is allowed."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def mount(*arguments: str) -> bool:
    """Mount, or change how something is mounted; return whether that was allowed."""
    program = shutil.which("mount")
    command = [str(program), *arguments]
    return (
        bool(program) and not subprocess.run(command, capture_output=True, check=False).returncode
    )


@contextmanager
def mounted(path: Path, *arguments: str) -> Iterator[None]:
    """Have something mounted on a folder for a while; skip the test where that is not allowed.

    Args:
        path: the folder.
        arguments: those of mount(8) that stand before it.
    """
    if not mount(*arguments, str(path)):
        pytest.skip("only an administrator can mount filesystems, and not everywhere")
    try:
        yield
    finally:
        subprocess.run(["/bin/umount", "--lazy", str(path)], check=True)
