"""What the image stands on: its distributions, out of the store or installed by the Dockerfile."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from envkit.builders.build import Builder
from envkit.engines.engine import Engine
from envkit.engines.images import Image
from envkit.engines.progress import Event
from envkit.errors import MissingError, NoWheelError, UsageError
from envkit.fetching.progress import Progress as Fetching
from envkit.image import bases, content, orders
from envkit.image import plan as plans
from envkit.image.assembly import REPOSITORY, Assembly
from envkit.image.bases import Base
from envkit.image.layers import Layer
from envkit.image.plan import Plan
from envkit.image.provided import Provided
from envkit.installation import plan as installation
from envkit.installation import wheelhouse
from envkit.locks import lock
from envkit.quantities import few
from envkit.store.digest import sha256_of_json

# What the stage is called, as an image, that distributions stand on.
_BASE = "localhost/envkit/base"

_NOTHING = Path()

# Where pip finds archives, in the context of the stage that it installs in; and the argument that
# keeps it from asking an index.
_WHEELHOUSE = "wheelhouse"
_NO_INDEX = "PIP_NO_INDEX"


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


class Dependencies:
    """Provides the distributions of one build."""

    def __init__(
        self, plan: Plan, engine: Engine, builder: Builder, ids: Mapping[str, str], show: Show
    ) -> None:
        """Begin.

        Args:
            plan: what is to be built.
            engine: the engine that is to have them.
            builder: what builds stages of the Dockerfile.
            ids: the ids of the images that the Dockerfile names.
            show: whom it is told.
        """
        self._plan = plan
        self._engine = engine
        self._builder = builder
        self._ids = ids
        self._show = show
        self._used: list[str] = []

    def provide(self) -> Provided:
        """Provide the distributions as was asked for, or as is possible.

        Raises:
            UsageError: they cannot be provided as was asked for, or the base has another Python.
            ToolError: something cannot be fetched, or the engine fails.
            IntegrityError: a file is not what the lock names.
            MissingError: the base has no Python.
        """
        plan, wish = self._plan, self._plan.options.dependencies
        if not plan.foundation:
            if wish == "store":
                raise UsageError(
                    f"--deps store: {plans.DOCKERFILE} has no ARG {plans.DEPENDENCIES} that names "
                    "a stage of it",
                    f"See the {plans.DOCKERFILE} that `envkit init` writes.",
                )
            self._show.say(
                f"{plans.DOCKERFILE} is built as it is: no ARG {plans.DEPENDENCIES} in it names a "
                "stage that distributions could be handed to"
            )
            return Provided("Dockerfile", "", ())
        reason = self._elsewhere()
        if reason:
            if wish == "store":
                raise UsageError(f"--deps store: {reason}", "Leave it out: pip installs then.")
            self._show.say(f"{reason}: pip installs in the image")
            return Provided("pip", "", ())
        foundation = self._foundation()
        name, store = self._base_name(), plan.request.store
        base = bases.ask(self._engine, foundation, name=name, cache=store.interpreters)
        content.check(plan.locks, base, name)
        kind, provided = "pip", ""
        if wish != "pip":
            kind, provided = self._from_store(foundation, base)
        provided = provided or self._from_pip(base)
        return Provided(kind, provided, (*self._used, provided))

    def _elsewhere(self) -> str:
        """Return why the image's distributions cannot be made here beforehand; empty if they can.

        They cannot where the engine that builds is another one, or for another machine.
        """
        plan, facts = self._plan, self._engine.facts()
        own = f"{facts.os}/{facts.architecture}"
        if self._builder.has_own_images:
            return f"The builder {self._builder.name} has images of its own"
        if any(platform != own for platform in plan.platforms):
            return f"It is built for another platform than the engine's {own}"
        return ""

    def _from_store(self, foundation: Image, base: Base) -> tuple[str, str]:
        """Assemble the image with the distributions, unless wheels cannot be shared with it."""
        reason = self._unshared(base)
        try:
            if not reason:
                assembly = Assembly(
                    self._engine,
                    self._plan.request,
                    self._plan.locks,
                    fetching=self._show.fetching,
                    loading=self._show.loading,
                    say=self._show.say,
                )
                return "store", assembly.make(foundation, base)
        except (NoWheelError, MissingError) as error:
            reason = error.message
        if self._plan.options.dependencies == "store":
            raise UsageError(f"--deps store: {reason}", "Leave it out: pip installs then.")
        self._show.say(f"{reason}: pip installs in the image")
        return "pip", ""

    def _unshared(self, base: Base) -> str:
        """Return why this machine can share no wheels with an image; empty if it can."""
        machine = base.interpreter.markers["platform_machine"]
        if sys.platform != "linux":
            return "This machine runs another system than the image"
        if machine != os.uname().machine:
            return f"The image is for {machine}, this machine is {os.uname().machine}"
        return ""

    def _from_pip(self, base: Base) -> str:
        """Have the Dockerfile's own stage install from archives that were fetched beforehand."""
        plan, request = self._plan, self._plan.request
        place = plan.dockerfile.values(plan.arguments)[plans.DEPENDENCIES]
        key = self._key(place, "pip", plan.lock)
        name = f"{REPOSITORY}:{key[:16]}"
        if not plan.options.no_cache and self._engine.inspect(name):
            return name
        with request.store.in_use(self._show.say), request.store.temporary() as folder:
            complete = self._fill(folder, base)
            self._show.say(f"Building the stage {place} with {self._builder.name}")
            arguments = dict(plan.arguments)
            if complete and _NO_INDEX in plan.dockerfile.declared:
                arguments[_NO_INDEX] = "1"
            order = orders.stage(plan, place, name, arguments=arguments, root=folder)
            self._builder.build(order, self._show.step)
        self._engine.require(name)
        return name

    def _fill(self, folder: Path, base: Base) -> bool:
        """Put the lock and its archives into a folder; return whether pip needs nothing else."""
        request, locks = self._plan.request, self._plan.locks
        pins = lock.select(locks, base.interpreter.markers)
        here = installation.find_interpreter(
            request.project, locks, request.store, request.environ, self._show.say
        )
        archives = wheelhouse.fill(
            request, pins, base.interpreter, here, report=self._show.fetching
        )
        for group in request.groups:
            shutil.copyfile(group.lock, folder / group.lock.name)
        (folder / _WHEELHOUSE).mkdir()
        for archive in archives.values():
            os.link(archive, folder / _WHEELHOUSE / archive.name)
        others = [pin for pin in pins if archives.get(pin, _NOTHING).suffix != ".whl"]
        if others:
            self._show.say(f"No wheel of {few(others)}: pip asks an index in the image")
        return not others

    def _foundation(self) -> Image:
        """Return the image that distributions stand on, building its stage if it is one."""
        plan = self._plan
        if plan.stage is None:
            return self._engine.require(plan.foundation)
        name = f"{_BASE}:{self._key(plan.foundation)[:16]}"
        self._used.append(name)
        found = None if plan.options.no_cache else self._engine.inspect(name)
        if found is None:
            self._show.say(f"Building the stage {plan.foundation} with {self._builder.name}")
            order = orders.stage(plan, plan.foundation, name, arguments=plan.arguments)
            self._builder.build(order, self._show.step)
            found = self._engine.require(name)
        return found

    def _key(self, stage: str, *more: str) -> str:
        """Return the digest, in hex, of all that a stage depends on, and of what more does."""
        plan = self._plan
        beneath = plan.dockerfile.beneath(stage)
        reads = any(stage.reads_context for stage in beneath) and not more
        texts = [[one.parent, [list(step[:2]) for step in one.instructions]] for one in beneath]
        decided = [sorted(plan.arguments.items()), sorted(self._ids.items())]
        return sha256_of_json([texts, decided, plan.context.digest if reads else "", more])

    def _base_name(self) -> str:
        """Return what people call the base."""
        images = self._plan.images
        return images[0] if len(images) == 1 else f"the stage {self._plan.foundation}"
