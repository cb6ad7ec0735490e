"""Images as an engine describes them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

# Architectures as the kernel names them -> as OCI does (GOARCH).
_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "i386": "386",
    "i686": "386",
    "armv7l": "arm",
    "armv6l": "arm",
}


# So many digits of a key tell one layer of an image from another.
_KEY = 16

# What makes a layer, though perhaps one without a file; and what never does.
_MAKES = re.compile(r"\b(RUN|COPY|ADD|WORKDIR)\b")
_NOTHING = re.compile(r"(?!)")


# On images with distributions from the store: what their layers above the base were made from.
LAYERS = "dev.envkit.layers"


class Blob(NamedTuple):
    """A layer as an engine keeps it.

    Attributes:
        layer: the digest of its archive, "sha256:…".
        digest: the digest of what is kept, compressed; empty where engines do not say.
        size: the bytes of that.
        kind: its media type (OCI image specification).
    """

    layer: str
    digest: str = ""
    size: int = 0
    kind: str = ""


class Image(NamedTuple):
    """An image that an engine has.

    Attributes:
        id: its id, "sha256:...".
        layers: the digests of its layers unpacked, lowest first.
        size: bytes, as the engine counts them.
        labels: its labels.
        os: as OCI names it.
        architecture: as OCI names it.
        created: when, as RFC 3339 has it; empty if it does not say.
        tags: its names, "app:1".
        config: its configuration as OCI describes it: Env, Cmd, Entrypoint, User, WorkingDir.
    """

    id: str
    layers: tuple[str, ...]
    size: int
    labels: Mapping[str, str]
    os: str
    architecture: str
    created: str
    tags: tuple[str, ...]
    config: Mapping[str, Any]


class Layer(NamedTuple):
    """One line of an image's history, as the engine tells it, newest first.

    Attributes:
        command: what made it.
        size: bytes that it added.
        created: seconds since 1970.
    """

    command: str
    size: int
    created: int


class Listed(NamedTuple):
    """An image in a list.

    Attributes:
        id: its id.
        tags: its names.
        size: bytes, as the engine counts them.
        created: seconds since 1970.
        labels: its labels.
    """

    id: str
    tags: tuple[str, ...]
    size: int
    created: int
    labels: Mapping[str, str]


def written(keys: Sequence[str], blobs: Sequence[Blob]) -> str:
    """Return what an image's label says of its layers: keys, each with what is kept of it."""
    return " ".join(
        f"{key[:_KEY]}={blob.layer}={blob.digest}={blob.size}={blob.kind}"
        for key, blob in zip(keys, blobs, strict=True)
    )


def shared(label: str, keys: Sequence[str]) -> list[Blob]:
    """Return what an image has of the lowest of some layers, by its label.

    Args:
        label: what the label says.
        keys: the digests of all that each layer depends on.
    """
    found: list[Blob] = []
    for text, key in zip(label.split(" "), keys, strict=False):
        theirs, *values = text.split("=")
        if theirs != key[:_KEY] or len(values) != 4 or not values[2].isdecimal():
            break
        found.append(Blob(values[0], values[1], int(values[2]), values[3]))
    return found


def makers(history: Sequence[Layer], layers: int) -> list[Layer] | None:
    """Return the lines of a history that made a layer, oldest first; None if that is unclear.

    An engine does not say which lines did. Those that added bytes did, and so did some that could
    have and added none.

    Args:
        history: the lines, newest first.
        layers: how many layers there are.
    """
    oldest_first = list(reversed(history))
    for pattern in (_MAKES, _NOTHING):
        found = [one for one in oldest_first if one.size or pattern.search(one.command)]
        if len(found) == layers:
            return found
    return None


def architecture(machine: object) -> str:
    """Return a machine type as OCI names it, whoever named it."""
    name = str(machine or "")
    return _ARCHITECTURES.get(name, name)


def from_inspection(said: Mapping[str, Any]) -> Image:
    """Return what the answer of `GET /images/NAME/json` says."""
    config = said.get("Config") or {}
    return Image(
        id=str(said["Id"]),
        layers=tuple((said.get("RootFS") or {}).get("Layers") or ()),
        size=int(said.get("Size") or 0),
        labels=config.get("Labels") or {},
        os=str(said.get("Os", "")),
        architecture=architecture(said.get("Architecture")),
        created=str(said.get("Created") or ""),
        tags=tuple(said.get("RepoTags") or ()),
        config=config,
    )


def from_list(said: Mapping[str, Any]) -> Listed:
    """Return what one part of the answer of `GET /images/json` says."""
    return Listed(
        id=str(said["Id"]),
        tags=tuple(tag for tag in said.get("RepoTags") or () if tag != "<none>:<none>"),
        size=int(said.get("Size") or 0),
        created=int(said.get("Created") or 0),
        labels=said.get("Labels") or {},
    )


def from_history(said: Mapping[str, Any]) -> Layer:
    """Return what one part of the answer of `GET /images/NAME/history` says."""
    return Layer(
        command=str(said.get("CreatedBy") or ""),
        size=int(said.get("Size") or 0),
        created=int(said.get("Created") or 0),
    )
