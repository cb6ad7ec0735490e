"""Compare ``envkit build`` with docker and docker-py: the same image, built each way in one run.

One command: ``python benchmarks/build.py``. benchmarks/README.md says what the rows mean.
Progress goes to standard error, the tables to standard output. The exit status is 0, 1 when a
measured command failed or what should be the same is not, 130 when interrupted, 2 when a tool, an
engine or a lock could not be had.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import report
from benchmarks.building import files, locked, sameness, wheels
from benchmarks.building.bench import Bench
from benchmarks.building.engine import REPOSITORY, Engine, EngineError
from benchmarks.building.files import Files
from benchmarks.building.locked import Locked
from benchmarks.building.sample import Finding, Sample
from benchmarks.building.tables import tables
from benchmarks.building.ways import FILES, LOCKED, Tools
from benchmarks.locks import LockError, Maker, Series
from benchmarks.machine import add_common, cache_folder, known, machine, output, program, say
from benchmarks.recipes import LAST, RECIPES
from benchmarks.tools import base_env
from tests.support import engines, makes
from tests.support.index import Index
from tests.support.makes import UnavailableError
from tests.support.registries import Registry

README = Path(__file__).with_name("README.md")
INTERRUPTED = "Interrupted"
ROWS = (*locked.ROWS, *files.ROWS, *sameness.ROWS)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark as the command line says; returns the exit status."""
    options = _parser().parse_args(argv)
    try:
        result = _merged(options.reuse) if options.reuse else _measured(options)
    except (LockError, EngineError, UnavailableError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    samples = [Sample(**sample) for sample in result["samples"]]
    findings = [Finding(**finding) for finding in result["findings"]]
    text = tables(samples, findings, result["facts"], result["sizes"])
    print(text)
    if INTERRUPTED in result["facts"]:
        return 130
    if options.write:
        report.write(README, "build", text)
    failed = any(sample.error for sample in samples)
    return 1 if failed or not all(finding.same for finding in findings) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks/build.py", description=__doc__)
    add = parser.add_argument
    add("--size", type=int, choices=tuple(RECIPES), default=100, help="which lock (default: 100)")
    add("--rows", type=_rows, default=ROWS, help=f"some of {','.join(ROWS)} (default: all)")
    add("--repeats", type=int, default=3, metavar="N", help="runs of each (default: 3)")
    add("--files", type=int, default=50_000, metavar="N", help="files of a large context")
    add("--base", default="python:3.11-slim", metavar="IMAGE", help="what all images stand on")
    add("--own-engine", action="store_true", help="start an engine for this alone, as root")
    add("--python", metavar="PATH", help="what locks are for (default: this one's base)")
    add("--work", type=Path, metavar="DIR", help="locks, wheels, projects (default: a user cache)")
    add_common(parser)
    return parser


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    python = str(Path(options.python or getattr(sys, "_base_executable", sys.executable)).resolve())
    minor = output([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
    env = base_env(os.environ, python)
    work = (options.work or cache_folder() / "envkit-benchmarks").resolve()
    envkit = program("envkit", options.envkit)
    if envkit is None:
        raise FileNotFoundError(f"no envkit beside {sys.executable}: give --envkit PATH")
    maker = Maker(envkit=(envkit,), python=python, version=minor, env=env)
    place = work / "locks" / f"{maker.name}-{minor}" / str(options.size)
    series = Series(RECIPES[options.size], place, maker, say)
    bumps = options.repeats if {"bump", "push"} & set(options.rows) else 0
    states = [series.state(number) for number in (LAST, *range(1, min(bumps + 2, LAST)))]
    folder = work / "wheels" / f"{minor}-{options.size}"
    wheels.bring(states, folder, python=python, env=env, say=say)
    with contextlib.ExitStack() as cleanup:
        engine = _engine(options, env, cleanup)
        index = cleanup.enter_context(Index(folder))
        registry = cleanup.enter_context(Registry()) if "push" in options.rows else None
        name = f"{time.strftime('%Y%m%d')}-{secrets.token_hex(4)}"
        own = work / name
        own.mkdir(parents=True)
        cleanup.callback(shutil.rmtree, own)
        bench = Bench(
            series=series,
            sizes=wheels.publish(folder, index),
            engine=engine,
            tools=Tools(
                envkit=envkit,
                docker=engine.docker,
                env={
                    **index.pip_environment(engine.environ),
                    "DOCKER_BUILDKIT": "1",  # what newer command lines do anyway
                    "ENVKIT_STORE": str(own / "store"),
                },
                base=f"{REPOSITORY}/base:{name}",
                arguments={"PIP_INDEX_URL": index.url},
            ),
            work=own,
            repeats=options.repeats,
            limit=options.limit,
            say=say,
        )
        below: list[tuple[str, ...]] = []
        cleanup.callback(engine.remove_on, below)
        for way in (*LOCKED, *FILES):
            below.append(engine.make_base(options.base, bench.tools.base_of(way)))
        return _rows_of(bench, options, registry, _facts(options, series, engine, envkit, env))


def _rows_of(
    bench: Bench, options: argparse.Namespace, registry: Registry | None, facts: dict[str, str]
) -> dict[str, Any]:
    """Measure the rows that were asked for, until an interrupt."""
    samples: list[Sample] = []
    findings: list[Finding] = []
    sizes: dict[str, int] = {}
    try:
        pinned = Locked(bench, registry)
        samples.extend(pinned.measure(options.rows))
        if "first" in options.rows:
            sizes = _sizes(bench)
        if "venv" in options.rows:
            findings.append(sameness.found(lambda: sameness.environment(bench, pinned)))
        samples.extend(Files(bench, options.files).measure(options.rows))
        if "layers" in options.rows:
            findings.append(sameness.found(lambda: _two_machines(bench, options)))
    except KeyboardInterrupt:
        facts[INTERRUPTED] = "what had been measured until then is shown"
    return {
        "facts": facts,
        "sizes": sizes,
        "samples": [sample.to_json() for sample in samples],
        "findings": [finding.to_json() for finding in findings],
    }


def _sizes(bench: Bench) -> dict[str, int]:
    found = {}
    for way in LOCKED:
        with contextlib.suppress(EngineError):
            found[way.name] = bench.engine.size(way.tag)
    return found


def _two_machines(bench: Bench, options: argparse.Namespace) -> Finding:
    """Use a second engine where one can be started, the first one twice elsewhere."""
    with contextlib.ExitStack() as cleanup:
        other = bench.engine
        try:
            started = cleanup.enter_context(engines.Engine(makes.newest()))
            other = Engine(bench.engine.docker, {**bench.tools.env, **started.environ})
        except UnavailableError as error:
            say(f"no second engine: {error}")
        return sameness.two_machines(bench, options.base, other)


def _engine(
    options: argparse.Namespace, env: dict[str, str], cleanup: contextlib.ExitStack
) -> Engine:
    docker = shutil.which("docker", path=env["PATH"])
    if docker is None:
        raise FileNotFoundError("there is no program docker")
    found = Engine(docker, env)
    if not options.own_engine:
        return found
    started = cleanup.enter_context(engines.Engine(makes.distributions()))
    own = Engine(docker, {**env, **started.environ})
    found.copy_to(own, options.base)
    return own


def _facts(
    options: argparse.Namespace, series: Series, engine: Engine, envkit: str, env: dict[str, str]
) -> dict[str, str]:
    client = engine.ask("version", "--format", "{{.Client.Version}}")
    buildx = engine.ask("buildx", "version").split()[1]
    pins = series.state(LAST).pins
    listed = ", ".join(series.recipe.requirements)
    return {
        "Measured": time.strftime("%Y-%m-%d"),
        "Tools": f"{output([envkit, '--version'], env).replace(', version', '')}, docker {client}, "
        f"buildx {buildx}, docker-py {version('docker')}",
        "Engine": engine.version() + (", started for this alone" if options.own_engine else ""),
        "Lock": f"{len(series.recipe.requirements)} requirements, {len(pins)} distributions "
        f"({listed})",
        "Files": f"{options.files:,}",
        "Machine": machine(),
        "Load before": f"{os.getloadavg()[0]:.1f}",
    }


def _merged(paths: Sequence[Path]) -> dict[str, Any]:
    results = [json.loads(path.read_text()) for path in paths]
    return {
        "facts": results[0]["facts"],
        "sizes": {way: size for result in results for way, size in result["sizes"].items()},
        "samples": [sample for result in results for sample in result["samples"]],
        "findings": [finding for result in results for finding in result["findings"]],
    }


def _rows(text: str) -> tuple[str, ...]:
    return known(text, ROWS)


if __name__ == "__main__":
    sys.exit(main())
