"""How an engine keeps the layers of an image, read from what it exports.

Engines that keep images in containerd's store tell the layers' digests unpacked, but not those of
what they keep. Those stand in the image's manifest, which comes with the whole image.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from envkit.engines.engine import Engine
from envkit.engines.images import Blob, Image
from envkit.errors import ToolError
from envkit.store.layout import write_whole

# A manifest or configuration is smaller than this; a layer that is as well is no JSON.
_LARGEST = 4 << 20

_BLOBS = "blobs/sha256/"


def layers(engine: Engine, image: Image, *, cache: Path) -> tuple[Blob, ...]:
    """Return the layers of an image as its engine keeps them, the lowest first.

    Args:
        engine: an engine whose images are in containerd's store.
        image: the image.
        cache: a folder in which answers are kept, since the engine sends all of the image.

    Raises:
        ToolError: the engine fails, or exports no such image.
    """
    key = hashlib.sha256(image.id.encode()).hexdigest()[:24]
    remembered = cache / f"layers-{key}.json"
    with contextlib.suppress(OSError, ValueError, TypeError):
        return tuple(Blob(*one) for one in json.loads(remembered.read_bytes()))
    documents = dict(_documents(engine, image))
    for said in documents.values():
        config = documents.get(_digest(said.get("config")), {})
        diffs = (config.get("rootfs") or {}).get("diff_ids")
        if diffs == list(image.layers) and len(said.get("layers") or ()) == len(diffs):
            found = tuple(
                Blob(layer, one["digest"], int(one["size"]), one["mediaType"])
                for layer, one in zip(diffs, said["layers"], strict=True)
            )
            cache.mkdir(parents=True, exist_ok=True)
            write_whole(remembered, json.dumps(found))
            return found
    raise ToolError(f"The engine exports no manifest of {image.id}")


def _documents(engine: Engine, image: Image) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the JSON documents of an exported image, each by its digest."""
    with tarfile.open(fileobj=_Reading(engine.export(image.id)), mode="r|") as archive:
        for member in archive:
            if member.name.startswith(_BLOBS) and member.isfile() and member.size < _LARGEST:
                file = archive.extractfile(member)
                with contextlib.suppress(ValueError):
                    said = json.loads(file.read() if file else b"")
                    if isinstance(said, dict):
                        yield f"sha256:{member.name.removeprefix(_BLOBS)}", said


def _digest(descriptor: object) -> str:
    return str(descriptor.get("digest")) if isinstance(descriptor, dict) else ""


class _Reading(io.RawIOBase):
    """What is read from an iterator of bytes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self._left:
            self._left = next(self._chunks, b"")
            if not self._left:
                return b""
        found, self._left = self._left[:size], self._left[size:]
        return found
