"""What is to be built, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from envkit.dockerfile import Dockerfile
from envkit.engines.progress import Report

# Gives the context as a tar archive, with these files more: name -> content.
Pack = Callable[[Mapping[str, bytes]], Iterator[bytes]]


class Build(NamedTuple):
    """An image that is to be built.

    Attributes:
        dockerfile: the Dockerfile.
        dockerfile_name: what messages call it.
        root: the folder that is the context, for a builder that reads it itself.
        ignore: the rules for what of it is left out, as text of a `.dockerignore`, for such a one.
        pack: gives the context to the other ones.
        target: the stage to build; the last one by default.
        arguments: build arguments. Whoever has the image can read them.
        labels: the image's labels.
        tags: its names.
        platforms: what it is built for, "linux/arm64"; as the engine likes by default.
        secrets: as buildx takes them: "id=token,env=TOKEN" or "id=token,src=path".
        cache_from: where a cache is read from, as buildx takes it.
        cache_to: where one is written to.
        no_cache: whether nothing is taken from the engine's cache.
        pull: whether base images are asked for anew.
        network: that of RUN: "none", "host"; the builder's default by default.
        push: whether the builder itself pushes it, instead of handing it to the engine.
    """

    dockerfile: Dockerfile
    root: Path
    pack: Pack
    ignore: str = ""
    dockerfile_name: str = "Dockerfile"
    target: str = ""
    arguments: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    tags: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    no_cache: bool = False
    pull: bool = False
    network: str = ""
    push: bool = False


class Built(NamedTuple):
    """What was built.

    Attributes:
        id: the image's id in the engine; of what is pushed, its digest in the registry.
        builder: the name of the builder that did it.
        metadata: what the builder says of it beside that, by buildx's names.
    """

    id: str
    builder: str
    metadata: Mapping[str, Any]


class Builder(Protocol):
    """What builds images."""

    @property
    def name(self) -> str:
        """As people are told which one ran."""

    @property
    def is_apart(self) -> bool:
        """Whether it is a program of its own, which needs nothing of this process."""

    @property
    def has_own_images(self) -> bool:
        """Whether it has images of its own, so that it cannot begin with the engine's."""

    def build(self, build: Build, report: Report) -> Built:
        """Build an image; interrupted, it calls off what goes on in the engine.

        Args:
            build: what is to be built.
            report: told of what goes on.

        Raises:
            MissingError: a base image is missing, or what the build needs of the builder.
            RefusedError: a disk is full.
            ToolError: the build failed; the last lines of the step that did are in the message.
            UsageError: the Dockerfile or what is asked for makes no sense.
        """
