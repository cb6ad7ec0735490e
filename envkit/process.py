"""The only place that starts processes, but for `foreground` and `supervised`."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Generic, NamedTuple, TypeVar

from envkit import refusals
from envkit.errors import EnvkitError, ToolError
from envkit.foreground import missing, restore_signals

T = TypeVar("T")

# How long a child that was asked to stop may take, in seconds, before it is killed.
_GRACE = 3.0

_children: set[_Child] = set()


class Completed(NamedTuple):
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
    merged: bool = False,
) -> Completed:
    """Run a program to its end and return what it printed; an exit code raises nothing.

    Args:
        command: the program and its arguments; no shell is involved.
        cwd: the folder to run in; this process's own by default.
        env: its whole environment; this process's own by default.
        stdin: text for its standard input; empty by default.
        on_line: called with each line of its standard output as it comes.
        merged: whether its complaints count as standard output, in the order in which they come.

    Raises:
        MissingError: the program is not there or may not be executed.
    """
    import threading

    child = _Child(command, cwd, env, merged=merged)
    printed: list[str] = []
    try:
        threading.Thread(target=child.feed, args=(stdin or "",), daemon=True).start()
        for line in child.output:
            printed.append(line)
            if on_line:
                on_line(line.rstrip("\n"))
        complaint = child.wait()
    except BaseException:
        child.stop()
        raise
    finally:
        child.close()
    return Completed(
        command=tuple(command),
        returncode=child.returncode,
        stdout="".join(printed),
        stderr=complaint,
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
        RefusedError: it did so as the disk is full, or the like.
    """
    completed = run(command, **options)  # type: ignore[arg-type]
    if completed.returncode:
        raise failure(completed, what, hint)
    return completed


def failure(completed: Completed, what: str, hint: str = "") -> EnvkitError:
    """Return the error of a program that failed: what the system refused it, or its last lines.

    Args:
        completed: the program.
        what: what was being done.
        hint: what the user can do about it.
    """
    lines = completed.last_lines()
    refused = refusals.printed(lines, what)
    ending = f" (exit code {completed.returncode}):\n{lines}" if lines else _ending(completed)
    return refused or ToolError(f"{what}{ending}", hint)


def _ending(ended: Completed | _Child) -> str:
    """Return how a program ended that has nothing to say of it."""
    code = ended.returncode
    return f": ended by signal {-code}" if code < 0 else f": exit code {code}"


def detach(command: Sequence[str], *, env: Mapping[str, str]) -> None:
    """Start a program in a session of its own, which outlives this one; its output is dropped.

    A fork, since importing `subprocess` would take longer than all of this. No thread may be
    running.
    """
    if os.fork():
        return
    try:
        os.setsid()
        os.chdir("/")
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(nowhere, descriptor)
        restore_signals()
        os.execve(command[0], list(command), dict(env))  # noqa: S606
    finally:
        os._exit(127)


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
        self._what = what
        self._child = _Child(command, cwd, None)

    def ask(self, line: str) -> str:
        """Return the answer to a line.

        Raises:
            ToolError: the program has ended; its last lines are in the message.
        """
        answer = ""
        with contextlib.suppress(BrokenPipeError):
            self._child.input.write(line + "\n")
            self._child.input.flush()
            answer = self._child.output.readline()
        if not answer:
            complaint = self._child.wait().strip()[-2000:]
            ending = f":\n{complaint}" if complaint else _ending(self._child)
            raise refusals.printed(complaint, self._what) or ToolError(self._what + ending)
        return answer

    def close(self) -> None:
        """Let the program end: there are no more lines."""
        self._child.feed("")
        self._child.wait()
        self._child.close()


def side_by_side(works: Sequence[Callable[[], T]]) -> list[T]:
    """Do several pieces of work at once, each but the first in a fork of this process.

    Only what they do to files, and what they return, is left of them. No thread may be running.
    Where there can be no process more, this one does all.

    Returns:
        What each of them returned, in no order.

    Raises:
        BaseException: what the first of them raised that did not succeed.
    """
    if len(works) == 1:
        return [works[0]()]
    forks: list[_Fork[T]] = []
    failures: list[BaseException] = []
    results: list[T] = []
    own = list(works[:1])
    try:
        for work in works[1:]:
            try:
                forks.append(_Fork(work))
            except OSError:
                own.append(work)
        try:
            results += [work() for work in own]
        except Exception as error:
            failures.append(error)
        for fork in forks:
            failure, result = fork.wait()
            if failure is not None:
                failures.append(failure)
            else:
                results.append(result)
    except BaseException:
        for fork in forks:
            fork.stop()
        raise
    if failures:
        raise failures[0]
    return results


def stop_all() -> None:
    """Stop every child that is still running, in bounded time."""
    for child in list(_children):
        child.stop()


class _Fork(Generic[T]):
    """A piece of work in a process that is otherwise as this one is."""

    def __init__(self, work: Callable[[], T]) -> None:
        """Start it.

        Raises:
            OSError: there can be no process more.
        """
        reader, writer = os.pipe()
        try:
            self._process = os.fork()
        except OSError:
            os.close(reader)
            os.close(writer)
            raise
        if self._process == 0:
            try:
                _tell(writer, work)
            finally:
                os._exit(0)
        os.close(writer)
        self._reader = reader
        self._ended = False

    def wait(self) -> tuple[BaseException | None, Any]:
        """Wait for the end, and return what the work raised, if it did, and what it returned."""
        import pickle

        with open(self._reader, "rb", closefd=False) as pipe:
            answer = pipe.read()
        self._reap()
        if not answer:
            return ToolError("A process of envkit was killed"), None
        ended: tuple[BaseException | None, Any] = pickle.loads(answer)  # noqa: S301
        return ended

    def stop(self) -> None:
        """End the work at once, if it has not ended."""
        if not self._ended:
            os.kill(self._process, signal.SIGKILL)
            self._reap()

    def _reap(self) -> None:
        self._ended = True
        os.close(self._reader)
        os.waitpid(self._process, 0)


def _tell(writer: int, work: Callable[[], object]) -> None:
    """Do some work, and write for another process what it raised, or None, and returned."""
    import pickle

    failure: BaseException | None = None
    result: object = None
    try:
        result = work()
    except BaseException as error:
        failure = error
    with open(writer, "wb") as pipe:
        pickle.dump((failure, result), pipe)


class _Child:
    """A started program, whose complaints are read all the time so that it never waits for that."""

    def __init__(
        self,
        command: Sequence[str],
        cwd: Path | None,
        env: Mapping[str, str] | None,
        *,
        merged: bool = False,
    ) -> None:
        import io
        import subprocess
        import threading

        try:
            self._popen = subprocess.Popen(
                list(command),
                cwd=cwd,
                env=None if env is None else dict(env),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if merged else subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="backslashreplace",
                # What is to be inherited says so: the locks on temporary folders, which are not
                # taken away while a child works in them, even if this process is killed.
                close_fds=False,
            )
        except OSError as error:
            if refusals.is_limit(error):
                raise
            raise missing(command[0], error) from None
        _children.add(self)
        assert self._popen.stdin
        assert self._popen.stdout
        self.input, self.output = self._popen.stdin, self._popen.stdout
        self._complaints: IO[str] = self._popen.stderr or io.StringIO()
        self._complained: list[str] = []
        self._drain = threading.Thread(
            target=self._complained.extend, args=(self._complaints,), daemon=True
        )
        self._drain.start()

    @property
    def returncode(self) -> int:
        """The exit code of a child that has ended; minus the number of the signal that did it."""
        return int(self._popen.returncode)

    def feed(self, text: str) -> None:
        """Write all that the child is to read; it has the right to end without reading it."""
        with contextlib.suppress(OSError, ValueError):
            self.input.write(text)
            self.input.close()

    def wait(self) -> str:
        """Return what the child complained of, when it has ended."""
        self._popen.wait()
        self._drain.join()
        return "".join(self._complained)

    def stop(self) -> None:
        """End the child: asked to at first, made to after a while."""
        import subprocess

        if self._popen.poll() is not None:
            return
        self._popen.terminate()
        try:
            self._popen.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def close(self) -> None:
        """Close the pipes of a child that has ended."""
        _children.discard(self)
        for pipe in (self.output, self._complaints, self.input):
            with contextlib.suppress(OSError):
                pipe.close()


def quoted(command: Sequence[str]) -> str:
    """Return a command as a user can type it into a shell."""
    import shlex

    return shlex.join(command)
