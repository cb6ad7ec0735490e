"""What a command says while it works: lines, and one live line of progress."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Sequence
from typing import TextIO

from envkit import quantities, render
from envkit.changes import Change

# ECMA-48, "select graphic rendition".
_COLOURS = {"red": 31, "green": 32, "yellow": 33, "cyan": 36}

# After so many seconds a rate tells how long the rest will take.
_TELLING = 1.0

# More changes than this are summed up, unless more is asked for.
_FEW = 15


class Output:
    """Prints to standard error, so that standard output stays for results.

    Attributes:
        verbose: whether details are said.
        quiet: whether nothing but errors is said.
        live: whether standard error is a terminal on which a line can be drawn over.
    """

    def __init__(self, *, verbose: bool = False, quiet: bool = False, live: bool = False) -> None:
        self.verbose = verbose
        self.quiet = quiet
        self.live = live

    @classmethod
    def for_terminal(cls, *, verbose: bool, quiet: bool) -> Output:
        """Return the output for this process's own standard error."""
        live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not quiet
        return cls(verbose=verbose, quiet=quiet, live=live)

    def say(self, text: str = "") -> None:
        """Say a line that a user wants to see."""
        if not self.quiet:
            self.clear()
            say(printable(text))

    def show(self, text: str) -> None:
        """Say a line that may have colours of envkit's own in it."""
        if not self.quiet:
            self.clear()
            say(coloured(text, allowed=True))

    def detail(self, text: str) -> None:
        """Say a line for who asked to know more."""
        if self.verbose:
            self.say(text)

    def warn(self, text: str) -> None:
        """Say that something is not as it should be, though it stops nothing."""
        if not self.quiet:
            self.clear()
            say(f"{styled('warning:', 'yellow')} {printable(text)}")

    def changes(self, changes: Sequence[Change]) -> None:
        """Say what changes, line by line where that is a few lines or asked for."""
        if self.verbose or len(changes) <= _FEW:
            for line in render.change_lines(changes):
                self.say(f"  {line}")
        else:
            self.say(f"  {render.change_summary(changes)}")

    def draw(self, text: str) -> None:
        """Draw the live line anew; without a terminal nothing is drawn."""
        if self.live:
            say("\r\x1b[2K" + printable(text)[: _width() - 1], end="")

    def clear(self) -> None:
        """Take the live line away."""
        if self.live:
            say("\r\x1b[2K", end="")


class Meter:
    """Work of a known number of things, shown as it proceeds with bytes, rate and time left."""

    def __init__(self, output: Output, label: str) -> None:
        self._output = output
        self._label = label
        self._drawn = 0.0

    def update(self, *, done: int, total: int, fetched: int, started: float) -> None:
        """Show the state.

        Args:
            done: how many things are done.
            total: how many there are.
            fetched: the bytes that have come.
            started: when the work began, by `time.monotonic`.
        """
        now = time.monotonic()
        if now - self._drawn < 0.05 and done < total:
            return
        self._drawn = now
        elapsed = max(now - started, 0.001)
        text = f"{self._label} {done}/{total}  {quantities.bytes_text(fetched)}"
        text += f"  {quantities.bytes_text(fetched / elapsed)}/s"
        if 0 < done < total:
            left = elapsed * (total - done) / done
            text += f"  about {quantities.whole_seconds_text(left)} left"
        self._output.draw(text)

    def update_files(
        self, *, done: int, total: int, fetched: int, came: int, expected: int, started: float
    ) -> None:
        """Show the state of fetching files whose sizes become known as they come.

        Args:
            done: how many files are done.
            total: how many there are.
            fetched: the bytes that there are of them.
            came: those of them that came now.
            expected: the bytes that they have, as far as is known.
            started: when the work began, by `time.monotonic`.
        """
        now = time.monotonic()
        if now - self._drawn < 0.05 and done < total:
            return
        self._drawn = now
        rate = came / max(now - started, 0.001)
        of = f" of {quantities.bytes_text(expected)}" if expected > fetched else ""
        several = f" {done}/{total}" if total > 1 else ""
        text = f"{self._label}{several} {quantities.bytes_text(fetched)}{of}"
        text += f", {quantities.bytes_text(rate)}/s"
        if rate and expected > fetched and now - started > _TELLING:
            text += f", {quantities.whole_seconds_text((expected - fetched) / rate)} left"
        self._output.draw(text)

    def update_bytes(self, *, done: int, total: int) -> None:
        """Show how many of so many bytes have been dealt with."""
        now = time.monotonic()
        if now - self._drawn >= 0.05:
            self._drawn = now
            text = f"{quantities.bytes_text(done)} of {quantities.bytes_text(total)}"
            self._output.draw(f"{self._label} {text}")


def answer(text: str) -> None:
    """Write lines of a result for a person to standard output, where programs can have them too."""
    print(printable(text))


def say(text: str, end: str = "\n") -> None:
    """Write to standard error; where that cannot be done, no work is to fail for it."""
    try:
        print(text, file=sys.stderr, end=end, flush=True)
    except OSError:
        mute(sys.stderr)


def mute(stream: TextIO) -> None:
    """Let nothing come of what is written to a stream, as a write to it has failed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def styled(text: str, colour: str) -> str:
    """Return text in a colour, if standard error is a terminal that is to have colours.

    Source: https://no-color.org for the variable that forbids them.
    """
    if os.environ.get("NO_COLOR") or not sys.stderr.isatty():
        return text
    return f"\x1b[1;{_COLOURS[colour]}m{text}\x1b[0m"


def printable(text: str) -> str:
    """Return text without the control characters that could steer a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def coloured(text: str, *, allowed: bool) -> str:
    """Return text that a program printed, with its colours or without, and no other control."""
    parts = re.split(r"(\x1b\[[0-9;]*m)", text)
    colours = parts[1::2] if allowed else [""] * len(parts[1::2])
    shown = [printable(part) for part in parts[::2]]
    ending = "\x1b[0m" if any(colours) else ""
    return "".join(part for pair in zip(shown, [*colours, ending], strict=True) for part in pair)


def cut(text: str, width: int) -> str:
    """Return a line of which no more is left than fits; what gives it colour counts for nothing."""
    shown = 0
    for part in re.finditer(r"\x1b\[[0-9;]*m|.", text):
        shown += len(part[0]) == 1
        if shown == width and part.end() < len(text):
            return f"{text[: part.start()]}…\x1b[0m"
    return text


def _width() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80
