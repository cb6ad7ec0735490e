"""`envkit build`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import click

from envkit import render
from envkit.cli.building import Building, request_here
from envkit.cli.output import Output, answer
from envkit.errors import EXIT_DIFFERENCE, EXIT_DONE, UsageError
from envkit.image import plan as plans
from envkit.image.plan import Options, Plan
from envkit.quantities import bytes_text, count


@click.command()
@click.option("-t", "--tag", "tags", multiple=True, metavar="NAME", help="A name; :TAG for a tag.")
@click.option("--push", is_flag=True, help="Push it to the registry that its names say.")
@click.option(
    "--deps",
    type=click.Choice(["auto", "store", "pip"]),
    default="auto",
    help="Where distributions come from: layers made of the store's wheels, or pip in the image.",
)
@click.option("--builder", default="auto", metavar="BUILDER", help="buildx[:NAME], api or classic.")
@click.option("--platform", "platforms", multiple=True, metavar="OS/ARCH", help="What it runs on.")
@click.option("--build-arg", "arguments", multiple=True, metavar="NAME=VALUE", help="For an ARG.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="One label more.")
@click.option("--secret", "secrets", multiple=True, metavar="SPEC", help="As buildx takes it.")
@click.option("--cache-from", multiple=True, metavar="SPEC", help="Where a cache is read from.")
@click.option("--cache-to", multiple=True, metavar="SPEC", help="Where one is written to.")
@click.option("--network", default="", metavar="MODE", help="That of RUN: none, host.")
@click.option("--no-cache", is_flag=True, help="Take nothing from the builder's cache.")
@click.option("--pull", is_flag=True, help="Ask the registry for the base anew.")
@click.option("--created", is_flag=True, help="Label it with the time.")
@click.option("--offline", is_flag=True, help="Use the wheels that the store has; ask no index.")
@click.option(
    "--progress",
    type=click.Choice(["auto", "plain"]),
    default="auto",
    help="plain: print each line of each step, as for CI.",
)
@click.option("--check", is_flag=True, help="Build nothing; exit 1 if a build would be run.")
@click.option("-n", "--dry-run", is_flag=True, help="Build nothing; print what would be.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_obj
def build(
    output: Output,
    /,
    deps: plans.Dependencies,
    arguments: tuple[str, ...],
    labels: tuple[str, ...],
    platforms: tuple[str, ...],
    offline: bool,
    progress: str,
    check: bool,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Build the image that is deployed, from the same lock.

    It has the environment's own wheels, in layers of which only those are made anew that changed.
    The Dockerfile is yours; `docker build .` makes the same image from it, more slowly.
    """
    request = request_here(offline=offline)
    wish = Options(
        dependencies=deps,
        arguments=_pairs(arguments, "--build-arg", os.environ),
        labels=_pairs(labels, "--label", {}),
        # As buildx takes them, too: several in one.
        platforms=tuple(one for text in platforms for one in text.split(",")),
        **options,
    )
    building = Building(output, plain=progress == "plain")
    plan = building.plan(request, wish)
    if dry_run:
        _show_plan(plan, building, as_json=as_json)
        return EXIT_DONE
    if check:
        reasons = building.differences(plan)
        if as_json:
            click.echo(render.as_json({"needed": bool(reasons), "reasons": reasons}))
        elif reasons:
            output.say(f"{plan.tags[0]} would be built: {', '.join(reasons)}")
        else:
            output.say("Nothing would be built")
        return EXIT_DIFFERENCE if reasons else EXIT_DONE
    outcome = building.run(plan)
    if as_json:
        click.echo(render.as_json(outcome))
    else:
        building.report(outcome)
    return EXIT_DONE


def _pairs(texts: Iterable[str], option: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return `NAME=VALUE` options as a table; a name alone has its value from the environment."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if equals and name:
            found[name] = value
        elif name in environ:
            found[name] = environ[name]
        else:
            known = "the variable is not set" if environ and not equals else "is not NAME=VALUE"
            raise UsageError(f"{option} {text}: {known}")
    return found


def _show_plan(plan: Plan, building: Building, *, as_json: bool) -> None:
    foundation = plan.foundation or "what the Dockerfile says"
    steps = {
        "tags": plan.tags,
        "builder": building.builder_name(plan),
        "images": plan.images,
        "dependencies": plan.options.dependencies if plan.foundation else "Dockerfile",
        "foundation": foundation,
        "arguments": plan.arguments,
        "labels": plan.labels,
        "platforms": plan.platforms,
        "context": {
            "files": len(plan.context.members),
            "bytes": plan.context.size,
            "digest": plan.context.digest,
        },
        "push": plan.options.push,
    }
    if as_json:
        click.echo(render.as_json(steps))
        return
    answer(f"build    {', '.join(plan.tags)} with {steps['builder']}")
    answer(f"from     {', '.join(plan.images) or 'nothing'}")
    answer(f"deps     {steps['dependencies']}, on {foundation}")
    if plan.platforms:
        answer(f"for      {', '.join(plan.platforms)}")
    size = f"{count(len(plan.context.members), 'file')}, {bytes_text(plan.context.size)}"
    answer(f"context  {size}")
    for name, value in plan.arguments.items():
        answer(f"arg      {name}={value}")
    for name, value in plan.labels.items():
        answer(f"label    {name}={value}")
    if plan.options.push:
        answer(f"push     {', '.join(plan.tags)}")
