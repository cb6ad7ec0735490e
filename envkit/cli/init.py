"""`envkit init`."""

from __future__ import annotations

import importlib.resources
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from envkit import blueprints, interpreter, refusals, scaffold
from envkit import project as projects
from envkit.blueprints import Blueprint
from envkit.cli.output import Output, answer, printable, say
from envkit.errors import EXIT_DONE, UsageError
from envkit.locks import lock as locks
from envkit.locks.compiler import python_field
from envkit.locks.names import normalize
from envkit.project import DEFAULT_GROUP, Project
from envkit.scaffold import Plan, Wish
from envkit.store import layout


@dataclass(frozen=True, kw_only=True)
class _Options:
    """What was asked for, beside the folder and the requirements."""

    python: str | None
    dry_run: bool
    install: bool
    yes: bool


@click.command("init")
@click.argument("folder", metavar="[DIR]", default=".")
@click.argument("requirements", metavar="[REQUIREMENT]...", nargs=-1)
@click.option(
    "--template",
    type=click.Choice(blueprints.names()),
    help="Begin with a small project that works.",
)
@click.option("--python", metavar="PYTHON", help="The version or specifier set to set up for.")
@click.option("-n", "--dry-run", is_flag=True, help="Write nothing; print what would be done.")
@click.option("--no-install", is_flag=True, help="Write and lock, but make no environment.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before an existing lock is replaced.")
@click.pass_obj
def init(
    output: Output,
    folder: str,
    requirements: tuple[str, ...],
    template: str | None,
    python: str | None,
    dry_run: bool,
    no_install: bool,
    yes: bool,
) -> int:
    """Make a folder a project: write what it lacks, lock its requirements, install them.

    DIR is this folder if it is not given, and is made if it is not there. Nothing that is found in
    it is overwritten. To name requirements for this folder: `envkit init . numpy requests`.
    """
    options = _Options(python=python, dry_run=dry_run, install=not no_install, yes=yes)
    _refuse_malformed(folder, requirements)
    root = Path(os.path.abspath(folder))
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is not a folder")
    wish = _wish(root, requirements, options.python)
    if template:
        wish = replace(wish, blueprint=_blueprint(template, root))
    found = scaffold.look(root, wish.names) if root.is_dir() else dict.fromkeys(wish.names)
    plan = scaffold.plan(found, wish)
    lacking = _lacking_locks(root, plan, wish)
    if dry_run:
        lines = scaffold.lines_of(plan, locks=lacking, install=options.install)
        answer("\n".join(lines) or "nothing to do")
        return EXIT_DONE
    _consent(plan, lacking, options)
    _carry_out(root, plan, lacking, output)
    project = projects.read(root, os.environ)
    assert project
    if not plan.steps and not lacking:
        output.say("Nothing to write: every file is there.")
    if options.install:
        from envkit.cli.installer import install_project

        install_project(project, output, groups=project.choose())
    _say_what_next(output, project, wish, options)
    return EXIT_DONE


def _blueprint(name: str, root: Path) -> Blueprint:
    """Return the project to begin with.

    Raises:
        UsageError: the folder has settings already, which are not those of such a project.
    """
    blueprint = blueprints.read(name)
    project = projects.read(root, os.environ) if root.is_dir() else None
    wanted = set(re.findall(r"(?m)^\[services\.(.+)\]$", blueprint.settings))
    if project and not wanted <= {one.name for one in project.config.services}:
        raise UsageError(
            f"{project.settings_file.name} has settings already, without those of the template",
            blueprint.elsewhere,
        )
    return blueprint


def _refuse_malformed(folder: str, requirements: Sequence[str]) -> None:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        first = Requirement(folder)
    except InvalidRequirement:
        first = None
    if first and (first.specifier or first.extras or first.url) and not Path(folder).exists():
        raise UsageError(
            f"{folder!r} is a requirement, where the folder comes first",
            f"To set up this folder: `envkit init . '{folder}'`.",
        )
    for text in requirements:
        try:
            Requirement(text)
        except InvalidRequirement as error:
            raise UsageError(
                f"{text!r} is not a requirement: {str(error).splitlines()[0]}",
                "Write it like 'name', 'name>=1.2' or 'name[extra]'.",
            ) from None


def _wish(root: Path, requirements: tuple[str, ...], python: str | None) -> Wish:
    """Return what is wanted, with the Python that is to serve it.

    Raises:
        MissingError: no interpreter on the machine is the one that is asked for.
        UsageError: the settings that are there say something else.
    """
    project = projects.read(root, os.environ) if root.is_dir() else None
    configured = project is not None
    existing = project or _unconfigured(root)
    configured_python = existing.config.python
    if configured and python and configured_python is None:
        raise UsageError(
            f"{existing.settings_file.name} has settings already, with no python among them",
            f'Set python = "{python_field(python)}" there, then run it again without --python.',
        )
    if configured and python and python_field(python) != python_field(configured_python):
        raise UsageError(
            f"{existing.config.source('python')} is {configured_python!r} already, not {python!r}",
            "Change it there, then run `envkit lock`.",
        )
    asked = python or configured_python
    store = layout.locate(existing.config.store, os.environ)
    chosen = _interpreter(asked, existing.requires_python, store)
    templates = importlib.resources.files("envkit") / "templates"
    return Wish(
        requirements=requirements,
        python=python_field(asked) or chosen.short_version,
        image=chosen.short_version,
        configured=configured,
        static=bool(existing.static_dependencies),
        templates={
            name: (templates / name).read_text(encoding="utf-8")
            for name in ("install.sh", "Dockerfile", "dockerignore")
        },
    )


def _unconfigured(root: Path) -> Project:
    """Return the project that a folder without settings will be, as far as it can be told."""
    from envkit.config import load
    from envkit.tables import read_toml

    file = root / "pyproject.toml"
    return Project(
        root=root,
        settings_file=file,
        pyproject=read_toml(file) if file.is_file() else {},
        config=load({}, file=file, environ=os.environ),
    )


def _interpreter(
    asked: str | None, requires: str | None, store: layout.Store
) -> interpreter.Interpreter:
    """Return the interpreter asked for; else envkit's own, if the project can be run under it."""
    find: Callable[..., interpreter.Interpreter] = interpreter.find
    request = asked or ""
    if not request:
        own = ".".join(map(str, sys.version_info[:2]))
        fits = not requires or interpreter.satisfies(own, requires)
        request = own if fits else requires or ""
    elif python_field(asked)[:1] in ("<", ">", "=", "!", "~"):
        find, request = interpreter.lowest, python_field(asked)
    return find(request, cache=store.interpreters, environ=os.environ)


def _lacking_locks(root: Path, plan: Plan, wish: Wish) -> list[str]:
    """Return the names of the locks that are compiled: those of groups that have none."""
    inputs = {path.name for path in root.glob("requirements*.in")}
    inputs |= {step.name for step in plan.inputs if step.name.endswith(".in")}
    names = sorted(f"{Path(name).stem}.txt" for name in inputs)
    if wish.static and "requirements.txt" not in names:
        names.insert(0, "requirements.txt")
    return [
        name
        for name in sorted(names, key=lambda name: (name != "requirements.txt", name))
        if not (root / name).exists() or (name == "requirements.txt" and plan.relock)
    ]


def _consent(plan: Plan, lacking: Sequence[str], options: _Options) -> None:
    """Show the plan and ask, if a file of the user's is to be replaced.

    Raises:
        UsageError: nobody is there to be asked.
        click.Abort: the answer is no.
    """
    if not plan.relock or options.yes:
        return
    for line in scaffold.lines_of(plan, locks=lacking, install=options.install):
        say(printable(f"  {line}"))
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "requirements.txt would be replaced, and there is no terminal to ask on",
            "Run it again with --yes if that is meant; nothing has been changed.",
        )
    if not click.confirm("Shall this be done?", err=True):
        raise UsageError("Nothing has been changed.")


def _carry_out(root: Path, plan: Plan, lacking: Sequence[str], output: Output) -> None:
    """Write the inputs, lock them, write the rest; where no lock can be made, take all back.

    Once there is a lock its input stays, whatever comes in between: run again, this goes on.
    """
    made = _make_folder(root)
    before = _contents(root, lacking)
    try:
        scaffold.write(root, plan.inputs)
        project = projects.read(root, os.environ)
        assert project
        chosen = [group for group in project.groups() if group.lock.name in lacking]
        if chosen:
            from envkit.cli.lock import lock_project

            lock_project(project, output, groups=chosen)
    except BaseException:
        if _contents(root, lacking) == before:
            scaffold.undo(root, plan.inputs)
        for folder in made:
            if not any(folder.iterdir()):
                folder.rmdir()
        raise
    scaffold.write(root, plan.rest)
    for step in plan.steps:
        output.say(f"{'Created' if step.before is None else 'Added to'} {step.name}")


def _contents(root: Path, names: Sequence[str]) -> list[bytes | None]:
    """Return what files hold; None for one that is not there."""
    paths = [root / name for name in names]
    return [path.read_bytes() if path.is_file() else None for path in paths]


def _make_folder(root: Path) -> list[Path]:
    """Make a folder and those above it; return those that were made, the innermost first."""
    lacking = [folder for folder in (root, *root.parents) if not folder.exists()]
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"{root}: cannot be made"
        raise refusals.explained(error, what=what) or UsageError(
            f"{what}: {error.strerror}"
        ) from None
    return lacking


def _say_what_next(output: Output, project: Project, wish: Wish, options: _Options) -> None:
    from packaging.requirements import Requirement

    pins = {pin.name: pin for pin in locks.read(project.group(DEFAULT_GROUP).lock).pins}
    asked = [normalize(Requirement(text).name) for text in wish.requirements]
    shown = [str(pins[name]) for name in dict.fromkeys(asked) if name in pins]
    if shown:
        output.say(f"{'Ready' if options.install else 'Locked'}: {', '.join(shown)}")
    here = Path(os.path.relpath(project.root))
    go = "" if here == Path() else f"cd {here} && "
    steps = wish.blueprint.next if wish.blueprint else ()
    if not options.install:
        steps = ("envkit install", *steps)
    steps = steps or ("envkit run -- python",)
    output.say(f"Next: {go}{' && '.join(steps)}")
