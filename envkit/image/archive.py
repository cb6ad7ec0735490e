"""An image that stands on one that the engine has, as an archive for it to load.

An engine opens the layers that it lacks; those that it has need not be in the archive. Engines keep
images in one of two ways, and of an archive each reads the members of its own form:

- in graph drivers' folders: that of `docker save` (Docker Image Specification v1.2, "Combined Image
  JSON + Filesystem Changeset Format"), in which layers have no digests yet;
- in containerd's store: that of OCI (Image Layout Specification), in which all is named by its
  digest. What is kept there is pushed as it is, so that layers are compressed.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from envkit import refusals, tar
from envkit.engines import images
from envkit.engines.images import Blob, Image
from envkit.image import layers
from envkit.image.layers import TIME, Layer
from envkit.quantities import utc_text
from envkit.store.digest import sha256_of

_CHUNK = 1 << 20

# The fastest one: half of the time of the usual one, for a tenth more bytes.
_COMPRESSION = 1

_OCI = "application/vnd.oci.image."

Report = Callable[[Layer, int], None]


class Wish(NamedTuple):
    """The image that is to be.

    Attributes:
        name: its name, with a tag.
        base: the image that it stands on.
        history: what its base was made by, newest first.
        layers: the layers on top of that, the lowest first.
        known: what the lowest of them are in the engine, which has them.
    """

    name: str
    base: Image
    history: Sequence[images.Layer]
    layers: Sequence[Layer]
    known: Sequence[Blob]


def for_folders(wish: Wish, report: Report) -> Iterator[bytes]:
    """Yield the archive for an engine with a graph driver.

    Args:
        wish: the image.
        report: called with a layer and how many bytes of it have been written.

    Raises:
        AlteredError: a file of the store is not what it was.
    """
    blobs = list(wish.known)
    for number, layer in enumerate(wish.layers[len(blobs) :], len(blobs)):
        size = layers.size(layer)
        digest = hashlib.sha256()
        yield tar.header(_file(number).encode(), size=size, mtime=TIME)
        for chunk in _counted(layer, report):
            digest.update(chunk)
            yield chunk
        yield tar.padding(size)
        blobs.append(Blob(f"sha256:{digest.hexdigest()}"))
    yield from _member("config.json", _config(wish, blobs))
    # The base's layers need a name each, though the engine has them and opens no file.
    names = [f"base/{number}.tar" for number in range(len(wish.base.layers))]
    names += [_file(number) for number in range(len(blobs))]
    described = [{"Config": "config.json", "RepoTags": [wish.name], "Layers": names}]
    yield from _member("manifest.json", _json(described))
    yield tar.END


def for_containerd(
    wish: Wish, below: Sequence[Blob], folder: Path, report: Report
) -> Iterator[bytes]:
    """Yield the archive for an engine whose images are in containerd's store.

    Args:
        wish: the image.
        below: the layers of the base, as they are kept.
        folder: where layers can be while they are compressed.
        report: called with a layer and how many bytes of it have been compressed.

    Raises:
        AlteredError: a file of the store is not what it was.
        OSError: the disk refuses.
    """
    blobs = list(wish.known)
    for layer in wish.layers[len(blobs) :]:
        path = folder / "layer"
        blob = _compress(layer, path, report)
        blobs.append(blob)
        yield tar.header(_place(blob.digest).encode(), size=blob.size, mtime=TIME)
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
        yield tar.padding(blob.size)
    config = _config(wish, blobs)
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}manifest.v1+json",
            "config": _descriptor(f"{_OCI}config.v1+json", config),
            "layers": [
                {"mediaType": blob.kind, "digest": blob.digest, "size": blob.size}
                for blob in (*below, *blobs)
            ],
        }
    )
    tag = wish.name.rpartition(":")[2]
    names = {
        "io.containerd.image.name": wish.name,
        "org.opencontainers.image.ref.name": tag,
    }
    described = _descriptor(f"{_OCI}manifest.v1+json", manifest, annotations=names)
    for content in (config, manifest):
        yield from _member(_place(_digest(content)), content)
    yield from _member("index.json", _json({"schemaVersion": 2, "manifests": [described]}))
    yield from _member("oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
    yield tar.END


def _compress(layer: Layer, path: Path, report: Report) -> Blob:
    """Write a layer compressed, and return what it is."""
    whole, compressed = hashlib.sha256(), hashlib.sha256()
    packer = zlib.compressobj(_COMPRESSION, wbits=31)  # of gzip, without a time
    size = 0
    with refusals.naming(path), path.open("wb") as file:
        for chunk in _counted(layer, report):
            whole.update(chunk)
            packed = packer.compress(chunk)
            compressed.update(packed)
            size += file.write(packed)
        packed = packer.flush()
        compressed.update(packed)
        size += file.write(packed)
    return Blob(
        layer=f"sha256:{whole.hexdigest()}",
        digest=f"sha256:{compressed.hexdigest()}",
        size=size,
        kind=f"{_OCI}layer.v1.tar+gzip",
    )


def _counted(layer: Layer, report: Report) -> Iterator[bytes]:
    written = 0
    for chunk in layers.stream(layer):
        written += len(chunk)
        report(layer, written)
        yield chunk


def _file(number: int) -> str:
    return f"layers/{number:03}.tar"


def _place(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _member(name: str, content: bytes) -> Iterator[bytes]:
    yield tar.header(name.encode(), size=len(content), mtime=TIME)
    yield content + tar.padding(len(content))


def _descriptor(kind: str, content: bytes, **more: object) -> Mapping[str, Any]:
    return {"mediaType": kind, "digest": _digest(content), "size": len(content), **more}


def _digest(content: bytes) -> str:
    return f"sha256:{sha256_of(content)}"


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _config(wish: Wish, blobs: Sequence[Blob]) -> bytes:
    """Return the image's configuration (OCI image specification, "Image Configuration")."""
    base = wish.base
    keys = [layer.key for layer in wish.layers]
    labels = {**base.labels, images.LAYERS: images.written(keys, blobs)}
    said: dict[str, Any] = {
        "architecture": base.architecture,
        "os": base.os,
        "created": utc_text(TIME),
        "config": {**base.config, "Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": [*base.layers, *(one.layer for one in blobs)]},
        "history": [*_inherited(wish), *map(_entry, wish.layers)],
    }
    return _json(said)


def _entry(layer: Layer) -> Mapping[str, Any]:
    return {"created": utc_text(TIME), "created_by": f"envkit: {layer.title}", "comment": "envkit"}


def _inherited(wish: Wish) -> Sequence[Mapping[str, Any]]:
    """Return the base's history as its configuration has it.

    Where that is unclear, it says no more than that there was a base.
    """
    made = images.makers(wish.history, len(wish.base.layers))
    if made is None:
        return [{"created": utc_text(TIME), "created_by": "the base"}] * len(wish.base.layers)
    return [_made(one, empty=one not in made) for one in reversed(wish.history)]


def _made(one: images.Layer, *, empty: bool) -> Mapping[str, Any]:
    entry = {"created": utc_text(one.created), "created_by": one.command}
    return {**entry, "empty_layer": True} if empty else entry
