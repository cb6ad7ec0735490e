"""Waiting for something to be so, within bounds."""

import time
from collections.abc import Callable

# Nothing that a test waits for takes so many seconds.
_LIMIT = 60.0


def wait(until: Callable[[], object], what: str) -> None:
    """Wait until something is so; a failure, which says what, if that takes too long."""
    last = time.monotonic() + _LIMIT
    while not until():
        assert time.monotonic() < last, f"never: {what}"
        time.sleep(0.02)
