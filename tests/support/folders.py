"""Folders of files, and a user to whom their modes matter."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A user who is neither root nor whoever runs the tests.
STRANGER = 65534


def write(root: Path, *files: str) -> None:
    """Write files below a folder, each of which says what it is."""
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(os.fsencode(f"content of {name}\n"))


@contextmanager
def as_stranger() -> Iterator[Path]:
    """Be a user whom modes can refuse something, as root is not; yield a folder of theirs."""
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        if user == 0:
            os.chown(name, STRANGER, -1)
            os.seteuid(STRANGER)
        try:
            yield Path(name)
        finally:
            os.seteuid(user)
