"""Compare ``envkit install`` with uv and pip, side by side, on the same locks.

One command: ``python benchmarks/install.py``. benchmarks/README.md says what the rows mean.
Progress goes to standard error, the tables to standard output. The exit status is 0, 1 when a
measured command failed, 130 when interrupted, 2 when a tool or a lock could not be had.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import report
from benchmarks.indexes import read_pip_settings, uv_settings
from benchmarks.locks import LockError, Maker, Series, UvProjects
from benchmarks.machine import add_common, cache_folder, known, machine, output, program, say
from benchmarks.recipes import LAST, RECIPES
from benchmarks.scenarios import ROWS, Bench, Sample, Settings
from benchmarks.timing import Limits
from benchmarks.tools import Checkout, Toolbox, base_env, variants

README = Path(__file__).with_name("README.md")
INTERRUPTED = "Interrupted"
TOOLS = ("envkit", "uv", "pip")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark as the command line says; returns the exit status."""
    options = _parser().parse_args(argv)
    try:
        result = _merged(options.reuse) if options.reuse else _measured(options)
    except (LockError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    samples = [Sample(**sample) for sample in result["samples"]]
    sizes = {int(size): text for size, text in result["sizes"].items()}
    text = report.tables(samples, result["facts"], sizes)
    print(text)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if INTERRUPTED in result["facts"]:
        return 130
    if options.write:
        report.write(README, "install", text)
    return 1 if any(sample.error for sample in samples) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks/install.py", description=__doc__)
    add = parser.add_argument
    add("--sizes", type=_numbers, default=tuple(RECIPES), help="some of 3,100,150 (default: all)")
    add("--rows", type=_rows, default=ROWS, help=f"some of {','.join(ROWS)} (default: all)")
    add("--tools", type=_tools, default=TOOLS, help=f"some of {','.join(TOOLS)} (default: all)")
    add("--repeats", type=int, metavar="N", help="runs of each (default: 5, and 3 of slow ones)")
    add("--uv", metavar="PATH", help="default: the uv beside this Python, or on the path")
    add("--python", metavar="PATH", help="what all tools install for (default: this one's base)")
    add(
        "--work",
        type=Path,
        metavar="DIR",
        help="caches, locks, environments (default: a user cache)",
    )
    add_common(parser)
    return parser


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    python = str(Path(options.python or getattr(sys, "_base_executable", sys.executable)).resolve())
    version = output([python, "-c", "import platform; print(platform.python_version())"])
    minor = ".".join(version.split(".")[:2])
    env = base_env(os.environ, python)
    work = (options.work or cache_folder() / "envkit-benchmarks").resolve()
    envkit = program("envkit", options.envkit)
    uv = program("uv", options.uv)
    for name, path in (("envkit", envkit), ("uv", uv)):
        if name in options.tools and path is None:
            raise FileNotFoundError(
                f"no {name} beside {sys.executable}: give --{name} PATH, or --tools"
            )
    uv_index = uv_settings(read_pip_settings(sys.executable, env), os.environ)
    toolbox = Toolbox(
        python=python,
        envkit=(envkit or "",),
        uv=uv or "",
        environ=os.environ,
        uv_index=uv_index,
        matplotlib=work / "matplotlib",
    )
    maker = Maker(envkit=(envkit,) if envkit else None, python=python, version=minor, env=env)
    uv_env = env | uv_index | {"UV_CACHE_DIR": str(work / "caches" / "uv" / "uv")}
    checkout = Checkout(UvProjects(uv, python, version, uv_env) if uv else None)
    settings = Settings(
        work=work,
        variants=variants(options.tools),
        repeats=options.repeats,
        limits=Limits(command=options.limit, calm=options.limit),
    )
    facts = _facts(options.tools, envkit, uv, python, env)
    sizes: dict[str, str] = {}
    samples: list[dict[str, object]] = []
    for size in options.sizes:
        series = Series(
            RECIPES[size], work / "locks" / f"{maker.name}-{minor}" / str(size), maker, say
        )
        sizes[str(size)] = _about(series)
        bench = Bench(series, toolbox, checkout, settings, say)
        try:
            samples.extend(sample.to_json() for sample in bench.measure(options.rows))
        except KeyboardInterrupt:
            facts[INTERRUPTED] = f"in size {size}; what had been measured until then is shown"
            break
    return {"facts": facts, "sizes": sizes, "samples": samples}


def _merged(files: Sequence[Path]) -> dict[str, Any]:
    results = [json.loads(file.read_text()) for file in files]
    return {
        "facts": results[0]["facts"],
        "sizes": {size: text for result in results for size, text in result["sizes"].items()},
        "samples": [sample for result in results for sample in result["samples"]],
    }


def _about(series: Series) -> str:
    recipe = series.recipe
    names = ", ".join(recipe.requirements)
    pins = series.state(LAST).pins
    for old, new, expected in ((1, LAST, 10), (1, 2, 1)):
        if len(changed := series.changes(old, new)) != expected:
            say(f"note: {expected} should change in {recipe.size}, these do: {', '.join(changed)}")
    return f"{len(recipe.requirements)} requirements, {len(pins)} distributions ({names})"


def _facts(
    tools: Sequence[str], envkit: str | None, uv: str | None, python: str, env: Mapping[str, str]
) -> dict[str, str]:
    versions = []
    for name, argv in (
        ("envkit", [envkit or "", "--version"]),
        ("uv", [uv or "", "--version"]),
        ("pip", [python, "-Im", "ensurepip", "--version"]),
    ):
        if name in tools:
            versions.append(f"{name} {output(argv, env).removeprefix(name).strip()}")
    return {
        "Measured": time.strftime("%Y-%m-%d"),
        "Tools": ", ".join(versions),
        "Python": output([python, "-VV"], env),
        "Machine": machine(),
        "Load before": f"{os.getloadavg()[0]:.1f}",
    }


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(name) for name in known(text, [str(size) for size in RECIPES]))


def _rows(text: str) -> tuple[str, ...]:
    return known(text, ROWS)


def _tools(text: str) -> tuple[str, ...]:
    return known(text, TOOLS)


if __name__ == "__main__":
    sys.exit(main())
