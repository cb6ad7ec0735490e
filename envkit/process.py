"""The only place that starts processes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from envkit.errors import MissingError, ToolError

if TYPE_CHECKING:
    import subprocess

# How long a child that was asked to stop may take, in seconds, before it is killed.
_GRACE = 3.0

_children: set[subprocess.Popen[str]] = set()


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A process that has ended: its command, its exit code and what it printed, as text."""

    command: Sequence[str]
    returncode: int
    stdout: str
    stderr: str

    def last_lines(self, count: int = 8) -> str:
        """Return the last `count` lines that say something: of stderr, or else of stdout."""
        lines = [line for line in (self.stderr.strip() or self.stdout).splitlines() if line.strip()]
        return "\n".join(lines[-count:])


def run(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    on_line: Callable[[str], None] | None = None,
) -> Completed:
    """Run a program to its end and return what it printed; an exit code raises nothing.

    Args:
        command: the program and its arguments; no shell is involved.
        cwd: the folder to run in; this process's own by default.
        env: its whole environment; this process's own by default.
        stdin: text for its standard input; empty by default.
        on_line: called with each line of its standard output as it comes.

    Raises:
        MissingError: the program is not there or may not be executed.
    """
    import threading

    child = _start(command, cwd, env)
    printed: list[str] = []
    complained: list[str] = []
    assert child.stdout
    assert child.stderr
    drain = threading.Thread(target=complained.extend, args=(child.stderr,), daemon=True)
    drain.start()
    try:
        feed = threading.Thread(target=_feed, args=(child, stdin or ""), daemon=True)
        feed.start()
        for line in child.stdout:
            printed.append(line)
            if on_line:
                on_line(line.rstrip("\n"))
        child.wait()
        drain.join()
    except BaseException:
        _stop(child)
        raise
    finally:
        _children.discard(child)
    return Completed(
        command=tuple(command),
        returncode=child.returncode,
        stdout="".join(printed),
        stderr="".join(complained),
    )


def check(command: Sequence[str], *, what: str, hint: str = "", **options: object) -> Completed:
    """Run a program as `run` does and return what it printed, if it succeeded.

    Args:
        command: the program and its arguments.
        what: what was being done, for the error: "pip could not ...".
        hint: what the user can do about a failure.
        options: as for `run`.

    Raises:
        MissingError: the program is not there.
        ToolError: it ended with another exit code than 0.
    """
    completed = run(command, **options)  # type: ignore[arg-type]
    if completed.returncode:
        raise ToolError(
            f"{what} (exit code {completed.returncode}):\n{completed.last_lines()}", hint
        )
    return completed


def replace(command: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Become another program, so that signals, terminal and exit code are its own.

    Raises:
        MissingError: the program is not there or may not be executed.
    """
    try:
        os.execvpe(command[0], list(command), dict(env))  # noqa: S606
    except FileNotFoundError:
        raise MissingError(f"{command[0]}: no such command") from None
    except OSError as error:
        raise MissingError(f"{command[0]}: cannot be executed: {error.strerror}") from None


def detach(command: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
    """Start a program in a session of its own, which outlives this one; its output is dropped."""
    import subprocess

    subprocess.Popen(
        list(command),
        env=None if env is None else dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )


class Worker:
    """A child that answers each line that it is given with a line of its own."""

    def __init__(self, command: Sequence[str], *, what: str, cwd: Path) -> None:
        """Start the program.

        Args:
            command: the program and its arguments.
            what: what is said to have failed if it does not answer.
            cwd: the folder to run in.

        Raises:
            MissingError: the program is not there.
        """
        import threading

        self._what = what
        self._child = _start(command, cwd, None)
        self._complained: list[str] = []
        assert self._child.stderr
        self._drain = threading.Thread(
            target=self._complained.extend, args=(self._child.stderr,), daemon=True
        )
        self._drain.start()

    def ask(self, line: str) -> str:
        """Return the answer to a line.

        Raises:
            ToolError: the program has ended; its last lines are in the message.
        """
        assert self._child.stdin
        assert self._child.stdout
        answer = ""
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(line + "\n")
            self._child.stdin.flush()
            answer = self._child.stdout.readline()
        if not answer:
            self._child.wait()
            self._drain.join()
            raise ToolError(f"{self._what}:\n{''.join(self._complained[-8:])}")
        return answer

    def close(self) -> None:
        """Let the program end: there are no more lines."""
        assert self._child.stdin
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        try:
            self._child.wait()
        finally:
            _children.discard(self._child)


def side_by_side(works: Sequence[Callable[[], None]]) -> None:
    """Do several pieces of work at once, each but the first in a fork of this process.

    Only what they do to files is left of them. No thread may be running.

    Raises:
        BaseException: what the first of them raised that did not succeed.
    """
    import pickle

    forks: list[tuple[int, int]] = []
    failures: list[BaseException] = []
    for work in works[1:]:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            failure: BaseException | None = None
            try:
                work()
            except BaseException as error:
                failure = error
            with os.fdopen(writer, "wb") as pipe:
                pickle.dump(failure, pipe)
            os._exit(0)
        os.close(writer)
        forks.append((child, reader))
    try:
        if works:
            works[0]()
    except BaseException as error:
        failures.append(error)
    for child, reader in forks:
        with os.fdopen(reader, "rb") as pipe:
            answer = pipe.read()
        os.waitpid(child, 0)
        failure = pickle.loads(answer) if answer else ToolError("A process of envkit was killed")  # noqa: S301
        if failure is not None:
            failures.append(failure)
    if failures:
        raise failures[0]


def stop_all() -> None:
    """Stop every child that is still running, in bounded time."""
    for child in list(_children):
        _stop(child)


def _start(
    command: Sequence[str], cwd: Path | None, env: Mapping[str, str] | None
) -> subprocess.Popen[str]:
    import subprocess

    try:
        child = subprocess.Popen(
            list(command),
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="backslashreplace",
        )
    except FileNotFoundError:
        raise MissingError(f"{command[0]}: no such command") from None
    except OSError as error:
        raise MissingError(f"{command[0]}: cannot be executed: {error.strerror}") from None
    _children.add(child)
    return child


def _feed(child: subprocess.Popen[str], text: str) -> None:
    assert child.stdin
    try:
        child.stdin.write(text)
        child.stdin.close()
    except OSError:
        pass  # it ended without reading everything, which is its right


def _stop(child: subprocess.Popen[str]) -> None:
    import subprocess

    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(_GRACE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
