"""What a builder is asked for: all of an image, or a stage of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from envkit.builders.build import Build
from envkit.contexts import context
from envkit.image.plan import DEPENDENCIES, Plan


def whole(plan: Plan, handed: str, *, tags: tuple[str, ...], push: bool = False) -> Build:
    """Return the order of an image.

    Args:
        plan: the plan of it.
        handed: the image that has its distributions; empty if the Dockerfile makes them.
        tags: its names.
        push: whether the builder pushes it.
    """
    options = plan.options
    arguments = {**plan.arguments, **({DEPENDENCIES: handed} if handed else {})}
    return _order(plan, None, arguments)._replace(
        labels=plan.labels,
        tags=tags,
        cache_to=options.cache_to,
        # What the engine keeps was asked for before; what a builder keeps, only it can ask.
        pull=options.pull and push,
        push=push,
    )


def stage(
    plan: Plan, target: str, name: str, *, arguments: Mapping[str, str], root: Path | None = None
) -> Build:
    """Return the order of a stage, as an image.

    Args:
        plan: the plan of the whole.
        target: the stage.
        name: the image's name.
        arguments: the build arguments.
        root: the folder that is its context; that of the whole by default.
    """
    return _order(plan, root, arguments)._replace(target=target, tags=(name,))


def _order(plan: Plan, root: Path | None, arguments: Mapping[str, str]) -> Build:
    """Return what orders of a whole and of a stage have in common."""
    project, options = plan.request.project, plan.options
    environment = project.environment.name

    def pack(extra: Mapping[str, bytes]) -> Iterator[bytes]:
        # A builder that reads a folder itself needs no digests of what is in it.
        found = context.scan(root, environment=environment) if root else plan.context
        return context.stream(found, extra, latest=plan.latest)

    folder = root or project.root
    return Build(
        dockerfile=plan.dockerfile,
        root=folder,
        pack=pack,
        ignore=context.rules(folder, environment=environment),
        arguments=arguments,
        platforms=plan.platforms,
        secrets=plan.secrets,
        cache_from=options.cache_from,
        no_cache=options.no_cache,
        network=options.network,
    )
