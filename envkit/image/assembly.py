"""The image that has a lock's distributions and nothing else, for the project's own to stand on.

It is made from what the store has, without a container: the engine is handed the layers that it
lacks. Which layers an image has is written in a label of it, so that nobody but the engine need be
asked what is there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import NamedTuple

from envkit.environment import usage
from envkit.errors import AlteredError, ToolError
from envkit.fetching.progress import Report
from envkit.image import content, labels, layers
from envkit.image.archive import Archive, Wish
from envkit.image.bases import Base
from envkit.image.engine import Engine
from envkit.image.images import Image
from envkit.image.layers import Layer
from envkit.installation.plan import Request

Say = Callable[[str], None]

# What images are called that only others stand on.
REPOSITORY = "envkit/dependencies"


class Assembled(NamedTuple):
    """An image with a lock's distributions.

    Attributes:
        name: its name.
        layers: its layers above those of the base, the lowest first.
        present: how many of them the engine had.
    """

    name: str
    layers: tuple[Layer, ...]
    present: int


class Assembly:
    """Makes such images of one project."""

    def __init__(
        self,
        engine: Engine,
        request: Request,
        *,
        fetching: Report,
        loading: Callable[[Layer, int], None],
        say: Say,
    ) -> None:
        """Begin.

        Args:
            engine: the engine that is to have them.
            request: the groups whose locks are meant.
            fetching: called with the progress of fetching.
            loading: called with a layer and how many bytes of it the engine has been handed.
            say: called with a line before what can take time.
        """
        self._engine = engine
        self._request = request
        self._fetching = fetching
        self._loading = loading
        self._say = say

    def make(self, image: Image, base: Base) -> Assembled:
        """Return the image that stands on a base, making it if the engine lacks it.

        Args:
            image: the base.
            base: its Python.

        Raises:
            ToolError: something cannot be fetched, or the engine fails.
            IntegrityError: a file is not what the lock names.
            MissingError: this machine has no Python to compile with for the base's.
        """
        while True:
            with self._request.store.in_use(self._say):
                parts = content.compose(self._request, base, report=self._fetching, say=self._say)
                wanted = layers.plan(content.skeleton(base), parts, content.layout(base))
                try:
                    return self._provide(image, wanted)
                except AlteredError as altered:
                    source = altered.source
            # Each time there is one entry less that could be altered.
            entry, _ = usage.set_aside(self._request.store, source)
            self._say(f"{entry} was altered in the store; it is set aside and made anew")

    def _provide(self, image: Image, wanted: Sequence[Layer]) -> Assembled:
        keys = [layer.key[:16] for layer in wanted]
        name = f"{REPOSITORY}:{_digest([image.id, *keys])[:16]}"
        made = Assembled(name, tuple(wanted), len(wanted))
        if self._engine.inspect(name):
            return made
        digests = self._present(image, keys)
        known = {layer.key: digest for layer, digest in zip(wanted, digests, strict=False)}
        wish = Wish(
            name=name,
            base=image,
            history=self._engine.history(image.id),
            layers=wanted,
            labels={labels.LAYERS: " ".join(keys)},
        )
        archive = Archive(wish, present=len(digests), digests=known, report=self._loading)
        self._engine.load(archive.chunks())
        loaded = self._engine.inspect(name)
        if loaded is None:
            raise ToolError(f"The engine loaded {name}, and does not have it")
        return made._replace(present=len(digests))

    def _present(self, image: Image, keys: Sequence[str]) -> tuple[str, ...]:
        """Return the digests of the lowest layers that the engine has on top of a base already."""
        found = []
        for one in self._engine.images(labels.LAYERS):
            theirs = one.labels.get(labels.LAYERS, "").split(" ")
            shared = takewhile(lambda pair: pair[0] == pair[1], zip(keys, theirs, strict=False))
            found.append((len(list(shared)), one.id))
        below = len(image.layers)
        for number, identity in sorted(found, reverse=True):
            other = self._engine.inspect(identity) if number else None
            if other and other.layers[:below] == image.layers:
                return other.layers[below : below + number]
        return ()


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
