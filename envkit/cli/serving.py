"""Services under supervision, as who started them sees it: here, or left behind."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import select
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import IO

import click

from envkit import refusals, render, supervised
from envkit.cli.output import Output, coloured, mute
from envkit.cli.services import answer_line, styled_prefix, table
from envkit.errors import EXIT_DONE, EXIT_TOOL, EnvkitError, Interrupted, ToolError
from envkit.services.ledger import Entry, Followed, Ledger
from envkit.services.supervisor import Planned, Supervisor
from envkit.supervised import Stops

# How often it is looked how far services that were left behind are, in seconds.
_PERIOD = 0.1

# So many lines of the log of one that did not start are shown.
_LAST = 40

# So many lines are kept for a terminal that takes no more of them, and how long is waited in the
# end for it to take them, in seconds.
_UNWRITTEN = 10_000
_LAST_WORDS = 2.0


def attend(planned: Sequence[Planned], kept: Ledger, output: Output) -> int:
    """Supervise services in this process until all have ended; return the exit code."""
    terminal = _Terminal(output, [one.config.name for one in planned])
    with Stops() as stops:

        def asked() -> int:
            return stops.count + terminal.is_alone

        try:
            return Supervisor(planned, kept, terminal, asked).run()
        finally:
            terminal.finish()


def leave_behind(planned: Sequence[Planned], kept: Ledger, output: Output, *, as_json: bool) -> int:
    """Supervise services in a process of their own; return once all are ready.

    Raises:
        EnvkitError: they will not be; none of them runs then.
    """
    names = [one.config.name for one in planned]
    reader, writer = os.pipe()

    def work() -> int:
        with Stops() as stops, open(writer, "wb") as pipe:
            afar = _Afar(pipe)
            try:
                return Supervisor(planned, kept, afar, lambda: stops.count).run()
            except EnvkitError as error:
                afar.tell(error)
                return error.exit_code
            except Exception as error:
                told = refusals.explained(error) or ToolError(f"{type(error).__name__}: {error}")
                afar.tell(told)
                return EXIT_TOOL

    leases = [one for each in planned for one in each.grant.descriptors]
    supervisor = supervised.leave_behind(work, keep=[writer, *leases])
    os.close(writer)
    with open(reader, "rb") as pipe:
        try:
            said = _awaited(pipe, names, kept, output)
        except Interrupted:
            os.kill(supervisor, signal.SIGTERM)
            os.waitpid(supervisor, 0)
            raise
    output.clear()
    if isinstance(said, EnvkitError):
        _show_last(names, kept, output)
        raise said
    if as_json:
        click.echo(render.as_json([one.document() for one in said]))
    else:
        for line in (*table(said), *_examples(said)):
            click.echo(line)
        what = "They go" if len(said) > 1 else "It goes"
        output.say(f"{what} on: `envkit logs --follow`, `envkit stop`")
    return EXIT_DONE


def _awaited(
    pipe: IO[bytes], names: Sequence[str], kept: Ledger, output: Output
) -> Sequence[Entry] | EnvkitError:
    """Return what the supervisor says in the end: that all are ready, or why they will not be."""
    begun = time.monotonic()
    while not select.select([pipe], [], [], _PERIOD)[0]:
        found = [one for name in names if (one := kept.read(name)) and one.is_running]
        states = ", ".join(f"{one.name} is {one.state}" for one in found) or "Starting"
        output.draw(f"{states}, {time.monotonic() - begun:.0f} s")
    try:
        said: Sequence[Entry] | EnvkitError = pickle.load(pipe)  # noqa: S301 -- of our own fork
    except (EOFError, pickle.UnpicklingError):
        return ToolError("The services were stopped before they were ready")
    return said


def _show_last(names: Sequence[str], kept: Ledger, output: Output) -> None:
    """Show what was last said by services that did not start."""
    for name in names:
        entry = kept.read(name)
        if entry and entry.state == "failed":
            log = Followed(kept.log(name))
            for line in log.last(_LAST):
                output.say(f"{name} | {coloured(line, allowed=False)}")
            log.close()


def _examples(entries: Sequence[Entry]) -> list[str]:
    """Return a line for each service that says how it is asked for something."""
    return [f"Try {one.name}:  {one.example}" for one in entries if one.example]


class _Afar:
    """Another process waits to be told that all are ready, or why not."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe

    def line(self, name: str, text: str) -> None:
        """See nothing: it is in the log."""

    def changed(self, entry: Entry) -> None:
        """See nothing: it is in the ledger."""

    def ready(self, entries: Sequence[Entry]) -> None:
        """Tell it."""
        self.tell(list(entries))

    def tell(self, what: Sequence[Entry] | EnvkitError) -> None:
        """Tell what has come of it, once; nobody may wait any more."""
        with contextlib.suppress(OSError, ValueError):
            pickle.dump(what, self._pipe)
            self._pipe.close()


class _Terminal:
    """Who started the services sees them.

    What they print is written by a thread, as a terminal that is held, or a pipe that is not read,
    is not to hold them.

    Attributes:
        is_alone: whether nobody reads any more what is printed.
    """

    def __init__(self, output: Output, names: Sequence[str]) -> None:
        self._output = output
        width = max(map(len, names))
        self._prefixes = {
            name: styled_prefix(name, number, width) for number, name in enumerate(names)
        }
        self._are_ready = False
        self.is_alone = False
        self._dropped = 0
        self._lines: queue.Queue[tuple[str, str] | None] = queue.Queue(_UNWRITTEN)
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._writer.start()

    def line(self, name: str, text: str) -> None:
        """Show a line that a service has printed."""
        try:
            self._lines.put_nowait((name, text))
        except queue.Full:
            self._dropped += 1

    def changed(self, entry: Entry) -> None:
        """Show that a service is in another state."""
        if entry.state == "failed" and self._are_ready:
            self._output.warn(f"{entry.name} failed: {entry.reason}")
        elif entry.state == "stopped":
            self._output.say(f"{entry.name} {entry.reason or 'stopped'}")
        elif entry.state == "stopping":
            self._output.say(f"Stopping {entry.name}")
        else:
            self._output.detail(f"{entry.name} is {entry.state}")

    def ready(self, entries: Sequence[Entry]) -> None:
        """Show that all are ready, and how they are asked for something."""
        self._are_ready = True
        for line in (*table(entries), *_examples(entries)):
            self._output.show(line)

    def finish(self) -> None:
        """Wait a little for what is not written yet."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=_LAST_WORDS)
            self._writer.join(_LAST_WORDS)

    def _write(self) -> None:
        while (one := self._lines.get()) is not None:
            name, text = one
            try:
                if self._dropped:
                    dropped, self._dropped = self._dropped, 0
                    answer_line("", f"({dropped} lines are in the logs alone)")
                answer_line(self._prefixes[name], text)
            except OSError:
                mute(sys.stdout)
                self.is_alone = True
                return
