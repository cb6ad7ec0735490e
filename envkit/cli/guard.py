"""What every command of the line ends in: errors become lines and exit codes."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from envkit import __version__
from envkit.cli.output import mute, printable, say, styled
from envkit.errors import (
    EXIT_BUG,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EnvkitError,
    Interrupted,
    UsageError,
)

if TYPE_CHECKING:
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Signals that come within this many seconds count as one: a terminal sends one to all processes
# in it, and programs such as make and npm send another after it.
_BURST = 1.0


def guarded(work: Callable[[], int]) -> int:
    """Do some work of the command line and return the exit code that its outcome means."""
    _raise_on_signals()
    _accept_all_letters()
    try:
        try:
            return _reported(work)
        finally:
            # One that comes before this is done ends up below as well.
            _ignore_signals()
    except Interrupted as error:
        _ignore_signals()
        _stop_children()
        say(f"\nInterrupted; {str(error) or 'nothing is left half done, and it can be run again'}.")
        return EXIT_INTERRUPTED


def _accept_all_letters() -> None:
    """Let standard output take letters that its encoding lacks, as standard error does."""
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
        stream.reconfigure(errors="backslashreplace")


def _reported(work: Callable[[], int]) -> int:
    """Do some work; report its error, if it is another than that of being interrupted."""
    try:
        code = work()
        sys.stdout.flush()
    except EnvkitError as error:
        report(error)
        return error.exit_code
    except BrokenPipeError:
        # The reader of a pipe has gone, as in `envkit status | head`: nobody is left to tell.
        mute(sys.stdout)
        return EXIT_DONE
    except Exception as error:
        if isinstance(error.__cause__, Interrupted):
            # Python before 3.12 wraps what comes while a class names its attributes.
            raise error.__cause__ from None
        _stop_children()
        return _report_unexpected(error)
    return code


def report(error: EnvkitError) -> None:
    """Print an error as the user is to see it."""
    say(f"{styled('error:', 'red')} {printable(error.message)}")
    if error.hint:
        say(f"{styled('hint:', 'cyan')} {printable(error.hint)}")


def _raise_on_signals() -> None:
    last = -_BURST

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal last
        before, last = last, time.monotonic()
        if last - before >= _BURST:
            raise Interrupted

    for number in _SIGNALS:
        # Who starts a command in the background of a script, or with nohup, means it to go on.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)


def _ignore_signals() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _stop_children() -> None:
    if "envkit.process" in sys.modules:
        from envkit import process

        process.stop_all()


def _report_unexpected(error: Exception) -> int:
    from envkit import refusals

    refused: EnvkitError | None = refusals.explained(error)
    if refused is None and isinstance(error, FileNotFoundError) and not _has_folder():
        refused = UsageError("The folder that this is run in has gone", "Change into another one.")
    if refused is None:
        return _report_bug(error)
    report(refused)
    return refused.exit_code


def _has_folder() -> bool:
    try:
        return bool(os.getcwd())
    except FileNotFoundError:
        return False


def _report_bug(error: Exception) -> int:
    import tempfile
    import traceback

    descriptor, name = tempfile.mkstemp(prefix="envkit-bug-", suffix=".txt")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"envkit {__version__}, Python {sys.version}\n\n")
        file.writelines(traceback.format_exception(error))
    what = printable(f"{type(error).__name__}: {error}")[:300]
    report(
        EnvkitError(f"this is a bug in envkit: {what}", f"What is needed to mend it is in {name}.")
    )
    return EXIT_BUG
