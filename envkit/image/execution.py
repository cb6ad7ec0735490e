"""Carrying a build's plan out: what the image stands on, then the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from envkit import refusals
from envkit.errors import MissingError, NoWheelError, UsageError
from envkit.fetching.progress import Progress as Fetching
from envkit.image import bases, content, context, dockerfile, images, record
from envkit.image import plan as plans
from envkit.image.assembly import Assembly
from envkit.image.builders.build import Build, Builder
from envkit.image.engine import Engine
from envkit.image.images import Image
from envkit.image.layers import Layer
from envkit.image.plan import Plan
from envkit.image.progress import Event
from envkit.image.pushing import Pushed
from envkit.image.record import Record

# What the stage is called, as an image, that distributions stand on.
_BASE = "envkit/base"

# So many images that only others stand on are kept of a project, beside those in use.
_KEPT = 2


class Show(Protocol):
    """Whom a build tells what it does."""

    def say(self, text: str) -> None:
        """Take a line before what can take time."""

    def fetching(self, progress: Fetching) -> None:
        """Take the progress of fetching wheels."""

    def loading(self, layer: Layer, done: int) -> None:
        """Take how many bytes of a layer the engine has been handed."""

    def step(self, event: Event) -> None:
        """Take what a builder, or a registry, does."""


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
        self._used: list[str] = []

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
        kind, handed = self._dependencies(ids)
        arguments = {**plan.arguments, **({plans.DEPENDENCIES: handed} if handed else {})}
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
            dependencies=kind,
            builder=built.builder,
            changed=before is None or before.image != image.id,
            pushed=(),
        )
        self._remember(image, inputs, kind, before)
        return outcome

    def _dependencies(self, ids: Mapping[str, str]) -> tuple[str, str]:
        """Provide the distributions: return where they come from, and the image that has them."""
        plan = self._plan
        wish = plan.options.dependencies
        if not plan.foundation:
            if wish != "auto":
                raise UsageError(
                    f"--deps {wish}: {plans.DOCKERFILE} has no ARG {plans.DEPENDENCIES} that names "
                    "a stage of it",
                    f"See the {plans.DOCKERFILE} that `envkit init` writes.",
                )
            return "Dockerfile", ""
        if wish == "pip":
            return "pip", ""
        foundation = self._foundation(ids)
        try:
            base = bases.ask(
                self._engine,
                foundation,
                name=self._base_name(),
                cache=plan.request.store.interpreters,
            )
            content.check(plan.request, base, self._base_name())
            assembled = Assembly(
                self._engine,
                plan.request,
                fetching=self._show.fetching,
                loading=self._show.loading,
                say=self._show.say,
            ).make(foundation, base)
        except (NoWheelError, MissingError) as error:
            if wish == "store":
                raise
            self._show.say(f"{error.message}; pip installs in the image")
            return "pip", ""
        self._used.append(assembled.name)
        return "store", assembled.name

    def _foundation(self, ids: Mapping[str, str]) -> Image:
        """Return the image that distributions stand on, building its stage if it is one."""
        plan = self._plan
        if plan.stage is None:
            return self._engine.require(plan.foundation)
        beneath = plan.dockerfile.beneath(plan.foundation)
        reads = any(map(dockerfile.reads_context, beneath))
        key = plans.digest(
            [
                [[stage.parent, *stage.instructions] for stage in beneath],
                sorted(plan.arguments.items()),
                sorted(ids.items()),
                plan.context.digest if reads else "",
            ]
        )
        name = f"{_BASE}:{key[:16]}"
        self._used.append(name)
        found = None if plan.options.no_cache else self._engine.inspect(name)
        if found is None:
            self._show.say(f"Building the stage {plan.foundation} with {self._builder.name}")
            wish = self._wish(plan.arguments, target=plan.foundation, name=name)
            self._builder.build(wish, self._show.step)
            found = self._engine.require(name)
        return found

    def _base_name(self) -> str:
        """Return what people call the base."""
        images = self._plan.images
        return images[0] if len(images) == 1 else f"the stage {self._plan.foundation}"

    def _wish(self, arguments: Mapping[str, str], *, target: str = "", name: str = "") -> Build:
        plan, options = self._plan, self._plan.options

        def pack(extra: Mapping[str, bytes]) -> Iterator[bytes]:
            return context.stream(plan.context, extra)

        return Build(
            dockerfile=plan.dockerfile.text,
            root=plan.request.project.root,
            pack=pack,
            ignore=context.rules(
                plan.request.project.root, environment=plan.request.project.environment.name
            ),
            target=target,
            arguments=arguments,
            labels={} if target else plan.labels,
            tags=(name,) if name else plan.tags,
            platforms=plan.platforms,
            secrets=plan.secrets,
            cache_from=options.cache_from,
            cache_to=() if target else options.cache_to,
            no_cache=options.no_cache,
            network=options.network,
        )

    def _added(self, image: Image, before: tuple[str, ...]) -> Iterator[Added]:
        """Yield the layers of an image that another one had not."""
        made = images.makers(self._engine.history(image.id), len(image.layers))
        for number, layer in enumerate(image.layers):
            if layer not in before:
                yield Added(made[number].command, made[number].size) if made else Added(layer, 0)

    def _remember(self, image: Image, inputs: str, kind: str, before: Record | None) -> None:
        """Write down what was built, and let go of images that nothing stands on any more."""
        older = [name for name in (before.intermediate if before else ()) if name not in self._used]
        for name in older[_KEPT:]:
            self._engine.remove(name)
        known = Record(
            image=image.id,
            tags=self._plan.tags,
            size=image.size,
            layers=image.layers,
            inputs=inputs,
            dependencies=kind,
            intermediate=(*self._used, *older[:_KEPT]),
        )
        self._plan.home.register()
        path = Path(self._plan.home.image)
        with refusals.naming(path):
            record.write(path, known)
