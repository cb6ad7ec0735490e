"""How far the fetching is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Progress:
    """How far the fetching is; told by several threads, shown as it changes.

    Attributes:
        total: how many distributions are fetched in all.
        done: how many of them are in the store.
        fetched: bytes that have come.
        started: when, by `time.monotonic`.
    """

    def __init__(self, total: int, report: Report) -> None:
        """Begin.

        Args:
            total: how many distributions are fetched.
            report: called with this object as it changes, from any thread.
        """
        self.total = total
        self.done = 0
        self.fetched = 0
        self.started = time.monotonic()
        self._report = report
        self._mutex = threading.Lock()
        report(self)

    def add(self, *, fetched: int = 0, done: int = 0) -> None:
        """Count bytes that came and distributions that are in the store."""
        with self._mutex:
            self.fetched += fetched
            self.done += done
        self._report(self)


Report = Callable[[Progress], None]
