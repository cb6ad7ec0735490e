"""Locks that the kernel holds, and what is said of who holds them."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from envkit import mutex
from envkit.mutex import Claims

# Holds a file, or a claim to a thing in it, until it is ended; says so when it has it.
_HOLD = """
import sys, time
from envkit import mutex
path, kind = sys.argv[1:]
if kind == "claim":
    claims = mutex.Claims(path)
    assert claims.claim("a1")
    held = claims
else:
    held = mutex.hold(path, shared=kind == "shared")
with held:
    print("held", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def holder(path: Path, kind: str) -> Iterator[subprocess.Popen[str]]:
    """Lend a process that holds a file; it is killed at the end if it has not been before."""
    command = [sys.executable, "-c", _HOLD, str(path), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_held_alone(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    with mutex.hold(str(path)), mutex.try_hold(str(path)) as alone:
        assert not alone
    with mutex.try_hold(str(path)) as alone:
        assert alone


def test_held_together(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with (
        mutex.hold(path, shared=True),
        mutex.hold(path, shared=True),
        mutex.try_hold(path) as alone,
    ):
        assert not alone


@pytest.mark.parametrize("kind", ["alone", "shared"])
def test_who_waits_is_told_for_whom(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "lock"
    said: list[str] = []
    with holder(path, kind) as process:

        def say(line: str) -> None:
            said.append(line)
            process.kill()

        with mutex.hold(str(path), what="the thing", say=say):
            process.wait()
    (line,) = said
    assert line.startswith(f"Waiting for the thing: pid {process.pid}, `")
    assert f"since {time.strftime('%H:')}" in line or f"since {_an_hour_ago()}" in line


def _an_hour_ago() -> str:
    return time.strftime("%H:", time.localtime(time.time() - 60))


def test_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path, "alone") as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with mutex.try_hold(str(path)) as alone:
            assert alone


def test_claims_are_of_one_process_each(tmp_path: Path) -> None:
    path = tmp_path / "claims"
    said: list[str] = []
    with holder(path, "claim") as process, Claims(str(path)) as claims:
        assert not claims.claim("a1")
        assert claims.claim("b2")
        claims.release("b2")

        def say(line: str) -> None:
            said.append(line)
            process.kill()

        claims.wait("a1", what="a1", say=say)
        claims.release("a1")
        claims.wait("a1", what="a1", say=said.append)
    (line,) = said
    assert f"pid {process.pid}" in line


def test_a_claim_that_is_let_go_is_free(tmp_path: Path) -> None:
    path = tmp_path / "claims"
    with Claims(str(path)) as claims:
        assert claims.claim("a1")
        claims.release("a1")
        with holder(path, "claim"):
            assert not claims.claim("a1")
