"""`envkit cache`."""

from __future__ import annotations

import click

from envkit import collection, render
from envkit.cli.installer import store_here
from envkit.cli.output import Output, answer
from envkit.collection import Collected, Survey
from envkit.errors import EXIT_DONE
from envkit.quantities import bytes_text, count, parse_bytes, parse_seconds

# What the buckets of a store are to a person.
_BUCKETS = {
    "wheels-v1": "unpacked wheels",
    "builds-v1": "built here",
    "bytecode-v1": "byte-code",
    "archives-v1": "fetched for images",
    "assets-v1": "large files",
    "skeletons-v1": "empty environments",
    "ready-v1": "folders linked ahead",
    "spares-v1": "spares of projects",
    "tools-v1": "tools for old Pythons",
    "set-aside": "found altered",
}


@click.group()
def cache() -> None:
    """Show or shrink what the store keeps: unpacked wheels, byte-code, spares."""


@cache.command("dir")
def directory() -> int:
    """Print the folder of the store."""
    click.echo(store_here().root)
    return EXIT_DONE


@cache.command()
@click.option("--json", "as_json", is_flag=True, help="Print the sizes as JSON.")
def size(as_json: bool) -> int:
    """Say what takes the space, and what each project uses alone and with others."""
    store = store_here()
    store.prepare()
    result = collection.survey(store)
    if as_json:
        click.echo(render.as_json(result))
    else:
        _show(result)
    return EXIT_DONE


@cache.command()
@click.option("--older-than", metavar="AGE", help="Keep what was used since: 12h, 30d, 2w.")
@click.option("--max-size", metavar="SIZE", help="Take away only until the store fits: 20GB.")
@click.option("-n", "--dry-run", is_flag=True, help="Take nothing away; print what would be.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_obj
def prune(
    output: Output, older_than: str | None, max_size: str | None, dry_run: bool, as_json: bool
) -> int:
    """Take away what no project of yours uses."""
    result = collection.collect(
        store_here(),
        older_than=parse_seconds(older_than) if older_than else 0,
        max_size=None if max_size is None else parse_bytes(max_size),
        dry_run=dry_run,
        say=output.say,
    )
    if as_json:
        click.echo(render.as_json({"dry_run": dry_run, **result._asdict()}))
    else:
        _report(output, result, dry_run=dry_run)
    return EXIT_DONE


def _show(result: Survey) -> None:
    answer(f"{bytes_text(result.total)} in {result.store}\n")
    for bucket in sorted(result.buckets, key=lambda one: -one.bytes):
        shown = _BUCKETS.get(bucket.name)
        if shown:
            answer(f"{bytes_text(bucket.bytes):>9}  {shown} ({bucket.entries})")
    if result.projects:
        answer("\n    alone     shared  project")
    for one in sorted(result.projects, key=lambda one: -one.alone):
        alone, shared = bytes_text(one.alone), bytes_text(one.shared)
        answer(f"{alone:>9}  {shared:>9}  {one.project}")
    if result.unused:
        answer(f"\n{bytes_text(result.unused)} used by no project (`envkit cache prune`)")


def _report(output: Output, result: Collected, *, dry_run: bool) -> None:
    for one in result.items:
        if output.verbose or dry_run:
            answer(f"- {one.what}")
    verb = "Would free" if dry_run else "Freed"
    kept = f", {result.kept} kept" if result.kept else ""
    answer(f"{verb} {bytes_text(result.freed)}: {count(len(result.items), 'folder')}{kept}")
