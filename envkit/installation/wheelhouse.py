"""Archives as the index has them, kept for a pip that installs in an image.

The store keeps wheels unpacked, of which pip can make no use: it compares hashes of archives.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from envkit.fetching.batch import Batch
from envkit.fetching.progress import Progress, Report
from envkit.installation import choice
from envkit.installation.downloads import direct_wheels
from envkit.installation.request import Request
from envkit.interpreter import Interpreter
from envkit.locks.lock import Pin
from envkit.store.layout import Store, publish


def fill(
    request: Request,
    pins: Sequence[Pin],
    there: Interpreter,
    here: Interpreter,
    *,
    report: Report,
) -> Mapping[Pin, Path]:
    """Return the archive of each pin, having fetched what was not kept from before.

    Args:
        request: whose locks have the pins.
        pins: what is to be installed.
        there: the Python of the image, for which wheels are chosen.
        here: a Python of this machine, whose pip fetches what is no wheel; it may choose another
            wheel than the image's would, which then fetches that itself.
        report: called with the progress as it changes, from any thread.

    Raises:
        ToolError: something cannot be fetched.
        IntegrityError: a file is not what the lock names.
    """
    store = request.store
    kept = {pin: archive for pin in pins if (archive := _find(store, pin, there))}
    lacking = [pin for pin in pins if pin not in kept]
    if not lacking or request.offline:
        return kept
    progress = Progress(total=len(lacking), report=report)
    with store.temporary() as folder:
        left = []
        root, environ = request.project.root, request.environ
        for found in direct_wheels(store, lacking, there, root, environ, folder, progress):
            if found.path:
                kept[found.pin] = _keep(store, found.pin, there, found.path)
                progress.add(done=1)
            else:
                left.append(found.pin)
        if left:
            batch = Batch(here, root, environ, folder / "pip", progress)
            for pin, path, _ in batch.download(left):
                kept[pin] = _keep(store, pin, there, path)
                progress.add(done=1)
    return kept


def _find(store: Store, pin: Pin, there: Interpreter) -> Path | None:
    folder = store.archives / choice.key(pin, there)
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return None
    # A collection takes the oldest.
    os.utime(folder)
    return folder / names[0] if names else None


def _keep(store: Store, pin: Pin, there: Interpreter, archive: Path) -> Path:
    folder = store.archives / choice.key(pin, there)
    draft = archive.parent / f"{pin.name}.kept"
    draft.mkdir()
    archive.rename(draft / archive.name)
    publish(draft, folder)
    return folder / archive.name
