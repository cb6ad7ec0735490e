"""Projects that serve something, and commands that go on until they are stopped."""

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .projects import Project
from .waiting import wait

# An application that is served.
APP = """
import os, time
from flask import Flask
app = Flask(__name__)

@app.get("/")
def index():
    return os.environ.get("SAYS", "hello")

@app.get("/health")
def health():
    return "well"

@app.get("/slow/<seconds>")
def slow(seconds):
    time.sleep(float(seconds))
    return "done"

@app.get("/crash")
def crash():
    os.kill(os.getppid(), 9)
    return ""
"""

# No command takes this many seconds to end when it is told to.
_LIMIT = 60


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def get(port: int, path: str = "/") -> tuple[int, str]:
    """Return the status and the text of an answer; 0 and the error where there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError as error:
        return 0, type(error).__name__
    finally:
        connection.close()


class Serving:
    """`envkit serve` in the foreground, which runs while it is entered.

    Attributes:
        process: the command.
        out: what it has printed, once it has ended.
        err: what it has said, once it has ended.
    """

    def __init__(
        self, project: Project, *arguments: str, env: Mapping[str, str] | None = None
    ) -> None:
        self._project = project
        self._command = [sys.executable, "-m", "envkit", "serve", *arguments]
        self._environ = {**project.machine.environ, **(env or {})}
        self.out = self.err = ""

    def __enter__(self) -> "Serving":
        self.process = subprocess.Popen(
            self._command,
            cwd=self._project.root,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        )
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.stop(signal.SIGTERM)

    def until_ready(self, *names: str) -> "Serving":
        """Wait until services are ready; a failure if the command ends before."""
        for name in names:
            wait(lambda name=name: self._is_ready(name), f"{name} is ready")  # type: ignore[misc]
        return self

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal as a terminal does, and return the exit code."""
        os.killpg(self.process.pid, number)
        return self.ended()

    def ended(self) -> int:
        """Return the exit code, once the command has ended."""
        out, err = self.process.communicate(timeout=_LIMIT)
        self.out, self.err = self.out + (out or ""), self.err + err
        return self.process.returncode

    def _is_ready(self, name: str) -> bool:
        if self.process.poll() is not None:
            self.ended()
            raise AssertionError(self.out + self.err)
        return state(self._project, name) == "ready"


def services(project: Project) -> dict[str, Any]:
    """Return what `envkit services` says, by the services' names."""
    return {one["name"]: one for one in project.succeed("services", "--json").json}


def state(project: Project, name: str) -> str:
    """Return the state of a service."""
    return str(services(project)[name]["state"])


def left(project: Project) -> list[int]:
    """Return the processes of a project that go on."""
    return project.machine.processes()


def declare(project: Project, tables: Mapping[str, Sequence[str]], more: str = "") -> None:
    """Write the settings of a project: service -> lines."""
    text = "".join(
        f"[services.{name}]\n" + "".join(f"{line}\n" for line in lines)
        for name, lines in tables.items()
    )
    project.root.joinpath("envkit.toml").write_text(more + text)


def write(project: Project, **files: str) -> None:
    """Write files of Python's code: module, with __ for what stands between folders -> text."""
    for name, text in files.items():
        path = Path(project.root, *name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
