"""Bringing large files into the store: several at once, each going on where it was cut.

A file is there by one rename, under the sha256 that it was declared with, or not at all. What has
come of it so far is kept beside, so that a command that was killed is not for nothing.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from envkit import __version__, mutex, refusals
from envkit.assets import sources
from envkit.assets.sources import BrokenError
from envkit.declared import shown_url
from envkit.errors import IntegrityError, RefusedError, ToolError
from envkit.quantities import bytes_text
from envkit.store import assets
from envkit.store.layout import Store

if TYPE_CHECKING:
    import requests

# More at a time make no network quicker.
_THREADS = 4

# So many times in a row nothing more may come of a file before it is given up, and how long is
# waited after each of them, in seconds.
_PAUSES = (0.5, 1.0, 2.0, 4.0)

_CHUNK = 1 << 20

# How often it is looked whether another process has brought a file, in seconds.
_PERIOD = 0.1

# What a disk says that has no room.
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Wish(NamedTuple):
    """A file that is to be in the store.

    Attributes:
        url: where it comes from.
        sha256: its digest, in hex; empty if it is not known.
    """

    url: str
    sha256: str = ""


class Progress(NamedTuple):
    """How far the fetching is.

    Attributes:
        done: how many files are done.
        total: how many there are.
        fetched: the bytes that there are of them.
        came: those of them that came now.
        expected: the bytes that they have, as far as that is known yet.
        started: when it began, by `time.monotonic`.
    """

    done: int
    total: int
    fetched: int
    came: int
    expected: int
    started: float


Report = Callable[[Progress], None]


class Transfer:
    """Brings files into a store, each once, however many commands want it at a time."""

    def __init__(self, store: Store, report: Report) -> None:
        """Prepare.

        Args:
            store: the store.
            report: called as something comes, from any thread.
        """
        self._store = store
        self._report = report
        self._mutex = threading.Lock()
        self._given_up = threading.Event()
        self._downloads: list[_Download] = []
        self._done = 0
        self._total = 0
        self._started = time.monotonic()
        self._claims = mutex.Claims(f"{store.root}/assets.lock")

    def bring(self, wishes: Sequence[Wish]) -> list[str]:
        """Bring files that the store lacks.

        Returns:
            The digest of each, in hex.

        Raises:
            EnvkitError: one cannot be had, or is not what its sha256 says; the others that came
                whole are there.
            OSError: the disk refuses.
        """
        self._store.assets.mkdir(parents=True, exist_ok=True)
        lacking = {
            one: one.sha256
            for one in wishes
            if not (one.sha256 and assets.has(self._store, one.sha256))
        }
        self._total = len(lacking)
        waiting: queue.SimpleQueue[Wish] = queue.SimpleQueue()
        for one in lacking:
            waiting.put(one)
        ended: queue.SimpleQueue[tuple[Wish, str | BaseException]] = queue.SimpleQueue()
        for _ in range(min(_THREADS, len(lacking))):
            threading.Thread(target=self._work, args=(waiting, ended), daemon=True).start()
        failures: list[BaseException] = []
        try:
            for _ in range(len(lacking)):
                wish, outcome = ended.get()
                if isinstance(outcome, str):
                    lacking[wish] = outcome
                else:
                    failures.append(outcome)
        finally:
            self._given_up.set()
            if not failures:
                # A thread that still ends needs its claim.
                self._claims.close()
        if failures:
            raise failures[0]
        return [lacking.get(one, one.sha256) for one in wishes]

    def _work(
        self,
        waiting: queue.SimpleQueue[Wish],
        ended: queue.SimpleQueue[tuple[Wish, str | BaseException]],
    ) -> None:
        import requests

        with requests.Session() as session:
            session.headers["User-Agent"] = f"envkit/{__version__}"
            while True:
                try:
                    wish = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    ended.put((wish, self._fetch(wish, session)))
                except BaseException as error:
                    # Whatever it is, somebody waits for it.
                    ended.put((wish, error))

    def _fetch(self, wish: Wish, session: requests.Session) -> str:
        """Bring one file, unless another process does so meanwhile; return its digest."""
        key = wish.sha256 or hashlib.sha256(wish.url.encode()).hexdigest()
        part = self._store.assets / f"{key if wish.sha256 else f'url-{key}'}.part"
        sha256 = wish.sha256
        # Waited for step by step: the kernel would take two processes for a deadlock of which each
        # waits for what a thread of the other is about to finish (fcntl(2), EDEADLK).
        while not self._claims.claim(key):
            if self._given_up.wait(_PERIOD):
                raise ToolError(f"{shown_url(wish.url)}: another command fetches it")
        try:
            if not (sha256 and assets.has(self._store, sha256)):
                sha256 = self._download(wish, part, session)
        finally:
            self._claims.release(key)
        with self._mutex:
            self._done += 1
        self._tell()
        return sha256

    def _download(self, wish: Wish, part: Path, session: requests.Session) -> str:
        with contextlib.suppress(FileNotFoundError):
            # One that was about to be published is read-only.
            part.chmod(0o600)
        with refusals.naming(part):
            file = part.open("a+b")
        with file:
            download = _Download(wish, file, part, session, self._given_up)
            with self._mutex:
                self._downloads.append(download)
            try:
                sha256 = download.run(self._tell)
            except BaseException:
                if not download.size:
                    part.unlink(missing_ok=True)
                raise
            with refusals.naming(part):
                file.flush()
                os.fsync(file.fileno())
        with refusals.naming(part):
            assets.publish(part, self._store, sha256)
        download.forget_validator()
        return sha256

    def _tell(self) -> None:
        with self._mutex:
            progress = Progress(
                done=self._done,
                total=self._total,
                fetched=sum(one.size for one in self._downloads),
                came=sum(one.came for one in self._downloads),
                expected=sum(max(one.expected or 0, one.size) for one in self._downloads),
                started=self._started,
            )
        self._report(progress)


class _Download:
    """One file, while it comes.

    Attributes:
        size: the bytes that there are of it.
        came: the bytes that have come now, whatever became of them.
        expected: the bytes that it has, as far as the server has said so.
    """

    def __init__(
        self,
        wish: Wish,
        file: BinaryIO,
        part: Path,
        session: requests.Session,
        given_up: threading.Event,
    ) -> None:
        self.size = 0
        self.came = 0
        self.expected: int | None = None
        self._wish = wish
        self._file = file
        self._part = part
        self._session = session
        self._given_up = given_up
        self._digest = hashlib.sha256()
        self._notes = part.with_name(f"{part.name}.validator")
        self._validator = ""
        self._title = shown_url(wish.url)

    def run(self, report: Callable[[], None]) -> str:
        """Bring what is lacking of it, make sure that it is what was declared; return its digest.

        Args:
            report: called as something comes.

        Raises:
            IntegrityError: it is something else; nothing of it is kept.
            EnvkitError: it cannot be had, or not now; what has come is kept.
            OSError: the disk refuses; where that is as it is full, nothing is kept.
        """
        wanted = self._wish.sha256
        try:
            if not wanted:
                # What has come earlier is of another file by now, unless the server says not.
                with contextlib.suppress(OSError):
                    self._validator = self._notes.read_text(encoding="utf-8")
                if not self._validator:
                    self._forget()
            self._take_what_is_there()
            resumed = self.size > 0
            self._take_all(report)
            if wanted and resumed and self._digest.hexdigest() != wanted:
                self._forget()
                self._take_all(report)
        except OSError as error:
            if error.errno in _FULL:
                self._forget()
            raise
        found = self._digest.hexdigest()
        if wanted and found != wanted:
            self._forget()
            raise IntegrityError(
                f"{self._title}: its sha256 is {found}, and not the declared {wanted}",
                "If it was changed on purpose, declare it anew: `envkit assets add`.",
            )
        return found

    def forget_validator(self) -> None:
        """Forget what the server told the form of the file by, of which all has come."""
        self._notes.unlink(missing_ok=True)

    def _take_what_is_there(self) -> None:
        """Count what an earlier command has left."""
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK):
            self._digest.update(chunk)
            self.size += len(chunk)

    def _take_all(self, report: Callable[[], None]) -> None:
        """Take what is lacking, asking again where a connection breaks."""
        pauses = iter(_PAUSES)
        most = self.size
        while True:
            try:
                self._take_more(report)
            except BrokenError as error:
                if self.size > most:
                    most, pauses = self.size, iter(_PAUSES)
                pause = next(pauses, None)
                if pause is None or self._given_up.wait(pause):
                    hint = "What has come of it is kept: run it again, and it goes on from there."
                    raise ToolError(f"{self._title}: {error}", hint if self.size else "") from None
                if not (self._wish.sha256 or self._validator):
                    # Nothing would tell whether the rest is of the same file.
                    self._forget()
            else:
                return

    def _take_more(self, report: Callable[[], None]) -> None:
        opened = sources.opened(self._wish.url, self.size, self._session, self._validator)
        with opened as body:
            if body.start != self.size:
                self._forget()
            self.expected = body.total
            if body.validator != self._validator:
                self._validator = body.validator
                if not self._wish.sha256:
                    self._notes.write_text(self._validator, encoding="utf-8")
            self._refuse_too_large()
            for chunk in body.chunks:
                if self._given_up.is_set():
                    raise BrokenError("called off")
                with refusals.naming(self._part):
                    self._file.write(chunk)
                self._digest.update(chunk)
                self.size += len(chunk)
                self.came += len(chunk)
                report()
        if self.expected is not None and self.size < self.expected:
            raise BrokenError(f"cut off after {self.size} of {self.expected} bytes")

    def _refuse_too_large(self) -> None:
        """Refuse what has no room before hours are spent on it."""
        lacking = (self.expected or 0) - self.size
        free = shutil.disk_usage(self._file.name).free
        if lacking > free:
            raise RefusedError(
                f"{self._title}: it has {bytes_text(lacking)} to come, and the disk of "
                f"{Path(self._file.name).parent} has room for {bytes_text(free)}",
                "Make room there (`envkit cache prune`), or name another store ($ENVKIT_STORE).",
            )

    def _forget(self) -> None:
        """Begin again."""
        self._file.truncate(0)
        self._digest = hashlib.sha256()
        self.size = 0
