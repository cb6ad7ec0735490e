"""What it costs to start and stop a service with ``envkit serve``, and what is lost on the way.

Beside gunicorn alone and honcho, with one Flask application. One command: ``python
benchmarks/serving.py``. benchmarks/README.md says what the rows mean. Progress goes to standard
error, the tables to standard output. The exit status is 0, or 2 when a tool is lacking.
"""

from __future__ import annotations

import argparse
import collections
import http.client
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.machine import environment, machine, output, program, say
from benchmarks.report import cells, publish

README = Path(__file__).with_name("README.md")

ENVKIT, GUNICORN, HONCHO = "envkit serve", "gunicorn", "honcho start"

# So many ask at a time, more than are answered at a time.
CLIENTS = 24
WORKERS = 2

_APP = """
import time
from flask import Flask
app = Flask(__name__)

@app.get("/")
def index():
    time.sleep(0.01)
    return "done"
"""


def main() -> int:
    """Run the benchmark as the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks/serving.py", description=__doc__)
    parser.add_argument("--repeats", type=int, default=10, metavar="N", help="rounds (10)")
    parser.add_argument("--envkit", metavar="PATH", help="default: the envkit beside this Python")
    parser.add_argument("--write", action="store_true", help="update the tables in the README")
    options = parser.parse_args()
    envkit = program("envkit", options.envkit)
    if envkit is None:
        print("error: there is no envkit beside this Python: name one", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(Path(folder), envkit)
        facts = {
            "Measured": time.strftime("%Y-%m-%d"),
            "Tools": f"{output([envkit, '--version'])}, {bench.versions()}",
            "Machine": machine(),
            "Rounds": f"{options.repeats}; {WORKERS} workers, {CLIENTS} clients",
        }
        lines = bench.lines(options.repeats)
    publish(README, "serving", facts, lines, writing=options.write)
    return 0


class _Bench:
    """A project with an application, which is served in several ways."""

    def __init__(self, folder: Path, envkit: str) -> None:
        say("making the project")
        self._root = folder / "project"
        self._environ = environment(ENVKIT_STORE=str(folder / "store"), ENVKIT_COMPILE="now")
        words = [envkit, "-q", "init", str(self._root), "flask", "gunicorn", "honcho"]
        subprocess.run(words, env=self._environ, check=True)
        self._port = _free_port()
        (self._root / "app.py").write_text(_APP)
        with (self._root / "envkit.toml").open("a") as file:
            file.write(
                f'\n[services.web]\nkind = "flask"\nport = {self._port}\nworkers = {WORKERS}\n'
            )
        subprocess.run([envkit, "-q", "install"], cwd=self._root, env=self._environ, check=True)
        bin_ = self._root / ".venv" / "bin"
        gunicorn = [str(bin_ / "gunicorn"), "--bind", f"127.0.0.1:{self._port}"]
        gunicorn += ["--workers", str(WORKERS), "--access-logfile", "-", "app:app"]
        (self._root / "Procfile").write_text(f"web: exec {' '.join(gunicorn)}\n")
        self._ways: Mapping[str, Sequence[str]] = {
            ENVKIT: [envkit, "serve"],
            HONCHO: [str(bin_ / "honcho"), "start"],
            GUNICORN: gunicorn,
        }
        self._python = str(bin_ / "python")

    def versions(self) -> str:
        """Return the versions of what is compared."""
        code = (
            "import importlib.metadata as m\n"
            "print(', '.join(f'{n} {m.version(n)}' for n in ('gunicorn', 'honcho', 'flask')))"
        )
        return output([self._python, "-c", code])

    def lines(self, repeats: int) -> list[str]:
        """Measure each way in its turn, round by round, and return tables."""
        start: dict[str, dict[int, float]] = {name: {} for name in self._ways}
        stop: dict[str, dict[int, float]] = {name: {} for name in self._ways}
        lost: dict[str, list[int]] = {name: [] for name in self._ways}
        answered: collections.Counter[str] = collections.Counter()
        for round_ in range(-1, repeats):  # the first warms what is not warm yet
            say(f"round {round_ + 1} of {repeats}")
            for name, command in self._ways.items():
                until_ready, until_over = self._served(command)
                outcomes = self._under_load(command)
                if round_ >= 0:
                    start[name][round_], stop[name][round_] = until_ready, until_over
                    answered[name] += outcomes.pop("done", 0)
                    lost[name].append(sum(outcomes.values()))
        lines = []
        for title, seconds in (("until the first answer", start), ("until it has ended", stop)):
            lines += [f"| {title} | median, s | range, s | to `{GUNICORN}` (range) |"]
            lines += ["| --- | ---: | ---: | ---: |"]
            lines += [
                f"| `{name}` | {cells(seconds[name], seconds[GUNICORN])} |" for name in self._ways
            ]
            lines.append("")
        lines += [
            "| stopped under load | answered, in all | cut off, a round |",
            "| --- | ---: | ---: |",
        ]
        for name in self._ways:
            counts = sorted(lost[name])
            lines.append(f"| `{name}` | {answered[name]} | {counts[0]} to {counts[-1]} |")
        return lines

    def _served(self, command: Sequence[str]) -> tuple[float, float]:
        """Return the seconds from a start to the first answer, and from a stop to the end."""
        begun = time.perf_counter()
        with self._started(command) as server:
            while _ask(self._port) != "done":
                time.sleep(0.002)
            ready = time.perf_counter()
            server.send_signal(signal.SIGTERM)
            server.wait()
            return ready - begun, time.perf_counter() - ready

    def _under_load(self, command: Sequence[str]) -> collections.Counter[str]:
        """Return what became of requests that were sent while a server was being stopped."""
        outcomes: collections.Counter[str] = collections.Counter()
        mutex = threading.Lock()

        def client() -> None:
            while (outcome := _ask(self._port)) != "refused":
                with mutex:
                    outcomes[outcome] += 1

        with self._started(command) as server:
            while _ask(self._port) != "done":
                time.sleep(0.01)
            clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
            for one in clients:
                one.start()
            time.sleep(0.5)
            server.send_signal(signal.SIGTERM)
            server.wait()
            for one in clients:
                one.join()
        return outcomes

    def _started(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            cwd=self._root,
            env=self._environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def _ask(port: int) -> str:
    """Return what is answered; "refused" if nobody listens; else the error that it ends in."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.connect()
    except ConnectionRefusedError:
        return "refused"
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
