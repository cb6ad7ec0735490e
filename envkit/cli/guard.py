"""What every command of the line ends in: errors become lines and exit codes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from envkit import __version__
from envkit.cli.output import printable, styled
from envkit.errors import EXIT_BUG, EXIT_DONE, EXIT_INTERRUPTED, EnvkitError, Interrupted

if TYPE_CHECKING:
    from types import FrameType


def guarded(work: Callable[[], int]) -> int:
    """Do some work of the command line and return the exit code that its outcome means."""
    _raise_on_signals()
    try:
        code = work()
        sys.stdout.flush()
    except EnvkitError as error:
        report(error)
        return error.exit_code
    except (KeyboardInterrupt, Interrupted):
        _stop_children()
        print("\nInterrupted; what was there before is as it was.", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has gone, as in `envkit status | head`: nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except Exception as error:
        _stop_children()
        return _report_bug(error)
    return code


def report(error: EnvkitError) -> None:
    """Print an error as the user is to see it."""
    print(f"{styled('error:', 'red')} {printable(error.message)}", file=sys.stderr)
    if error.hint:
        print(f"{styled('hint:', 'cyan')} {printable(error.hint)}", file=sys.stderr)


def _raise_on_signals() -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)


def _stop_children() -> None:
    if "envkit.process" in sys.modules:
        from envkit import process

        process.stop_all()


def _report_bug(error: Exception) -> int:
    import tempfile
    import traceback

    descriptor, name = tempfile.mkstemp(prefix="envkit-bug-", suffix=".txt")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"envkit {__version__}, Python {sys.version}\n\n")
        file.writelines(traceback.format_exception(error))
    what = printable(f"{type(error).__name__}: {error}")[:300]
    print(f"{styled('error:', 'red')} this is a bug in envkit: {what}", file=sys.stderr)
    print(f"{styled('hint:', 'cyan')} What is needed to mend it is in {name}.", file=sys.stderr)
    return EXIT_BUG
