"""What it costs to run a command with ``envkit run``, beside the command alone and ``uv run``.

One command: ``python benchmarks/run.py``. benchmarks/README.md says what the rows mean. Progress
goes to standard error, the tables to standard output. The exit status is 0, or 2 when a tool is
lacking.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.machine import environment, machine, output, program, say
from benchmarks.report import between, cells, number, publish
from benchmarks.timing import spread
from envkit.gpu.devices import Driver
from envkit.gpu.folder import Folder
from envkit.gpu.holders import Holder
from envkit.gpu.leases import Lease, Leases, Refusal, Wish
from tests.support.nvml import Nvml, gpus

README = Path(__file__).with_name("README.md")
BARE, PYTHON = "true", "python -c pass"
OURS, LEASED = "envkit run -- true", "envkit run --gpus 1 -- true"
HIDDEN = "envkit run -- true, with count = 0"
UV = "uv run --no-sync -- true"

# What the settings of the second project say.
_SETTINGS = "printf '[gpu]\\ncount = 0\\n' >> envkit.toml"

# So many GPUs has the machine whose leases are taken.
GPUS = 8

# Measured by itself, in a process that has the stand-in for the driver.
INNER = "--leases-only"


def main() -> int:
    """Run the benchmark as the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__)
    parser.add_argument("--repeats", type=int, default=100, metavar="N", help="rounds (100)")
    parser.add_argument("--envkit", metavar="PATH", help="default: the envkit beside this Python")
    parser.add_argument("--uv", metavar="PATH", help="default: the uv beside this Python")
    parser.add_argument("--write", action="store_true", help="update the tables in the README")
    parser.add_argument(INNER, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.leases_only:
        print("\n".join(_lease_lines(options.repeats)))
        return 0
    try:
        envkit, uv = (_program(name, getattr(options, name)) for name in ("envkit", "uv"))
        with tempfile.TemporaryDirectory() as folder:
            facts = {
                "Measured": time.strftime("%Y-%m-%d"),
                "Tools": f"{output([envkit, '--version'])}, {output([uv, '--version'])}",
                "Machine": machine(),
                "Rounds": str(options.repeats),
            }
            commands = _command_lines(Path(folder), envkit, uv, options.repeats)
            leases = _leases_apart(Path(folder), options.repeats)
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    publish(README, "run", facts, [*commands, "", *leases], writing=options.write)
    return 0


def _program(name: str, given: str | None) -> str:
    found = program(name, given)
    if found is None:
        raise FileNotFoundError(f"there is no {name} beside this Python: name one with --{name}")
    return found


def _command_lines(folder: Path, envkit: str, uv: str, repeats: int) -> list[str]:
    """Measure commands in their turn, round by round, and return a table of them."""
    ours, hidden, theirs = (folder / name for name in ("ours", "hidden", "theirs"))
    _make_projects(ours, hidden, theirs, envkit, uv)
    ways: Mapping[str, tuple[Sequence[str], Path]] = {
        BARE: (["/bin/true"], ours),
        PYTHON: ([str(ours / ".venv/bin/python"), "-c", "pass"], ours),
        OURS: ([envkit, "run", "--", "true"], ours),
        HIDDEN: ([envkit, "run", "--", "true"], hidden),
        LEASED: ([envkit, "run", "--gpus", "1", "--", "true"], ours),
        UV: ([uv, "run", "--no-sync", "--", "true"], theirs),
    }
    environ = environment(**_driver(folder), ENVKIT_GPU_LEASES=str(folder / "leases"))
    (folder / "leases").mkdir()
    took: dict[str, dict[int, float]] = {name: {} for name in ways}
    for round_ in range(-3, repeats):  # what is not warm yet is warmed first
        order = list(ways)
        order = order[round_ % len(order) :] + order[: round_ % len(order)]
        for name in order:
            milliseconds = _timed(*ways[name], environ)
            if round_ >= 0:
                took[name][round_] = milliseconds
    lines = ["| | median, ms | range, ms | to `uv run` (range) | over `true`, ms |"]
    lines.append("| --- | ---: | ---: | ---: | ---: |")
    for name in ways:
        over = spread([took[name][round_] - took[BARE][round_] for round_ in range(repeats)])
        lines.append(f"| `{name}` | {cells(took[name], took[UV])} | {number(over.median, 2)} |")
    return lines


def _make_projects(ours: Path, hidden: Path, theirs: Path, envkit: str, uv: str) -> None:
    """Make a project of each tool with the same distribution, whose environment is ready."""
    say("making the projects")
    environ = environment(ENVKIT_COMPILE="now", ENVKIT_STORE=str(ours.parent / "store"))
    for folder, commands in (
        (ours, [[envkit, "-q", "init", ".", "six"], [envkit, "-q", "install"]]),
        (hidden, [[envkit, "-q", "init", ".", "six"], ["sh", "-c", _SETTINGS]]),
        (theirs, [[uv, "init", "-q", "--bare", "--name", "theirs", "."], [uv, "add", "-q", "six"]]),
    ):
        folder.mkdir()
        for command in commands:
            subprocess.run(command, cwd=folder, env=environ, check=True)
    # What was written just now is looked at more closely, by both.
    time.sleep(1)
    for folder in (ours, hidden):
        subprocess.run([envkit, "-q", "install"], cwd=folder, env=environ, check=True)


def _timed(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> float:
    """Return how many milliseconds a command takes."""
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environ, check=True, stderr=subprocess.DEVNULL)
    return (time.perf_counter() - start) * 1000


def _leases_apart(folder: Path, repeats: int) -> list[str]:
    """Measure leases in a process that finds the stand-in for the driver."""
    say("taking leases")
    command = [sys.executable, __file__, INNER, "--repeats", str(repeats)]
    return output(command, environment(**_driver(folder))).splitlines()


def _driver(folder: Path) -> Mapping[str, str]:
    """Return the variables of a process that finds the stand-in for the driver."""
    library = Nvml(folder / "nvml")
    library.says(gpus(GPUS))
    return library.environ


def _lease_lines(repeats: int) -> list[str]:
    """Measure how long it takes to take a lease, and to be refused one, and return a table."""
    with tempfile.TemporaryDirectory() as place, Driver() as driver:
        found = driver.gpus()
        by_uuid = {gpu.uuid: gpu for gpu in found}
        folder = Folder(Path(place), is_shared=True)
        wish = Wish(Holder.this(["python", "train.py"], place), 1, tuple(by_uuid))

        def opened() -> Leases:
            return Leases(
                folder,
                user_of=lambda uuid: driver.user(by_uuid[uuid]),
                is_running=lambda _: False,
            )

        def taken(wanted: int) -> Lease | Refusal:
            with opened() as leases:
                return leases.take(wish._replace(wanted=wanted))

        one = [_took(lambda: taken(1)) for _ in range(repeats)]
        every = [_took(lambda: taken(GPUS)) for _ in range(repeats)]
        held = taken(GPUS)
        assert isinstance(held, Lease)
        refused = [_took(lambda: taken(1)) for _ in range(repeats)]
    rows = {
        f"a lease of 1 of {GPUS} GPUs is taken": one,
        f"a lease of all {GPUS} is taken": every,
        f"a lease is refused, all {GPUS} being held": refused,
    }
    lines = ["| | median, ms | range, ms |", "| --- | ---: | ---: |"]
    for title, values in rows.items():
        own = spread(values)
        lines.append(f"| {title} | {number(own.median, 2)} | {between(own, 2)} |")
    return lines


def _took(work: Callable[[], Lease | Refusal]) -> float:
    """Return how many milliseconds it takes to be given a lease, or to be refused one."""
    start = time.perf_counter()
    outcome = work()
    took = (time.perf_counter() - start) * 1000
    if isinstance(outcome, Lease):
        outcome.release()
    return took


if __name__ == "__main__":
    sys.exit(main())
