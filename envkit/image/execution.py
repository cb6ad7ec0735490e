"""Carrying a build's plan out: what the image stands on, then the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from envkit import refusals
from envkit.image import context, images, record
from envkit.image import plan as plans
from envkit.image.builders.build import Build, Builder
from envkit.image.dependencies import Dependencies, Provided, Show
from envkit.image.engine import Engine
from envkit.image.images import Image
from envkit.image.plan import Plan
from envkit.image.pushing import Pushed
from envkit.image.record import Record

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

    def __init__(self, plan: Plan, engine: Engine, builder: Builder, show: Show) -> None:
        """Begin.

        Args:
            plan: what is to be built.
            engine: the engine that is to have it.
            builder: what builds it.
            show: whom it is told.
        """
        self._plan = plan
        self._engine = engine
        self._builder = builder
        self._show = show

    def run(self) -> Outcome:
        """Build, tag and push, unless the engine has just this image already.

        Raises:
            EnvkitError: something is missing, refused or wrong; the image of before is as it was.
        """
        plan = self._plan
        before = record.read(Path(plan.home.image))
        ids = self._bring_images()
        inputs = plan.digest(sorted(ids.items()))
        outcome = self._unchanged(before, inputs) or self._build(before, inputs, ids)
        if plan.options.push:
            pushed = tuple(self._engine.push(tag, self._show.step) for tag in plan.tags)
            outcome = outcome._replace(pushed=pushed)
        return outcome

    def is_needed(self) -> bool:
        """Return whether a build would come to another image than the engine has.

        Nothing is changed, and no registry is asked.
        """
        before = record.read(Path(self._plan.home.image))
        found = {name: self._engine.inspect(name) for name in self._plan.images}
        ids = {name: image.id for name, image in found.items() if image}
        inputs = self._plan.digest(sorted(ids.items()))
        return (
            before is None or before.inputs != inputs or self._engine.inspect(before.image) is None
        )

    def _bring_images(self) -> Mapping[str, str]:
        """Return the id of each image that the Dockerfile names, asking a registry if need be."""
        found = {}
        for name in self._plan.images:
            image = None if self._plan.options.pull else self._engine.inspect(name)
            if image is None:
                self._show.say(f"Pulling {name}")
                image = self._engine.pull(name, self._show.step)
            found[name] = image.id
        return found

    def _unchanged(self, before: Record | None, inputs: str) -> Outcome | None:
        """Return what was built before, if it would be built again just so and is still there."""
        plan, options = self._plan, self._plan.options
        anew = options.no_cache or options.pull or options.cache_to or options.created
        if before is None or before.inputs != inputs or anew or plan.dockerfile.reads_network:
            return None
        image = self._engine.inspect(before.image)
        if image is None:
            return None
        for tag in plan.tags:
            if tag not in image.tags:
                self._engine.tag(image.id, tag)
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

    def _build(self, before: Record | None, inputs: str, ids: Mapping[str, str]) -> Outcome:
        plan = self._plan
        provided = Dependencies(plan, self._engine, self._builder, ids, self._show).provide()
        arguments = dict(plan.arguments)
        if provided.name:
            arguments[plans.DEPENDENCIES] = provided.name
        self._show.say(f"Building {plan.tags[0]} with {self._builder.name}")
        built = self._builder.build(self._wish(arguments), self._show.step)
        image = self._engine.require(built.id)
        for tag in plan.tags:
            if tag not in image.tags:
                self._engine.tag(image.id, tag)
        layers = before.layers if before else ()
        outcome = Outcome(
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
        self._remember(image, inputs, provided, before)
        return outcome

    def _wish(self, arguments: Mapping[str, str]) -> Build:
        plan, options = self._plan, self._plan.options
        project = plan.request.project

        def pack(extra: Mapping[str, bytes]) -> Iterator[bytes]:
            return context.stream(plan.context, extra, latest=plan.latest)

        return Build(
            dockerfile=plan.dockerfile.text,
            root=project.root,
            pack=pack,
            ignore=context.rules(project.root, environment=project.environment.name),
            arguments=arguments,
            labels=plan.labels,
            tags=plan.tags,
            platforms=plan.platforms,
            secrets=plan.secrets,
            cache_from=options.cache_from,
            cache_to=options.cache_to,
            no_cache=options.no_cache,
            network=options.network,
        )

    def _added(self, image: Image, before: tuple[str, ...]) -> Iterator[Added]:
        """Yield the layers of an image that another one had not."""
        made = images.makers(self._engine.history(image.id), len(image.layers))
        for number, layer in enumerate(image.layers):
            if layer not in before:
                yield Added(made[number].command, made[number].size) if made else Added(layer, 0)

    def _remember(
        self, image: Image, inputs: str, provided: Provided, before: Record | None
    ) -> None:
        """Write down what was built, and let go of images that nothing stands on any more."""
        used = provided.used
        older = [name for name in (before.intermediate if before else ()) if name not in used]
        for name in older[_KEPT:]:
            self._engine.remove(name)
        known = Record(
            image=image.id,
            tags=self._plan.tags,
            size=image.size,
            layers=image.layers,
            inputs=inputs,
            dependencies=provided.kind,
            intermediate=(*used, *older[:_KEPT]),
        )
        self._plan.home.register()
        path = Path(self._plan.home.image)
        with refusals.naming(path):
            record.write(path, known)
