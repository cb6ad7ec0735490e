"""What the install script leaves where it fails, is stopped, or finds what others made."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.support import Distribution
from tests.support.scripted import ALPHA, BETA, DIGEST, SHELLS, Project


@pytest.fixture
def silence() -> Iterator[socket.socket]:
    """Listen as an index that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        yield server


def hung(
    project: Project, silence: socket.socket, shell: list[str]
) -> "tuple[subprocess.Popen[str], socket.socket]":
    """Start the script and return it, with the connection on which its pip waits for the index."""
    env = {name: value for name, value in project.env.items() if name != "PIP_NO_INDEX"}
    env["PIP_RETRIES"] = "0"
    env["PIP_INDEX_URL"] = f"http://127.0.0.1:{silence.getsockname()[1]}/simple"
    process = subprocess.Popen(
        project.command(shell=shell), env=env, stderr=subprocess.PIPE, text=True,
        stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    return process, silence.accept()[0]


def until_closed(connection: socket.socket) -> None:
    """Return when the other side has ended; raise TimeoutError if it does not."""
    connection.settimeout(5)
    while connection.recv(4096):
        pass
    connection.close()


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link", "earlier"])
def test_what_others_made_is_left_alone(project: Project, kind: str) -> None:
    there = project.root / (".venv.previous" if kind == "earlier" else ".venv")
    if kind == "file":
        there.write_text("mine")
    elif kind == "dangling link":
        there.symlink_to("nowhere")
    else:
        there.mkdir()
        (there / "pyvenv.cfg").touch()
    before = there.lstat()
    error = project.fail(2)
    assert f"{there.name} was made neither by envkit nor by this script" in error
    assert f"mv {there.name} {there.name}.mine" in error
    assert there.lstat() == before


@pytest.mark.parametrize("stamped", [True, False], ids=["made by envkit", "empty"])
def test_what_is_nobodys_or_envkits_is_replaced(project: Project, *, stamped: bool) -> None:
    if stamped:
        project.pretend()
    else:
        (project.root / ".venv/.envkit").mkdir(parents=True)
    project.install()
    assert project.has("alpha")


def test_a_failure_brings_the_old_environment_back(project: Project) -> None:
    project.pretend()
    lock = project.root / "requirements.txt"
    lock.write_text(f"{lock.read_text().splitlines()[0]}\nalpha==1.0 --hash=sha256:{DIGEST}\n")
    error = project.fail(4)
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in error
    assert "pip install failed; the last it said is above." in error
    assert error.endswith("The .venv from before is back in its place.\n")
    project.lock(Distribution(name="gamma", files={"gamma.py": ""}, requires=("absent",)))
    error = project.fail(4)
    assert "gamma 1.0 requires absent, which is not installed." in error
    assert "pip check failed" in error
    assert project.is_as_pretended()


def test_unhashed_requirements_are_refused(project: Project) -> None:
    (project.root / "requirements.txt").write_text("alpha==1.0\n")
    assert "Hashes are required in --require-hashes mode" in project.fail(4)
    assert not (project.root / ".venv").exists()


@pytest.mark.parametrize(
    ("shell", "number"),
    [*((shell, signal.SIGTERM) for shell in SHELLS), (SHELLS[1], signal.SIGINT)],
    ids=lambda value: value[0] if isinstance(value, list) else value.name,
)
def test_a_signal_stops_it_at_once_and_restores(
    project: Project, silence: socket.socket, shell: list[str], number: signal.Signals
) -> None:
    project.pretend()
    process, connection = hung(project, silence, shell)
    os.killpg(process.pid, number)
    _, error = process.communicate(timeout=10)
    assert process.returncode == 128 + number
    assert "The .venv from before is back in its place.\n" in error
    until_closed(connection)
    assert project.is_as_pretended()


@pytest.mark.parametrize("first", [True, False], ids=["first install", "a later one"])
def test_a_killed_run_is_put_right_by_the_next(
    project: Project, silence: socket.socket, *, first: bool
) -> None:
    if not first:
        project.install()
        (project.root / ".venv/mine").touch()
    lock = (project.root / "requirements.txt").read_text()
    project.lock(ALPHA, BETA)
    process, connection = hung(project, silence, SHELLS[0])
    process.kill()
    process.communicate()
    assert "another run is making .venv" in project.fail(2)  # its pip outlived it
    silence.close()
    connection.close()
    (project.root / "requirements.txt").write_text(lock)
    deadline = time.monotonic() + 20
    while "another run" in (done := project.run()).stderr and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("already up to date" in done.stdout) is not first
    assert (project.root / ".venv/mine").exists() is not first
    assert project.has("alpha")
    assert not project.has("beta")
    assert project.leftovers() == []


def test_a_kill_after_the_new_one_was_whole(project: Project) -> None:
    project.install()
    shutil.copytree(project.root / ".venv", project.root / ".venv.previous", symlinks=True)
    (project.root / ".venv.discard").mkdir()
    (project.root / ".venv/.envkit/building").touch()
    assert "already up to date" in project.install()
    assert project.leftovers() == []
