"""What a lock names and the store lacks: fetched by pip, several at once, and unpacked."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock as Mutex

from envkit import pip, process
from envkit.errors import EnvkitError, IntegrityError, ToolError
from envkit.interpreter import Interpreter
from envkit.lock import Pin
from envkit.store import digest, selections
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
    mutex: Mutex = field(default_factory=Mutex)


Report = Callable[[Progress], None]


def find(store: Store, pin: Pin, interpreter: Interpreter) -> Path | None:
    """Return the store's entry for a pin on an interpreter; None if it has to be fetched."""
    return selections.find(store, _key(pin, interpreter))


def fetch(
    store: Store,
    pins: Sequence[Pin],
    interpreter: Interpreter,
    *,
    environ: Mapping[str, str],
    offline: bool,
    report: Report,
) -> None:
    """Bring the files of pins into the store.

    Args:
        store: the store.
        pins: what it lacks.
        interpreter: the Python that they are for.
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
    batches = _batches(pins, workers := max(2, min(4, os.cpu_count() or 2)))
    progress = Progress(total=len(pins))
    report(progress)
    with store.temporary() as folder, ThreadPoolExecutor(workers) as pool:
        tasks = []
        for number, batch in enumerate(batches):
            place = folder / str(number)
            place.mkdir()
            fetcher = _Fetcher(store, interpreter, environ, place, progress, report)
            tasks.append(pool.submit(fetcher.bring, batch))
        try:
            for task in as_completed(tasks):
                task.result()
        except BaseException:
            for task in tasks:
                task.cancel()
            process.stop_all()
            raise


def _batches(pins: Sequence[Pin], workers: int) -> list[list[Pin]]:
    """Deal pins out so that unpacking the first batches overlaps with fetching the last."""
    count = max(1, min(workers * 2, len(pins) // _SMALLEST_BATCH))
    return [list(pins[start::count]) for start in range(count)]


def _key(pin: Pin, interpreter: Interpreter) -> str:
    """Return the name of the choice that pip makes among the files that a pin allows."""
    allowed = sorted(pin.hashes)
    text = "\0".join([pin.name, pin.version, pin.url, interpreter.compatibility, *allowed])
    return hashlib.sha256(text.encode()).hexdigest()[:40]


class _Fetcher:
    """Fetches and stores one batch."""

    def __init__(
        self,
        store: Store,
        interpreter: Interpreter,
        environ: Mapping[str, str],
        folder: Path,
        progress: Progress,
        report: Report,
    ) -> None:
        self._store = store
        self._interpreter = interpreter
        self._environ = environ
        self._folder = folder
        self._progress = progress
        self._report = report
        self._current = 0

    def bring(self, pins: Sequence[Pin]) -> None:
        """Fetch a batch, build its sdists, unpack everything and remember what was chosen."""
        jobs, entries = [], []
        for pin, archive, sha256 in self._download(pins):
            if archive.suffix == ".whl":
                entry = self._store.wheels / sha256
                jobs.append(self._job(pin, archive, sha256, entry))
            else:
                kind = hashlib.sha256(self._interpreter.compatibility.encode()).hexdigest()[:16]
                entry = self._store.builds / f"{sha256}-{kind}"
                built = self._build(pin, archive)
                jobs.append(self._job(pin, built, digest.sha256(built), entry))
            entries.append((pin, entry))
        self._unpack(jobs)
        for pin, entry in entries:
            selections.remember(self._store, _key(pin, self._interpreter), entry)

    def _download(self, pins: Sequence[Pin]) -> list[tuple[Pin, Path, str]]:
        """Return each pin's file, whose hash pip has compared with the lock's, and that hash."""
        listed = pip.requirement_file(self._folder, [pin.requirement() for pin in pins])
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
            cwd=self._folder,
            on_line=self._follow,
        )

    def _build(self, pin: Pin, sdist: Path) -> Path:
        """Return the wheel that pip builds, in isolation, from an sdist."""
        target = self._folder / f"built-{pin.name}"
        completed = pip.run(
            self._interpreter,
            ["wheel", "--no-deps", "--no-cache-dir", "--wheel-dir", str(target), str(sdist)],
            environ=self._environ,
            cwd=self._folder,
        )
        if completed.returncode:
            raise pip.explain(completed, f"Building {pin} from its sdist failed")
        built = list(target.glob("*.whl"))
        if len(built) != 1:
            raise ToolError(f"Building {pin} from its sdist gave {len(built)} wheels, not one")
        return built[0]

    def _job(self, pin: Pin, archive: Path, sha256: str, entry: Path) -> Mapping[str, str]:
        """Return the arguments of one `wheels.add`."""
        return {
            "archive": str(archive),
            "name": pin.name,
            "sha256": sha256,
            "entry": str(entry),
            "draft": str(self._folder / f"draft-{pin.name}"),
        }

    def _unpack(self, jobs: Sequence[Mapping[str, str]]) -> None:
        """Unpack wheels in a process of their own, so that batches do not wait for each other."""
        failures: list[EnvkitError] = []

        def follow(line: str) -> None:
            answer = json.loads(line)
            if answer:
                kind = IntegrityError if answer.get("integrity") else ToolError
                failures.append(kind(answer["message"], answer["hint"]))
            with self._progress.mutex:
                self._progress.done += 1
            self._report(self._progress)

        process.check(
            [sys.executable, "-m", "envkit.store.unpacker"],
            what="Unpacking wheels failed",
            # Python looks for modules in the folder that it is started in.
            cwd=self._folder,
            stdin="".join(json.dumps(job) + "\n" for job in jobs),
            on_line=follow,
        )
        if failures:
            raise failures[0]

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
