"""Work that goes on beside other work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Beside(Generic[T]):
    """A piece of work in a thread, whose result is waited for when it is wanted.

    `concurrent.futures` does the same and more, and takes longer to import than a file to build.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        """Start it."""
        self._work = work
        self._result: list[T] = []
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def result(self) -> T:
        """Return what it returned, once it has.

        Raises:
            BaseException: what it raised.
        """
        self._thread.join()
        if self._failure:
            raise self._failure
        return self._result[0]

    def _run(self) -> None:
        try:
            self._result.append(self._work())
        except BaseException as error:
            self._failure = error
