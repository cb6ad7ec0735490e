"""What a command says while it works: lines, colours and one live line of progress."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass

import click


@dataclass(kw_only=True)
class Output:
    """Prints to standard error, so that standard output stays for results.

    Attributes:
        verbose: whether details are said.
        quiet: whether nothing but errors is said.
        live: whether standard error is a terminal on which a line can be drawn over.
    """

    verbose: bool = False
    quiet: bool = False
    live: bool = False

    @classmethod
    def for_terminal(cls, *, verbose: bool, quiet: bool) -> Output:
        """Return the output for this process's own standard error."""
        live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not quiet
        return cls(verbose=verbose, quiet=quiet, live=live)

    def say(self, text: str = "") -> None:
        """Say a line that a user wants to see."""
        if not self.quiet:
            self.clear()
            click.echo(text, err=True)

    def detail(self, text: str) -> None:
        """Say a line for who asked to know more."""
        if self.verbose:
            self.say(click.style(text, dim=True))

    def warn(self, text: str) -> None:
        """Say that something is not as it should be, though it stops nothing."""
        if not self.quiet:
            self.clear()
            click.echo(f"{click.style('warning:', fg='yellow')} {text}", err=True)

    def draw(self, text: str) -> None:
        """Draw the live line anew; without a terminal nothing is drawn."""
        if self.live:
            sys.stderr.write("\r\x1b[2K" + text[: _width() - 1])
            sys.stderr.flush()

    def clear(self) -> None:
        """Take the live line away."""
        if self.live:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()


def _width() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        return 80


def human_bytes(count: float) -> str:
    """Return a number of bytes as people read it: "1.4 GB" (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError(count)


def human_seconds(seconds: float) -> str:
    """Return a duration as people read it: "0.42 s", "12 s", "3 min 10 s"."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


class Meter:
    """Work of a known size, shown as it proceeds with bytes, rate and time left."""

    def __init__(self, output: Output, label: str) -> None:
        self._output = output
        self._label = label
        self._started = time.monotonic()
        self._drawn = 0.0

    def update(self, done: int, total: int, items: str) -> None:
        """Show the state: bytes done and to do in all (0 if unknown), and what they belong to."""
        now = time.monotonic()
        if now - self._drawn < 0.05:
            return
        self._drawn = now
        rate = done / max(now - self._started, 0.001)
        text = f"{self._label} {items}  {human_bytes(done)}"
        if total > done:
            left = human_seconds((total - done) / rate) if rate else "?"
            text += f" of {human_bytes(total)}, {human_bytes(rate)}/s, {left} left"
        self._output.draw(text)
