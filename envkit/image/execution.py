"""Carrying a build's plan out: what the image stands on, then the image."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from envkit import refusals
from envkit.beside import Beside
from envkit.builders.build import Builder, Built
from envkit.engines import images
from envkit.engines.glance import Glance
from envkit.engines.images import Image
from envkit.engines.pushing import Pushed
from envkit.errors import EnvkitError
from envkit.image import labels, orders, record
from envkit.image import plan as plans
from envkit.image.plan import Plan
from envkit.image.provided import Provided
from envkit.image.record import Record
from envkit.quantities import bytes_text

if TYPE_CHECKING:
    from envkit.engines.connecting import Connecting
    from envkit.engines.engine import Engine
    from envkit.image.dependencies import Show

# A build context of this many bytes is worth a word.
_MUCH = 100_000_000

# So many images that only others stand on are kept of a project, beside those in use.
_KEPT = 2


class Added(NamedTuple):
    """A layer that the image has and the one before had not: what made it, and its bytes."""

    made_by: str
    size: int


class Outcome(NamedTuple):
    """What a build came to.

    Attributes:
        image: the image's id.
        tags: its names.
        size: in bytes, as the engine counts them.
        before: the size of the image that was built before; None if it is the first.
        layers: how many layers it has.
        added: those that the image before had not, the lowest first.
        dependencies: where its distributions came from: "store", "pip", "Dockerfile".
        builder: what built it; empty where nothing had changed.
        changed: whether it is another image than before.
        pushed: what was pushed.
    """

    image: str
    tags: tuple[str, ...]
    size: int
    before: int | None
    layers: int
    added: tuple[Added, ...]
    dependencies: str
    builder: str
    changed: bool
    pushed: tuple[Pushed, ...]


class Execution:
    """One build."""

    def __init__(self, plan: Plan, connecting: Connecting, builder: Builder, show: Show) -> None:
        """Begin.

        Args:
            plan: what is to be built.
            connecting: how to reach the engine that is to have it.
            builder: what builds it.
            show: whom it is told.
        """
        self._plan = plan
        self._connecting = connecting
        self._builder = builder
        self._show = show
        self._before = record.read(Path(plan.home.image))
        self._images = Glance(connecting)

    def run(self) -> Outcome:
        """Build, tag and push, unless the engine has just this image already.

        Raises:
            EnvkitError: something is missing, refused or wrong; the image of before is as it was.
        """
        if self._plan.is_several:
            return self._several()
        outcome = self._ahead() or self._unchanged() or self._in_order()
        if self._plan.options.push:
            pushed = tuple(self._engine.push(tag, self._show.step) for tag in self._plan.tags)
            outcome = outcome._replace(pushed=pushed)
        return outcome

    def differences(self) -> tuple[str, ...]:
        """Return why a build would be run; nothing if the engine has what it would come to.

        Nothing is changed, and no registry is asked.
        """
        before, plan = self._before, self._plan
        tagged = {tag: self._images.inspect(tag) for tag in plan.tags}
        image = self._images.inspect(before.image) if before else None
        if before is None or image is None:
            return ("it was never built here, or is not there any more",)
        kinds = {labels.LOCK: "the lock", labels.CODE: "the code", labels.DOCKERFILE: "Dockerfile"}
        differing = labels.differing(image.labels, plan.labels)
        found = [f"{kinds[label]} changed" for label in differing]
        if not found and before.inputs != plan.inputs(before.ids):
            found.append("options, settings or labels changed")
        if not self._stands(before):
            found.append("what it stands on changed")
        others = [tag for tag, one in tagged.items() if one is None or one.id != image.id]
        return (*found, *(f"{tag} is not its name" for tag in others))

    @property
    def _engine(self) -> Engine:
        return self._connecting.engine

    def _ahead(self) -> Outcome | None:
        """Build on what the last build stood on, and look meanwhile whether that is still right.

        For a change of the code, which is what mostly changes, nobody so waits for the answers. The
        image gets its names when all is known to be right.

        Returns:
            None if something else than the code has changed, or may have.
        """
        before, plan, options = self._before, self._plan, self._plan.options
        plain = not (options.no_cache or options.pull or options.cache_to or plan.platforms)
        if before is None or not (plain and before.keeps_nameless and self._builder.is_apart):
            return None
        if before.beneath != plan.beneath(before.ids) or before.inputs == plan.inputs(before.ids):
            return None
        if self._builder.has_own_images:
            return None
        looking = Beside(lambda: self._stands(before))
        try:
            built = self._run_builder(before.handed, tags=())
        except EnvkitError:
            if looking.result():
                raise
            return None
        if not looking.result():
            return None
        stood = Provided(before.dependencies, before.handed, before.intermediate)
        return self._finish(built, before.ids, stood, keeps=True)

    def _stands(self, before: Record) -> bool:
        """Return whether the engine has all that the last build stood on, as it was."""
        ids = {name: self._images.inspect(name) for name in before.ids}
        same = all(image and image.id == before.ids[name] for name, image in ids.items())
        return same and (not before.handed or self._images.inspect(before.handed) is not None)

    def _unchanged(self) -> Outcome | None:
        """Return what was built before, if it would be built again just so and is still there."""
        before, plan, options = self._before, self._plan, self._plan.options
        anew = options.no_cache or options.pull or options.cache_to or options.created
        if before is None or anew or plan.dockerfile.reads_network:
            return None
        if before.inputs != plan.inputs(before.ids) or not self._stands(before):
            return None
        image = self._images.inspect(before.image)
        if image is None:
            return None
        self._name(image)
        return Outcome(
            image=image.id,
            tags=plan.tags,
            size=image.size,
            before=before.size,
            layers=len(image.layers),
            added=(),
            dependencies=before.dependencies,
            builder="",
            changed=False,
            pushed=(),
        )

    def _in_order(self) -> Outcome:
        """Build from the bottom up."""
        before, plan = self._before, self._plan
        ids = self._bring_images()
        again = before and not plan.options.no_cache and before.beneath == plan.beneath(ids)
        if before and again and self._stands(before):
            provided = Provided(before.dependencies, before.handed, before.intermediate)
        else:
            provided = self._provide(ids)
        built = self._run_builder(provided.name, tags=plan.tags)
        # In containerd's store what has no name is not kept.
        keeps = not self._engine.facts().containerd_images
        return self._finish(built, ids, provided, keeps=keeps)

    def _several(self) -> Outcome:
        """Have the builder build for several platforms, and push; the engine keeps nothing."""
        built = self._run_builder("", tags=self._plan.tags, push=True)
        return Outcome(
            image=built.id,
            tags=self._plan.tags,
            size=0,
            before=None,
            layers=0,
            added=(),
            dependencies="Dockerfile",
            builder=built.builder,
            changed=True,
            pushed=tuple(Pushed(tag, built.id) for tag in self._plan.tags),
        )

    def _provide(self, ids: Mapping[str, str]) -> Provided:
        # What it takes to make them is much, and most builds need nothing of it.
        from envkit.image.dependencies import Dependencies

        return Dependencies(self._plan, self._engine, self._builder, ids, self._show).provide()

    def _bring_images(self) -> Mapping[str, str]:
        """Return the id of each image that the Dockerfile names, asking a registry if need be."""
        found = {}
        for name in self._plan.images:
            image = None if self._plan.options.pull else self._images.inspect(name)
            if image is None:
                self._show.say(f"Pulling {name}")
                image = self._pull(name)
            found[name] = image.id
        return found

    def _pull(self, name: str) -> Image:
        """Bring an image; say where the Dockerfile names it if that cannot be done."""
        try:
            return self._engine.pull(name, self._show.step)
        except EnvkitError as error:
            line = self._plan.dockerfile.bases(self._plan.arguments).get(name)
            where = f"{plans.DOCKERFILE}:{line}: " if line else ""
            raise type(error)(f"{where}{error.message}", error.hint) from None

    def _run_builder(self, handed: str, *, tags: tuple[str, ...], push: bool = False) -> Built:
        plan = self._plan
        size = plan.context.size
        bulk = f", {bytes_text(size)} of files" if size >= _MUCH else ""
        self._show.say(f"Building {plan.tags[0]} with {self._builder.name}{bulk}")
        if bulk:
            largest = plan.context.largest[0]
            name = os.fsdecode(largest.name)
            self._show.say(
                f"  the largest is {name} ({bytes_text(largest.size)}); what an image "
                "does without is for .dockerignore"
            )
        order = orders.whole(plan, handed, tags=tags, push=push)
        return self._builder.build(order, self._show.step)

    def _finish(
        self, built: Built, ids: Mapping[str, str], provided: Provided, *, keeps: bool
    ) -> Outcome:
        """Give the image its names, and write down what was built."""
        before, plan = self._before, self._plan
        image = self._images.require(built.id)
        self._name(image)
        layers = before.layers if before else ()
        intermediate = self._intermediate(provided.used)
        self._remember(
            Record(
                image=image.id,
                tags=plan.tags,
                size=image.size,
                layers=image.layers,
                inputs=plan.inputs(ids),
                ids=ids,
                beneath=plan.beneath(ids),
                dependencies=provided.kind,
                handed=provided.name,
                intermediate=intermediate,
                keeps_nameless=keeps,
            )
        )
        return Outcome(
            image=image.id,
            tags=plan.tags,
            size=image.size,
            before=before.size if before else None,
            layers=len(image.layers),
            added=tuple(self._added(image, layers)),
            dependencies=provided.kind,
            builder=built.builder,
            changed=before is None or before.image != image.id,
            pushed=(),
        )

    def _name(self, image: Image) -> None:
        """Give an image all its names."""
        for tag in self._plan.tags:
            if tag not in image.tags:
                self._images.tag(image.id, tag)

    def _added(self, image: Image, before: tuple[str, ...]) -> Iterator[Added]:
        """Yield the layers of an image that another one had not."""
        if set(image.layers) <= set(before):
            return
        made = images.makers(self._images.history(image.id), len(image.layers))
        for number, layer in enumerate(image.layers):
            if layer not in before:
                yield Added(made[number].command, made[number].size) if made else Added(layer, 0)

    def _intermediate(self, used: tuple[str, ...]) -> tuple[str, ...]:
        """Let go of images that nothing stands on any more, and return the names of the others."""
        known = self._before.intermediate if self._before else ()
        older = [name for name in known if name not in used]
        for name in older[_KEPT:]:
            self._engine.remove(name)
        return (*used, *older[:_KEPT])

    def _remember(self, known: Record) -> None:
        self._plan.home.register()
        path = Path(self._plan.home.image)
        with refusals.naming(path):
            record.write(path, known)
