"""Bringing large files into the store: several at once, each going on where it was cut.

A file is there by one rename, under the sha256 that it was declared with, or not at all. What has
come of it so far is kept beside, so that a command that was killed is not for nothing.
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from envkit import __version__, mutex, refusals
from envkit.assets import sources
from envkit.assets.sources import BrokenError, shown
from envkit.errors import EnvkitError, IntegrityError, ToolError

if TYPE_CHECKING:
    import requests

# More at a time make no network quicker.
_THREADS = 4

# So many times in a row nothing more may come of a file before it is given up, and how long is
# waited after each of them, in seconds.
_PAUSES = (0.5, 1.0, 2.0, 4.0)

_CHUNK = 1 << 20


class Wish(NamedTuple):
    """A file that is to be in the store: where it comes from, and what its sha256 is, in hex."""

    url: str
    sha256: str


class Progress(NamedTuple):
    """How far the fetching is: bytes of those that are known of, and files that are done."""

    fetched: int
    expected: int
    done: int
    total: int


Report = Callable[[Progress], None]


class Transfer:
    """Brings files into a folder, in which each is named by its sha256."""

    def __init__(self, folder: Path, report: Report) -> None:
        """Prepare.

        Args:
            folder: the bucket; made if it is not there.
            report: called as something comes, from any thread.
        """
        self._folder = folder
        self._report = report
        self._mutex = threading.Lock()
        self._given_up = threading.Event()
        self._sizes: dict[str, int] = {}
        self._fetched: dict[str, int] = {}
        self._done = 0
        self._total = 0

    def bring(self, wishes: Sequence[Wish]) -> None:
        """Bring files that the folder lacks.

        Raises:
            EnvkitError: one cannot be had, or is not what its sha256 says; the others that came
                whole are there.
            OSError: the disk refuses.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        lacking = {one.sha256: one for one in wishes if not self.path(one.sha256).exists()}
        self._total = len(lacking)
        waiting: queue.SimpleQueue[Wish] = queue.SimpleQueue()
        for one in lacking.values():
            waiting.put(one)
        failures: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        for _ in range(min(_THREADS, len(lacking))):
            threading.Thread(target=self._work, args=(waiting, failures), daemon=True).start()
        first: BaseException | None = None
        try:
            for _ in lacking:
                failure = failures.get()
                first = first or failure
        finally:
            self._given_up.set()
        if first:
            raise first

    def path(self, sha256: str) -> Path:
        """Return where a file is, once it is there."""
        return self._folder / sha256

    def _work(
        self,
        waiting: queue.SimpleQueue[Wish],
        failures: queue.SimpleQueue[BaseException | None],
    ) -> None:
        import requests

        with requests.Session() as session:
            session.headers["User-Agent"] = f"envkit/{__version__}"
            while True:
                try:
                    wish = waiting.get_nowait()
                except queue.Empty:
                    return
                failure: BaseException | None = None
                try:
                    self._fetch(wish, session)
                except (EnvkitError, OSError) as error:
                    failure = error
                failures.put(failure)

    def _fetch(self, wish: Wish, session: requests.Session) -> None:
        """Bring one file, unless another process does so meanwhile."""
        part = self._folder / f"{wish.sha256}.part"
        target = self.path(wish.sha256)
        with mutex.hold(f"{part}.lock"):
            if not target.exists():
                with refusals.naming(part), part.open("a+b") as file:
                    download = _Download(wish, file, session, self._given_up)
                    download.run(lambda: self._count(download))
                    file.flush()
                    os.fsync(file.fileno())
                part.chmod(0o444)
                part.rename(target)
            Path(f"{part}.lock").unlink(missing_ok=True)
        with self._mutex:
            self._done += 1
        self._tell()

    def _count(self, download: _Download) -> None:
        key = download.wish.sha256
        with self._mutex:
            self._fetched[key] = download.size
            self._sizes[key] = max(download.expected or 0, download.size)
        self._tell()

    def _tell(self) -> None:
        with self._mutex:
            fetched, sizes = sum(self._fetched.values()), sum(self._sizes.values())
            progress = Progress(fetched, sizes, self._done, self._total)
        self._report(progress)


class _Download:
    """One file, while it comes.

    Attributes:
        wish: what it is to be.
        size: the bytes that there are of it.
        expected: the bytes that it has, as far as the server has said so.
    """

    def __init__(
        self, wish: Wish, file: BinaryIO, session: requests.Session, given_up: threading.Event
    ) -> None:
        self.wish = wish
        self.size = 0
        self.expected: int | None = None
        self._file = file
        self._session = session
        self._given_up = given_up
        self._digest = hashlib.sha256()

    def run(self, report: Callable[[], None]) -> None:
        """Bring what is lacking of it, and make sure that it is what was declared.

        Args:
            report: called as something comes.

        Raises:
            IntegrityError: it is something else; nothing of it is kept.
            EnvkitError: it cannot be had, or not now; what has come is kept.
        """
        self._take_what_is_there()
        pauses = iter(_PAUSES)
        while True:
            before = self.size
            try:
                self._take_more(report)
            except BrokenError as error:
                pauses = iter(_PAUSES) if self.size > before else pauses
                pause = next(pauses, None)
                if pause is None or self._given_up.wait(pause):
                    raise ToolError(
                        f"{shown(self.wish.url)}: {error}",
                        "What has come of it is kept: run it again, and it goes on from there.",
                    ) from None
            else:
                break
        self._check()

    def _take_what_is_there(self) -> None:
        """Count what an earlier command has left."""
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK):
            self._digest.update(chunk)
            self.size += len(chunk)

    def _take_more(self, report: Callable[[], None]) -> None:
        with sources.opened(self.wish.url, self.size, self._session) as body:
            if body.start != self.size:
                self._forget()
            self.expected = body.total
            for chunk in body.chunks:
                if self._given_up.is_set():
                    raise BrokenError("called off")
                self._file.write(chunk)
                self._digest.update(chunk)
                self.size += len(chunk)
                report()
        if self.expected is not None and self.size < self.expected:
            raise BrokenError(f"cut off after {self.size} of {self.expected} bytes")

    def _check(self) -> None:
        found = self._digest.hexdigest()
        if found != self.wish.sha256:
            self._forget()
            raise IntegrityError(
                f"{shown(self.wish.url)}: its sha256 is {found}, and not the declared "
                f"{self.wish.sha256}",
                "If it was changed on purpose, declare it anew: `envkit assets add`.",
            )

    def _forget(self) -> None:
        """Begin again."""
        self._file.truncate(0)
        self._digest = hashlib.sha256()
        self.size = 0
