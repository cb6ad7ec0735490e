"""An image that stands on one that the engine has, as an archive for it to load.

The form is that of `docker save` (Docker Image Specification v1.2, "Combined Image JSON +
Filesystem Changeset Format"). An engine opens the layers that it lacks; others need not be there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from envkit.image import images, layers, tar
from envkit.image.images import Image
from envkit.image.layers import TIME, Layer

_CREATED = "2020-01-01T00:00:00Z"


class Wish(NamedTuple):
    """The image that is to be.

    Attributes:
        name: its name, with a tag.
        base: the image that it stands on.
        history: what its base was made by, newest first.
        layers: the layers on top of that, the lowest first.
        labels: its labels, beside those of the base.
    """

    name: str
    base: Image
    history: Sequence[images.Layer]
    layers: Sequence[Layer]
    labels: Mapping[str, str]


class Archive:
    """The archive of an image.

    Attributes:
        digests: what the layers' digests are, by their keys, as far as they are known.
        image: the image's id, once all has been written.
    """

    def __init__(
        self,
        wish: Wish,
        *,
        present: int,
        digests: Mapping[str, str],
        report: Callable[[Layer, int], None] = lambda _layer, _size: None,
    ) -> None:
        """Begin an archive.

        Args:
            wish: the image.
            present: how many of its layers, counted from the lowest, the engine has.
            digests: the digests of those layers at least ("sha256:…"), by their keys.
            report: called with a layer and how many bytes of it have been written.
        """
        self._wish = wish
        self._present = present
        self._report = report
        self.digests = dict(digests)
        self.image = ""

    def chunks(self) -> Iterator[bytes]:
        """Yield the archive.

        Raises:
            AlteredError: a file of the store is not what it was.
        """
        for number, layer in enumerate(self._wish.layers):
            if number >= self._present:
                yield from self._layer(_file(number), layer)
        diffs = [self.digests[layer.key] for layer in self._wish.layers]
        config = json.dumps(_config(self._wish, diffs), sort_keys=True).encode()
        self.image = f"sha256:{hashlib.sha256(config).hexdigest()}"
        yield from _member("config.json", config)
        # The base's layers need a name each, though the engine has them and opens no file.
        names = [f"base/{number}.tar" for number in range(len(self._wish.base.layers))]
        names += [_file(number) for number in range(len(self._wish.layers))]
        described = [{"Config": "config.json", "RepoTags": [self._wish.name], "Layers": names}]
        yield from _member("manifest.json", json.dumps(described).encode())
        yield tar.END

    def _layer(self, name: str, layer: Layer) -> Iterator[bytes]:
        size = layers.size(layer)
        found = hashlib.sha256()
        written = 0
        yield tar.header(name.encode(), size=size, mtime=TIME)
        for chunk in layers.stream(layer):
            found.update(chunk)
            written += len(chunk)
            self._report(layer, written)
            yield chunk
        assert written == size
        yield tar.padding(size)
        self.digests[layer.key] = f"sha256:{found.hexdigest()}"


def _file(number: int) -> str:
    return f"layers/{number:03}.tar"


def _member(name: str, content: bytes) -> Iterator[bytes]:
    yield tar.header(name.encode(), size=len(content), mtime=TIME)
    yield content + tar.padding(len(content))


def _config(wish: Wish, diffs: Sequence[str]) -> Mapping[str, Any]:
    """Return the image's configuration (OCI image specification, "Image Configuration")."""
    base = wish.base
    labels = {**base.labels, **wish.labels}
    return {
        "architecture": base.architecture,
        "os": base.os,
        "created": _CREATED,
        "config": {**base.config, "Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": [*base.layers, *diffs]},
        "history": [*_inherited(wish), *map(_entry, wish.layers)],
    }


def _entry(layer: Layer) -> Mapping[str, Any]:
    return {"created": _CREATED, "created_by": f"envkit: {layer.title}", "comment": "envkit"}


def _inherited(wish: Wish) -> Sequence[Mapping[str, Any]]:
    """Return the base's history as its configuration has it.

    Raises nothing where that is unclear: then it says no more than that there was a base.
    """
    made = images.makers(wish.history, len(wish.base.layers))
    if made is None:
        return [{"created": _CREATED, "created_by": "the base"}] * len(wish.base.layers)
    return [
        {
            "created": _time(one.created),
            "created_by": one.command,
            **({} if one in made else {"empty_layer": True}),
        }
        for one in reversed(wish.history)
    ]


def _time(seconds: int) -> str:
    from datetime import datetime, timezone

    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
