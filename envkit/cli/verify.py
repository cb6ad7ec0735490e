"""`envkit verify`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from envkit import project, render, verification
from envkit.cli.installer import request_for, store_here
from envkit.cli.output import Meter, Output, answer
from envkit.environment.comparison import DEPTHS, Depth
from envkit.errors import EXIT_DIFFERENCE, EXIT_DONE
from envkit.installation import plan as plans
from envkit.quantities import count, few
from envkit.verification import BadEntry, Difference, Report, Verification

# More files than this are summed up, unless more is asked for.
_FEW = 20


@click.command()
@click.option(
    "--depth",
    type=click.Choice(DEPTHS),
    default=DEPTHS[0],
    show_default=True,
    help="Look at names and links, also at sizes and times, or also at the content of each file.",
)
@click.option("--fix", is_flag=True, help="Restore the files that are not as they should be.")
@click.option("--store", "whole_store", is_flag=True, help="Verify the store, not the environment.")
@click.option("--json", "as_json", is_flag=True, help="Print what is found as JSON.")
@click.pass_obj
def verify(output: Output, depth: Depth, fix: bool, whole_store: bool, as_json: bool) -> int:
    """Compare every file of the environment with the lock; exit 1 on a difference.

    With --store, every entry of the store is compared with its manifest; one that differs is set
    aside, and fetched anew when it is needed.
    """
    if fix and whole_store:
        raise click.UsageError("--fix restores an environment; entries of a store are fetched anew")
    report = _reporter(output)
    if whole_store:
        return _verify_store(output, depth, report, as_json=as_json)
    found = project.find(Path.cwd(), os.environ)
    request = request_for(found, plans.installed_groups(found))
    work = verification.fix if fix else verification.verify
    with request.store.in_use(output.say):
        result = work(request, depth, report=report, say=output.say)
    output.clear()
    if as_json:
        click.echo(render.as_json({"good": result.good, "fixed": fix, **result._asdict()}))
    else:
        _show(output, result, fixed=fix)
    is_right = result.good or (fix and result.is_lock and not result.left)
    return EXIT_DONE if is_right else EXIT_DIFFERENCE


def _verify_store(output: Output, depth: Depth, report: Report, *, as_json: bool) -> int:
    store = store_here()
    checked, bad = verification.verify_store(store, depth, report=report, say=output.say)
    output.clear()
    if as_json:
        values = {"good": not bad, "store": store.root, "entries": checked, "set_aside": bad}
        click.echo(render.as_json(values))
    else:
        for one in bad:
            _show_entry(output, one)
        answer(f"{count(checked, 'entry', 'entries')}, {len(bad)} set aside")
    return EXIT_DIFFERENCE if bad else EXIT_DONE


def _reporter(output: Output) -> Report:
    meter = Meter(output, "Reading")
    return lambda done, total: meter.update_bytes(done=done, total=total)


def _show(output: Output, result: Verification, *, fixed: bool) -> None:
    _list(output, result.differences)
    _list(output, result.files_differing)
    for line in render.change_lines(result.changes):
        answer(f"not the lock's: {line}")
    summary = f"{count(result.files, 'file')} compared by {result.depth}"
    number = len(result.differences) + len(result.files_differing)
    if not number:
        answer(f"{summary}: all as they should be")
    else:
        different = count(number, "difference")
        answer(f"{summary}: {different}{_what_became(result) if fixed else ''}")
        for path in result.kept:
            answer(f"  kept: {path}, which somebody had put there")
        if not fixed:
            depth = f" --depth {result.depth}" if result.depth != DEPTHS[0] else ""
            output.say(f"`envkit verify{depth} --fix` restores these files")
    if result.unknown:
        output.detail(f"{count(result.unknown, 'file')} of byte-code that Python wrote itself")
    if result.reason:
        output.warn(f"The lock could not be compared: {result.reason}")
    elif result.changes:
        output.warn("The environment is not what the lock says: run `envkit install`")


def _what_became(result: Verification) -> str:
    """Return what became of differences that were to be put right."""
    if not result.left:
        return ", put right"
    names = few(one.path for one in result.left)
    return f", put right but for what was added: {names}"


def _show_entry(output: Output, one: BadEntry) -> None:
    answer(f"{one.entry} ({one.name}) is not what it was, and is set aside:")
    _list(output, one.differences)
    for place in one.projects:
        answer(f"  used by {place}: run `envkit install` there")


def _list(output: Output, differences: Sequence[Difference]) -> None:
    shown = differences if output.verbose else differences[:_FEW]
    for one in shown:
        whose = f" ({one.distribution})" if one.distribution else ""
        answer(f"  {one.kind}: {one.path}{whose}")
    if len(shown) < len(differences):
        answer(f"  … and {len(differences) - len(shown)} more (`envkit -v verify` lists all)")
