"""What a lock names and the store lacks: fetched, several at once, and unpacked meanwhile."""

from __future__ import annotations

import json
import os
import queue
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from envkit import pip, process, refusals
from envkit.errors import IntegrityError, NoWheelError, ToolError
from envkit.fetching import selection, sources
from envkit.fetching.batch import Archive, Batch
from envkit.fetching.progress import Progress, Report
from envkit.installation import choice
from envkit.installation.request import Request
from envkit.interpreter import Interpreter
from envkit.locks.lock import Pin
from envkit.quantities import few
from envkit.store.layout import Store

if TYPE_CHECKING:
    from envkit.fetching.direct import Fetched

# Fewer distributions than this are not worth a pip of their own, which takes 0.3 s to start.
_SMALLEST_BATCH = 6


def fetch(
    request: Request,
    pins: Sequence[Pin],
    interpreter: Interpreter,
    *,
    report: Report,
    stored: Callable[[Pin], None],
) -> None:
    """Bring the files of pins into the store.

    Args:
        request: what is to be installed.
        pins: what the store lacks.
        interpreter: the Python that they are for.
        report: called with the progress as it changes, from any thread.
        stored: called with each pin as soon as the store has it, from any thread.

    Raises:
        ToolError: pip cannot bring something.
        IntegrityError: a file is not what the lock names, or is no sound wheel.
    """
    store, root, environ = request.store, request.project.root, request.environ
    workers = max(2, min(4, os.cpu_count() or 2))
    progress = Progress(total=len(pins), report=report)
    with store.temporary() as folder, ExitStack() as stack:
        # Fetching waits for the network, unpacking for a processor: neither holds up the other.
        fetching = stack.enter_context(ThreadPoolExecutor(workers))
        unpacking = stack.enter_context(ThreadPoolExecutor(workers))
        unpacker = _Unpacker(store, folder, progress, min(workers, len(pins)))
        stack.callback(unpacker.close)
        unpacked: list[Future[None]] = []

        def store_it(archive: Archive) -> None:
            choice.remember(store, archive.pin, interpreter, unpacker.unpack(archive))
            stored(archive.pin)

        def unpack(archive: Archive) -> None:
            unpacked.append(unpacking.submit(store_it, archive))

        try:
            left = []
            for fetched in direct_wheels(store, pins, interpreter, root, environ, folder, progress):
                if fetched.path:
                    unpack(Archive(fetched.pin, fetched.path, fetched.sha256))
                else:
                    left.append(fetched.pin)
            _refuse_building(left, interpreter)
            batches = [
                fetching.submit(
                    Batch(interpreter, root, environ, folder / str(number), progress).bring, dealt
                )
                for number, dealt in enumerate(_deal(left, workers))
            ]
            for task in as_completed(batches):
                # The largest first, so that none is left over at the end.
                for archive in sorted(task.result(), key=lambda one: -one.path.stat().st_size):
                    unpack(archive)
            for done in as_completed(unpacked):
                done.result()
        except BaseException:
            fetching.shutdown(wait=False, cancel_futures=True)
            unpacking.shutdown(wait=False, cancel_futures=True)
            process.stop_all()
            raise


def _refuse_building(left: Sequence[Pin], interpreter: Interpreter) -> None:
    """Refuse what only a pip of the interpreter could bring, where that is not on this machine."""
    if left and not interpreter.executable:
        raise NoWheelError(
            f"There is no wheel of {few(left)} for the Python {interpreter.version} there"
        )


def _deal(pins: Sequence[Pin], workers: int) -> Iterator[Sequence[Pin]]:
    """Yield the pins in as many batches as are worth it, like cards."""
    count = min(workers, len(pins) // _SMALLEST_BATCH) or min(1, len(pins))
    for start in range(count):
        yield pins[start::count]


def direct_wheels(
    store: Store,
    pins: Sequence[Pin],
    interpreter: Interpreter,
    root: Path,
    environ: Mapping[str, str],
    folder: Path,
    progress: Progress,
) -> Iterator[Fetched]:
    """Fetch without pip what can be had without it; yield the others without a path."""
    cache = store.interpreters
    with ThreadPoolExecutor(2) as beside:
        prefix = Path(interpreter.executable or sys.executable).parents[1]
        found = beside.submit(sources.read, environ, root, prefix, lambda: pip.default_index(cache))
        ranked = beside.submit(selection.ranks, interpreter, cache)
        # As long to import as these two take to be asked.
        from envkit.fetching import direct

        known, tags = found.result(), ranked.result()
    if known is None or not tags:
        yield from (direct.Fetched(pin, None) for pin in pins)
        return
    target = folder / "direct"
    target.mkdir()
    fetcher = direct.Fetcher(
        known, interpreter, tags, target, lambda size: progress.add(fetched=size)
    )
    yield from fetcher.fetch(pins)


class _Unpacker:
    """Unpacks wheels in processes of its own, which start while the first wheels are fetched."""

    def __init__(self, store: Store, folder: Path, progress: Progress, workers: int) -> None:
        self._store = store
        self._folder = folder
        self._progress = progress
        self._idle: queue.SimpleQueue[process.Worker] = queue.SimpleQueue()
        self._workers = [
            process.Worker(
                [sys.executable, "-m", "envkit.store.unpacker"],
                what="Unpacking wheels failed",
                # Python looks for modules in the folder that it is started in.
                cwd=folder,
            )
            for _ in range(workers)
        ]
        for worker in self._workers:
            self._idle.put(worker)

    def unpack(self, archive: Archive) -> str:
        """Unpack a wheel, and return the folder of the entry that it now is.

        Raises:
            IntegrityError: it is damaged or hostile.
            OSError: the disk refuses.
        """
        entry = self._store.builds / archive.build if archive.build else None
        entry = entry or self._store.wheels / archive.sha256
        job = {
            "archive": str(archive.path),
            "name": archive.pin.name,
            "version": archive.pin.version,
            "sha256": archive.sha256,
            "entry": str(entry),
            "draft": str(self._folder / f"draft-{archive.pin.name}"),
        }
        worker = self._idle.get()
        try:
            answer = json.loads(worker.ask(json.dumps(job)))
        finally:
            self._idle.put(worker)
        if "refused" in answer:
            raise refusals.from_json(answer["refused"])
        if answer:
            kind = IntegrityError if answer.get("integrity") else ToolError
            raise kind(answer["message"], answer["hint"])
        self._progress.add(done=1)
        return str(entry)

    def close(self) -> None:
        """Let the processes end."""
        for worker in self._workers:
            worker.close()
