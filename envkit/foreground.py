"""Programs that have this process's terminal: one that takes its place, or that it waits for.

A module of its own since the first is needed before anything else is. So `signal` is not imported
for it, which takes longer than all of this, but what that is made of.
"""

import _signal  # type: ignore[import-not-found]
import os

from envkit.errors import MissingError

# For a type checker only, which takes longer to import than all else that `run` needs.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType
    from typing import NoReturn


def replace(command: "Sequence[str]", env: "Mapping[str, str]") -> "NoReturn":
    """Become another program, so that signals, terminal and exit code are its own.

    Raises:
        MissingError: the program is not there or may not be executed.
    """
    restore_signals()
    try:
        os.execvpe(command[0], list(command), dict(env))  # noqa: S606
    except (OSError, ValueError) as error:
        raise missing(command[0], error) from None


def check(command: "Sequence[str]", env: "Mapping[str, str]") -> None:
    """Make sure that there is a program, before anything is waited for on its behalf.

    Raises:
        MissingError: there is none of this name.
    """
    if os.sep in command[0]:
        found = os.path.exists(command[0])
    else:
        folders = os.get_exec_path(env)
        found = any(os.path.exists(os.path.join(folder, command[0])) for folder in folders)
    if not found:
        raise missing(command[0], FileNotFoundError())


def restore_signals() -> None:
    """Heed the signals that Python ignores, which programs would go on to ignore (execve(2))."""
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(number, _signal.SIG_DFL)


def attend(command: "Sequence[str]", env: "Mapping[str, str]") -> int:
    """Run a program in the foreground, with this one's terminal, and return its exit code.

    What a terminal sends, it sends to both, and the program alone heeds it; what others ask this
    process to do, it is asked to.

    Returns:
        Its exit code, or as shells have it 128 and the number of the signal that ended it.

    Raises:
        MissingError: the program is not there or may not be executed.
    """
    import signal
    import subprocess

    from_terminal = (signal.SIGINT, signal.SIGQUIT)
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def pass_on(number: int, _frame: "FrameType | None") -> None:
        # What a terminal sends has been sent to the program as well.
        if child is None:
            early.append(number)
        elif number not in from_terminal:
            child.send_signal(number)

    for number in (*from_terminal, signal.SIGTERM, signal.SIGHUP):
        # A handler, unlike being ignored, does not outlast the program's start (execve(2)).
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, pass_on)
    try:
        # What is to be inherited says so.
        child = subprocess.Popen(list(command), env=dict(env), close_fds=False)
    except (OSError, ValueError) as error:
        raise missing(command[0], error) from None
    # What came before it was there, be it from a terminal, has not reached it.
    for one in early:
        child.send_signal(one)
    code = child.wait()
    return 128 - code if code < 0 else code


def missing(name: str, error: "OSError | ValueError") -> MissingError:
    """Return why a program cannot be run; a ValueError means that none can have such a name."""
    if isinstance(error, ValueError | FileNotFoundError):
        return MissingError(f"{name or repr('')}: no such command")
    return MissingError(f"{name}: cannot be executed: {error.strerror}")
