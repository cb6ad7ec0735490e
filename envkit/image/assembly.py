"""The image that has a lock's distributions and nothing else, for the project's own to stand on.

It is made from what the store has, without a container: the engine is handed the layers that it
lacks. Which layers an image has is written in a label of it, so that nobody but the engine need be
asked what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from envkit.engines import exports, images
from envkit.engines.engine import Engine
from envkit.engines.images import Blob, Image
from envkit.environment import usage
from envkit.errors import AlteredError, ToolError
from envkit.fetching.progress import Report
from envkit.image import archive, content, layers
from envkit.image.archive import Wish
from envkit.image.bases import Base
from envkit.image.layers import Layer
from envkit.installation.request import Request
from envkit.locks.lock import Lock
from envkit.store.digest import sha256_of_json

Say = Callable[[str], None]

# What images are called that only others stand on: what no registry but one of this machine could
# have, as nobody else is to say what is in them.
REPOSITORY = "localhost/envkit/dependencies"


class Assembly:
    """Makes such images of one project."""

    def __init__(
        self,
        engine: Engine,
        request: Request,
        locks: Sequence[Lock],
        *,
        fetching: Report,
        loading: Callable[[Layer, int], None],
        say: Say,
    ) -> None:
        """Begin.

        Args:
            engine: the engine that is to have them.
            request: the groups that are meant.
            locks: their locks.
            fetching: called with the progress of fetching.
            loading: called with a layer and how many bytes of it the engine has been handed.
            say: called with a line before what can take time.
        """
        self._engine = engine
        self._request = request
        self._locks = locks
        self._fetching = fetching
        self._loading = loading
        self._say = say

    def make(self, image: Image, base: Base) -> str:
        """Return the name of the image that stands on a base, making it if the engine lacks it.

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
                parts = content.compose(
                    self._request, self._locks, base, report=self._fetching, say=self._say
                )
                wanted = layers.plan(content.skeleton(base), parts, content.layout(base))
                try:
                    return self._provide(image, wanted)
                except AlteredError as altered:
                    source = altered.source
            # Each time there is one entry less that could be altered.
            entry, _ = usage.set_aside(self._request.store, source)
            self._say(f"{entry} was altered in the store; it is set aside and made anew")

    def _provide(self, image: Image, wanted: Sequence[Layer]) -> str:
        keys = [layer.key for layer in wanted]
        name = f"{REPOSITORY}:{sha256_of_json([image.id, *keys])[:16]}"
        if self._engine.inspect(name):
            return name
        wish = Wish(
            name=name,
            base=image,
            history=self._engine.history(image.id),
            layers=wanted,
            known=self._present(image, keys),
        )
        store = self._request.store
        with store.temporary() as folder:
            if self._engine.facts().containerd_images:
                below = exports.layers(self._engine, image, cache=store.interpreters)
                chunks = archive.for_containerd(wish, below, folder, self._loading)
            else:
                chunks = archive.for_folders(wish, self._loading)
            self._engine.load(chunks)
        if self._engine.inspect(name) is None:
            raise ToolError(f"The engine loaded {name}, and does not have it")
        return name

    def _present(self, image: Image, keys: Sequence[str]) -> Sequence[Blob]:
        """Return the lowest layers that the engine has on top of a base already."""
        found = []
        for one in self._engine.images(images.LAYERS):
            blobs = images.shared(one.labels.get(images.LAYERS, ""), keys)
            found.append((len(blobs), one.id, blobs))
        for number, identity, blobs in sorted(found, reverse=True):
            other = self._engine.inspect(identity) if number else None
            expected = (*image.layers, *(blob.layer for blob in blobs))
            if other and other.layers[: len(expected)] == expected:
                return blobs
        return ()
