"""What has to be the same: an environment and an image, and the images of two machines."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.building.bench import Bench
from benchmarks.building.engine import REPOSITORY, Engine, EngineError
from benchmarks.building.locked import Locked
from benchmarks.building.sample import Finding
from benchmarks.building.trees import Comparison, compare, in_archive, on_disk
from benchmarks.building.ways import ENVKIT
from benchmarks.recipes import LAST

ROWS = ("venv", "layers")

_ROOT = "opt/venv/"

# So many paths of a long list are named.
_NAMED = 24


def found(look: Callable[[], Finding]) -> Finding:
    """Take what ``look`` finds; where it cannot, that is a finding too."""
    try:
        return look()
    except EngineError as error:
        return Finding(title="not compared", same=False, text=str(error))


def environment(bench: Bench, locked: Locked) -> Finding:
    """Compare what `envkit install` makes of a lock with what is in the image."""
    image = locked.settle(LAST)
    project = bench.project(ENVKIT)
    outcome = bench.run([bench.tools.command(project, [bench.tools.envkit, "install"])])
    if outcome.error or outcome.behind_error:
        raise EngineError(f"{outcome.error or outcome.behind_error}")
    with bench.engine.exported(image) as stream:
        there = in_archive(stream, _ROOT)
    found = compare(on_disk(project / ".venv"), there, bench.series.state(LAST).pins)
    return Finding(
        title="files of every distribution, `.venv` against image",
        same=not found.different and found.distributions > 0,
        text=_told(found),
    )


def _told(found: Comparison) -> str:
    lines = [
        f"{found.distributions} distributions; every file that a RECORD names, the RECORDs, and "
        f"the byte-code of what they name: {found.files} files have the same sha256 "
        f"({found.bytecode} of them byte-code)",
        f"{found.scripts} scripts are the same but for their first line, which names the Python",
        f"{found.records} RECORDs are the same but for the lines of such scripts",
        f"different: {_listed(found.different)}",
        f"not of the lock, and not compared: {_listed(found.others)}",
    ]
    return "; ".join(lines)


def _listed(paths: tuple[str, ...]) -> str:
    if not paths:
        return "none"
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(f"`{path}`" for path in paths[:_NAMED]) + more


@dataclass(frozen=True, kw_only=True)
class _Machine:
    """What two machines do not have in common."""

    name: str
    engine: Engine
    folder: Path
    umask: int


def two_machines(bench: Bench, image: str, other: Engine) -> Finding:
    """Build one project on two clean machines, as far as one can be had twice.

    Each has a store, a project's folder at another path, a umask and a base of its own, which no
    layer was ever put on.

    Args:
        bench: what is built.
        image: the image that both bases stand on.
        other: the second machine's engine, which may be the first's.
    """
    machines = (
        _Machine(name="one", engine=bench.engine, folder=bench.work / "one", umask=0o077),
        _Machine(name="two", engine=other, folder=bench.work / "second" / "two", umask=0o022),
    )
    if other is not bench.engine:
        bench.engine.copy_to(other, image)
    first, second = (_layers(bench, machine, image) for machine in machines)
    versions = " and ".join(dict.fromkeys(one.engine.version() for one in machines))
    return Finding(
        title="the dependency layers' digests, two machines' clean builds",
        same=first == second and len(first) > 0,
        text=f"{len(first)} and {len(second)} layers, of which "
        f"{len(set(first) & set(second))} are the same (stores, projects' paths, umasks 077 and "
        f"022, times and bases differ; engines: {versions})",
    )


def _layers(bench: Bench, machine: _Machine, image: str) -> tuple[str, ...]:
    base = f"{REPOSITORY}/base:{bench.work.name}-{machine.name}"
    tools = replace(
        bench.tools,
        base=base,
        arguments={},
        env={**_where(bench, machine), "ENVKIT_STORE": str(machine.folder / "store")},
    )
    project = machine.folder / "project"
    shutil.copytree(bench.template(), project)
    lock = bench.series.state(LAST).folder
    for name in ("requirements.in", "requirements.txt", "envkit.toml"):
        (project / name).write_bytes((lock / name).read_bytes())
    below = machine.engine.make_base(image, tools.base_of(ENVKIT))
    bench.say(f"layers: building on machine {machine.name}")
    command = tools.build(ENVKIT, project)
    try:
        done = subprocess.run(
            command.argv,
            check=False,
            cwd=project,
            env=dict(command.env),
            capture_output=True,
            text=True,
            umask=machine.umask,
            timeout=bench.limit,
        )
        if done.returncode:
            raise EngineError(done.stderr.strip()[-400:])
        return machine.engine.dependency_layers(ENVKIT.tag)
    finally:
        machine.engine.remove_on([below])


def _where(bench: Bench, machine: _Machine) -> Mapping[str, str]:
    """Return the variables with which commands find a machine's engine."""
    names = ("DOCKER_HOST", "DOCKER_CONFIG", "PATH")
    theirs = {
        name: machine.engine.environ[name] for name in names if name in machine.engine.environ
    }
    return {**bench.tools.env, **theirs}
