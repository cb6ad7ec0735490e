"""`envkit lock`."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from envkit import interpreter, quantities, render
from envkit import project as projects
from envkit.cli.output import Output, answer
from envkit.errors import EXIT_DIFFERENCE, EXIT_DONE, UsageError
from envkit.locks import compiler
from envkit.locks import lock as locks
from envkit.locks.compilation import Compiled, Request, Upgrade
from envkit.locks.names import normalize
from envkit.project import DEFAULT_GROUP, Group, Project
from envkit.store import layout


@dataclass(frozen=True, kw_only=True)
class _Mode:
    """What becomes of the result: written, compared, or only shown."""

    check: bool
    dry_run: bool
    as_json: bool

    @property
    def writes(self) -> bool:
        """Whether the project is changed."""
        return not (self.check or self.dry_run)


@click.command("lock")
@click.option("-U", "--upgrade", is_flag=True, help="Keep no pin: take the newest of everything.")
@click.option(
    "-P",
    "--upgrade-package",
    "names",
    metavar="NAME",
    multiple=True,
    help="Let go of this pin; NAME may have a specifier, as in 'numpy<3'.",
)
@click.option("--group", "groups", metavar="GROUP", multiple=True, help="Lock only this group.")
@click.option(
    "--check", is_flag=True, help="Write nothing; exit 1 if a lock is not what it should be."
)
@click.option("-n", "--dry-run", is_flag=True, help="Write nothing; show what would change.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
@click.option("--python", metavar="PYTHON", help="Lock for this version, specifier set or path.")
@click.pass_obj
def lock(
    output: Output,
    upgrade: bool,
    names: tuple[str, ...],
    groups: tuple[str, ...],
    check: bool,
    dry_run: bool,
    as_json: bool,
    python: str | None,
) -> int:
    """Compile requirements*.in, and the dependencies in pyproject.toml, into hash-locked files.

    Pins that still fit are kept. Groups other than the default one are kept to its versions.
    """
    if upgrade and names:
        raise UsageError("--upgrade lets go of every pin: --upgrade-package adds nothing to it")
    _refuse_malformed(names)
    project = projects.find(Path.cwd(), os.environ)
    if python:
        project = projects.with_option(project, "python", python, "--python")
    chosen = _choose(project, groups)
    mode = _Mode(check=check, dry_run=dry_run, as_json=as_json)
    if check:
        reasons = {group: compiler.stale(project, group) for group in chosen}
        if any(reasons.values()):
            return _report_stale(output, reasons, mode)
    started = time.monotonic()
    request = prepare(
        project, chosen, os.environ, Upgrade(everything=upgrade, names=names), output=output
    )
    compiled = compiler.compile_locks(request, output.draw)
    output.clear()
    if mode.writes:
        compiler.write(compiled)
    _warn_of_unknown(output, names, compiled)
    _report(output, compiled, mode, time.monotonic() - started)
    differs = any(one.before != one.after for one in compiled)
    return EXIT_DIFFERENCE if check and differs else EXIT_DONE


def lock_project(project: Project, output: Output, *, groups: Sequence[Group]) -> None:
    """Compile and write the locks of groups, and say what changed.

    Raises:
        EnvkitError: as for `compiler.compile_locks` and `compiler.write`; no lock was changed.
    """
    started = time.monotonic()
    request = prepare(project, tuple(groups), os.environ, Upgrade(), output=output)
    compiled = compiler.compile_locks(request, output.draw)
    output.clear()
    compiler.write(compiled)
    mode = _Mode(check=False, dry_run=False, as_json=False)
    _report(output, compiled, mode, time.monotonic() - started)


def prepare(
    project: Project,
    groups: tuple[Group, ...],
    environ: Mapping[str, str],
    upgrade: Upgrade,
    *,
    output: Output,
) -> Request:
    """Return what is to be compiled, with the interpreter that decides the outcome.

    A setting decides it, or else what the lock is for already, or else `requires-python`. Of a
    specifier set the lowest interpreter there is is taken, so that what only old versions need is
    in the lock.
    """
    store = layout.locate(project.config.store, environ)
    store.prepare(output.say)
    default = project.group(DEFAULT_GROUP).lock
    locked = locks.python_of(default.read_text(encoding="utf-8")) if default.is_file() else ""
    wanted = compiler.python_field(project.config.python)
    asked = project.python_request(locked)
    seek = interpreter.lowest if wanted and wanted[0] in "<>=!~" else interpreter.find
    found = seek(asked, cache=store.interpreters, environ=environ)
    output.detail(f"Resolving under {found.executable} ({found.version})")
    return Request(
        project=project,
        groups=groups,
        interpreter=found,
        python=wanted or found.short_version,
        store=store,
        environ=environ,
        upgrade=upgrade,
    )


def _refuse_malformed(names: tuple[str, ...]) -> None:
    from packaging.requirements import InvalidRequirement, Requirement

    for name in names:
        try:
            Requirement(name)
        except InvalidRequirement:
            raise UsageError(
                f"--upgrade-package {name!r} is not a requirement", "Write it like 'numpy<3'."
            ) from None


def _choose(project: Project, names: tuple[str, ...]) -> tuple[Group, ...]:
    there = project.groups()
    if not there:
        raise UsageError(
            f"{project.root}: nothing to lock: no requirements.in, "
            "and no dependencies in pyproject.toml",
            "Write what you need into requirements.in, one a line.",
        )
    for name in names:
        if name not in [group.name for group in there]:
            raise UsageError(
                f"There is no group {name}: {project.group(name).inputs[0].name} does not exist",
                f"Groups here: {', '.join(group.name for group in there)}.",
            )
    return tuple(group for group in there if not names or group.name in names)


def _report_stale(output: Output, reasons: Mapping[Group, str], mode: _Mode) -> int:
    if mode.as_json:
        groups = {
            group.name: {"lock": group.lock.name, "fresh": not reason, "reason": reason}
            for group, reason in reasons.items()
        }
        click.echo(render.as_json({"fresh": False, "written": False, "groups": groups}))
    for reason in filter(None, reasons.values()):
        output.say(f"{reason}; run `envkit lock`")
    return EXIT_DIFFERENCE


def _warn_of_unknown(output: Output, names: tuple[str, ...], compiled: Sequence[Compiled]) -> None:
    from packaging.requirements import Requirement

    locked = {pin.name for one in compiled for pin in one.pins}
    for name in names:
        plain = Requirement(name).name
        if normalize(plain) not in locked:
            output.warn(f"--upgrade-package {name}: no lock has {plain}")


def _report(output: Output, compiled: Sequence[Compiled], mode: _Mode, seconds: float) -> None:
    if mode.as_json:
        click.echo(render.as_json(_outcome(compiled, mode)))
        return
    for one in compiled:
        name, count = one.group.lock.name, quantities.count(len(one.pins), "distribution")
        if one.before == one.after:
            output.say(f"{name} is up to date: {count}")
        elif not mode.writes:
            # What was asked for, and so for standard output.
            output.say(f"{name} would be {'new' if one.before is None else 'changed'}: {count}")
            for line in render.change_lines(one.changes):
                answer(f"  {line}")
        else:
            output.say(f"{name} is {'new' if one.before is None else 'changed'}: {count}")
            output.changes(one.changes)
        if one.before not in (None, one.after) and not one.changes:
            output.say("  the versions stay; hashes or comments differ")
    output.say(f"{'Resolved' if mode.writes else 'Compared'} in {quantities.seconds_text(seconds)}")


def _outcome(compiled: Sequence[Compiled], mode: _Mode) -> dict[str, object]:
    return {
        "fresh": all(one.before == one.after for one in compiled),
        "written": mode.writes,
        "groups": {
            one.group.name: {
                "lock": one.group.lock.name,
                "fresh": one.before == one.after,
                "reason": "" if one.before == one.after else "compiled anew it is different",
                "pins": len(one.pins),
                "changes": one.changes,
            }
            for one in compiled
        },
    }
