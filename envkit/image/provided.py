"""Where the distributions of an image come from."""

from __future__ import annotations

from typing import NamedTuple


class Provided(NamedTuple):
    """Where the distributions come from.

    Attributes:
        kind: "store", "pip", or "Dockerfile", where that has no place to hand anything in.
        name: the image that has them; empty where the build of the whole makes them.
        used: the names of all images that were made, or were there, for the whole to stand on.
    """

    kind: str
    name: str
    used: tuple[str, ...]
