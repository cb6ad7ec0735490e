"""What a lock names and the store lacks: fetched by pip, several at once, and unpacked."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from envkit import pip, process
from envkit.errors import IntegrityError, ToolError
from envkit.installation import choice
from envkit.interpreter import Interpreter
from envkit.locks.formats import control
from envkit.locks.lock import Pin
from envkit.store import digest
from envkit.store.layout import Store

# What `--progress-bar raw` prints, in bytes (pip's documentation of that option).
_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")

# Fewer distributions than this are not worth a pip of their own, which takes 0.3 s to start.
_SMALLEST_BATCH = 6


@dataclass(kw_only=True)
class Progress:
    """How far the fetching is; kept by several threads.

    Attributes:
        total: how many distributions are fetched in all.
        done: how many of them are in the store.
        fetched: bytes that have come.
        started: when, by `time.monotonic`.
    """

    total: int
    done: int = 0
    fetched: int = 0
    started: float = field(default_factory=time.monotonic)
    mutex: threading.Lock = field(default_factory=threading.Lock)


Report = Callable[[Progress], None]


def fetch(
    store: Store,
    pins: Sequence[Pin],
    interpreter: Interpreter,
    *,
    root: Path,
    environ: Mapping[str, str],
    offline: bool,
    report: Report,
) -> None:
    """Bring the files of pins into the store.

    Args:
        store: the store.
        pins: what it lacks.
        interpreter: the Python that they are for.
        root: the project's folder, where paths in pip's configuration begin that are not whole.
        environ: the environment, with pip's configuration.
        offline: refuse rather than ask an index.
        report: called with the progress as it changes, from any thread.

    Raises:
        ToolError: pip cannot bring something, or it is not to be asked.
        IntegrityError: a file is not what the lock names, or is no sound wheel.
    """
    from concurrent.futures import ThreadPoolExecutor, as_completed

    if offline:
        names = ", ".join(map(str, pins[:5])) + (" …" if len(pins) > 5 else "")
        raise ToolError(f"The store lacks {names}", "Run it once without --offline.")
    workers = max(2, min(4, os.cpu_count() or 2))
    count = max(1, min(workers, len(pins) // _SMALLEST_BATCH))
    progress = Progress(total=len(pins))
    report(progress)
    with store.temporary() as folder, ExitStack() as stack:
        # Fetching waits for the network, unpacking for a processor: neither holds up the other.
        fetching = stack.enter_context(ThreadPoolExecutor(workers))
        unpacking = stack.enter_context(ThreadPoolExecutor(workers))
        unpacker = _Unpacker(folder, progress, report)
        stack.callback(unpacker.close)
        batches = [
            _Batch(store, interpreter, root, environ, folder / str(number), progress, report)
            for number in range(count)
        ]
        try:
            fetched = [
                fetching.submit(batch.bring, dealt)
                for batch, dealt in zip(batches, _deal(pins, count), strict=True)
            ]
            unpacked = {}
            for task in as_completed(fetched):
                # The largest first, so that none is left over at the end.
                for one in sorted(task.result(), key=lambda one: -one.path.stat().st_size):
                    unpacked[unpacking.submit(unpacker.unpack, one)] = one
            for done in as_completed(unpacked):
                done.result()
                one = unpacked[done]
                choice.remember(store, one.pin, interpreter, str(one.entry))
        except BaseException:
            fetching.shutdown(wait=False, cancel_futures=True)
            unpacking.shutdown(wait=False, cancel_futures=True)
            process.stop_all()
            raise


def _deal(pins: Sequence[Pin], count: int) -> Iterator[Sequence[Pin]]:
    """Yield the pins in so many batches, like cards."""
    for start in range(count):
        yield pins[start::count]


@dataclass(frozen=True, kw_only=True)
class _Archive:
    """A wheel on the disk, and the entry of the store that it is to become."""

    pin: Pin
    path: Path
    sha256: str
    entry: Path


class _Batch:
    """Fetches some pins with one pip."""

    def __init__(
        self,
        store: Store,
        interpreter: Interpreter,
        root: Path,
        environ: Mapping[str, str],
        folder: Path,
        progress: Progress,
        report: Report,
    ) -> None:
        self._store = store
        self._interpreter = interpreter
        self._root = root
        self._environ = environ
        self._folder = folder
        self._progress = progress
        self._report = report
        self._current = 0

    def bring(self, pins: Sequence[Pin]) -> list[_Archive]:
        """Return the wheels of pins, those of sdists built."""
        self._folder.mkdir()
        kind = hashlib.sha256(self._interpreter.compatibility.encode()).hexdigest()[:16]
        found = []
        for pin, path, sha256 in self._download(pins):
            if path.suffix == ".whl":
                entry = self._store.wheels / sha256
                found.append(_Archive(pin=pin, path=path, sha256=sha256, entry=entry))
            else:
                entry = self._store.builds / f"{sha256}-{kind}"
                built = self._build(pin, path)
                own = digest.sha256(built)
                found.append(_Archive(pin=pin, path=built, sha256=own, entry=entry))
        return found

    def _download(self, pins: Sequence[Pin]) -> list[tuple[Pin, Path, str]]:
        """Return each pin's file, whose hash pip has compared with the lock's, and that hash."""
        controls = filter(None, (control(pin.name, pin.form) for pin in pins))
        lines = [*controls, *(pin.requirement() for pin in pins)]
        listed = pip.requirement_file(self._folder, lines)
        target = self._folder / "files"
        arguments = [
            *("download", "--no-deps", "--require-hashes", "--progress-bar", "raw"),
            *("--dest", str(target), "--requirement", str(listed)),
        ]
        completed = self._pip(arguments)
        if pip.hides_cause(completed):
            completed = self._pip([*arguments, "-vv"])
        if completed.returncode:
            names = ", ".join(map(str, pins[:3])) + (" …" if len(pins) > 3 else "")
            raise pip.explain(completed, f"Fetching {names} failed")
        by_hash = {digest: pin for pin in pins for digest in pin.hashes}
        found = []
        for path in sorted(target.iterdir()):
            sha256 = digest.sha256(path)
            if sha256 in by_hash:
                found.append((by_hash[sha256], path, sha256))
        lacking = {pin.name for pin in pins} - {pin.name for pin, _, _ in found}
        if lacking:
            raise IntegrityError(
                f"What came for {', '.join(sorted(lacking))} has none of the lock's hashes",
                "Run `envkit lock --upgrade` if the change is meant.",
            )
        return found

    def _pip(self, arguments: Sequence[str]) -> process.Completed:
        return pip.run(
            self._interpreter,
            arguments,
            environ=self._environ,
            cwd=self._root,
            on_line=self._follow,
        )

    def _build(self, pin: Pin, sdist: Path) -> Path:
        """Return the wheel that pip builds, in isolation, from an sdist."""
        target = self._folder / f"built-{pin.name}"
        completed = pip.run(
            self._interpreter,
            ["wheel", "--no-deps", "--no-cache-dir", "--wheel-dir", str(target), str(sdist)],
            environ=self._environ,
            cwd=self._root,
        )
        if completed.returncode:
            raise pip.explain(completed, f"Building {pin} from its sdist failed")
        built = list(target.glob("*.whl"))
        if len(built) != 1:
            raise ToolError(f"Building {pin} from its sdist gave {len(built)} wheels, not one")
        return built[0]

    def _follow(self, line: str) -> None:
        """Count the bytes that pip says have come."""
        found = _PROGRESS.match(line)
        if not found:
            self._current = 0
            return
        with self._progress.mutex:
            self._progress.fetched += max(0, int(found[1]) - self._current)
        self._current = int(found[1])
        self._report(self._progress)


class _Unpacker:
    """Unpacks wheels in processes of its own, one for each thread that asks."""

    def __init__(self, folder: Path, progress: Progress, report: Report) -> None:
        self._folder = folder
        self._progress = progress
        self._report = report
        self._here = threading.local()
        self._workers: list[process.Worker] = []

    def unpack(self, archive: _Archive) -> None:
        """Unpack a wheel into its entry.

        Raises:
            IntegrityError: it is damaged or hostile.
            ToolError: it cannot be stored.
        """
        job = {
            "archive": str(archive.path),
            "name": archive.pin.name,
            "sha256": archive.sha256,
            "entry": str(archive.entry),
            "draft": str(self._folder / f"draft-{archive.pin.name}"),
        }
        answer = json.loads(self._worker().ask(json.dumps(job)))
        if answer:
            kind = IntegrityError if answer.get("integrity") else ToolError
            raise kind(answer["message"], answer["hint"])
        with self._progress.mutex:
            self._progress.done += 1
        self._report(self._progress)

    def close(self) -> None:
        """Let the processes end."""
        for worker in self._workers:
            worker.close()

    def _worker(self) -> process.Worker:
        if not hasattr(self._here, "worker"):
            self._here.worker = process.Worker(
                [sys.executable, "-m", "envkit.store.unpacker"],
                what="Unpacking wheels failed",
                # Python looks for modules in the folder that it is started in.
                cwd=self._folder,
            )
            self._workers.append(self._here.worker)
        worker: process.Worker = self._here.worker
        return worker
