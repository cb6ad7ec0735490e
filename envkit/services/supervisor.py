"""Services that are started, read, watched, and stopped in the order opposite to their start."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import NamedTuple, Protocol

from envkit.declared import ServiceConfig
from envkit.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_TOOL, EnvkitError, ToolError, UsageError
from envkit.services.ledger import Entry, Ledger, Log, State
from envkit.services.service import Grant, Running, Service, wait_for

# How long is waited for something to be printed before all is looked at again, in seconds.
_PERIOD = 0.05

# A service is asked no more often than this whether it is ready, in seconds; one that takes long
# to start less often, as each time can leave a line in its log.
_PROBING = 0.2

# So many lines of each are read ahead of what is written.
_AHEAD = 1000

# How long is waited for what one that has ended has printed last, in seconds.
_LAST_WORDS = 2.0

# A line of more bytes is broken.
_LONGEST = 1 << 16

# How long is waited for a lock that another command only looks at, in seconds.
_GLANCE = 1.0


class Planned(NamedTuple):
    """A service that is to be started: what is said of it, its plan, and what it gets.

    Attributes:
        config: what is said of it.
        service: its plan.
        grant: what it gets to run with.
        gpus: the numbers of its GPUs, as nvidia-smi has them.
        take_over: writes down that this process has its lease, before it is started.
        let_go: lets go of its lease, as far as this process is concerned.
    """

    config: ServiceConfig
    service: Service
    grant: Grant
    gpus: tuple[int, ...] = ()
    take_over: Callable[[], None] = lambda: None
    let_go: Callable[[], None] = lambda: None


class Show(Protocol):
    """Whom it is told."""

    def line(self, name: str, text: str) -> None:
        """Show a line that a service has printed."""

    def changed(self, entry: Entry) -> None:
        """Show that a service is in another state."""

    def ready(self, entries: Sequence[Entry]) -> None:
        """Show that all are ready."""


class Supervisor:
    """Supervises services, until all have ended."""

    def __init__(
        self, planned: Sequence[Planned], ledger: Ledger, show: Show, stops: Callable[[], int]
    ) -> None:
        """Begin.

        Args:
            planned: the services, in the order of their start.
            ledger: where it is written down for other commands.
            show: whom it is told.
            stops: returns how often this process was asked to stop all; more than once means that
                nothing is to be waited for.
        """
        self._planned = planned
        self._ledger = ledger
        self._show = show
        self._stops = stops
        self._attended: list[_Attended] = []
        self._holds: dict[str, ExitStack] = {}
        self._were_ready = False
        self._lines: queue.Queue[tuple[_Attended, bytes]] = queue.Queue(_AHEAD)

    def run(self) -> int:
        """Start them, and return when all have ended: an exit code.

        Raises:
            UsageError: one is running already.
            EnvkitError: one cannot be started, or does not become ready; the others are stopped.
        """
        try:
            for planned in self._planned:
                self._hold(planned)
            for planned in self._planned:
                planned.service.prepare()
            for planned in self._planned:
                self._start(planned)
            self._until_ready()
            self._were_ready = not self._stops()
            if self._were_ready:
                self._show.ready([one.entry for one in self._attended])
            self._watch(lambda: not self._stops())
        finally:
            self._stop_all()
            for hold in self._holds.values():
                hold.close()
            for one in self._attended:
                one.log.close()
        if any(one.entry.state == "failed" for one in self._attended):
            return EXIT_TOOL
        return EXIT_DONE if self._were_ready else EXIT_INTERRUPTED

    def _hold(self, planned: Planned) -> None:
        """Hold a service, which another command may be looking at for an instant."""
        name = planned.config.name
        if not wait_for(lambda: self._is_held(name), _GLANCE):
            raise UsageError(
                f"{name} is running already", f"`envkit services` shows it; `envkit stop {name}`."
            )
        self._ledger.begin(name)
        self._note(planned, "starting")

    def _note(self, planned: Planned, state: State) -> None:
        """Write down how one is that has not been started."""
        entry = Entry(planned.config.name, planned.config.kind, state=state)
        self._ledger.write(entry._replace(since=time.time(), supervisor=os.getpid()))

    def _is_held(self, name: str) -> bool:
        with ExitStack() as attempt:
            if not attempt.enter_context(self._ledger.supervising(name)):
                return False
            self._holds[name] = attempt.pop_all()
        return True

    def _start(self, planned: Planned) -> None:
        if self._stops():
            return
        one = _Attended(planned, self._ledger)
        self._attended.append(one)
        self._change(one, "starting")
        planned.take_over()
        try:
            one.start(self._lines)
        except EnvkitError as error:
            self._change(one, "failed", error.message)
            raise
        finally:
            if not planned.service.in_container:
                planned.let_go()
        self._change(one, "starting")

    def _until_ready(self) -> None:
        """Watch until all are ready.

        Raises:
            EnvkitError: one never will be.
        """

        def are_coming() -> bool:
            states = {one.state for one in self._attended}
            return "starting" in states and "failed" not in states

        self._watch(lambda: not self._stops() and are_coming())
        for one in self._attended:
            if one.state == "failed":
                raise ToolError(
                    f"{one.name} did not start: {one.entry.reason}",
                    f"`envkit logs {one.name}` shows what it said.",
                )

    def _watch(self, goes_on: Callable[[], bool]) -> None:
        """Attend to the services while something is so, and while any of them runs."""
        while goes_on() and any(one.is_running for one in self._attended):
            self._drain()
            for one in [one for one in self._attended if one.is_running]:
                self._look(one)
                if self._ledger.is_stop_requested(one.name):
                    self._stop(one)

    def _look(self, one: _Attended) -> None:
        """Find out how a service is."""
        try:
            code = one.running.poll() if one.running else None
            is_ready = code is None and one.state == "starting" and one.is_ready()
        except EnvkitError as error:
            self._end(one, "failed", error.message)
            return
        if code is not None:
            self._end(one, "failed", _with(_ending(code), one))
        elif is_ready:
            one.example = one.planned.service.example()
            self._change(one, "ready")
        elif one.state == "starting" and time.monotonic() > one.deadline:
            seconds = one.planned.config.start_timeout
            self._end(one, "failed", _with(f"it was not ready within {seconds} s", one))

    def _stop_all(self) -> None:
        """Stop whatever runs; what goes wrong with one keeps none of the others from it."""
        failures: list[BaseException] = []
        for one in reversed(self._attended):
            if one.is_running:
                try:
                    self._stop(one)
                except BaseException as error:
                    failures.append(error)
                    self._let_go(one)
        started = {one.name for one in self._attended}
        for planned in self._planned:
            planned.service.close()
            if planned.config.name in self._holds and planned.config.name not in started:
                with contextlib.suppress(OSError):
                    self._note(planned, "stopped")
        if failures:
            raise failures[0]

    def _stop(self, one: _Attended) -> None:
        """Stop a service, reading what all of them print meanwhile."""
        self._change(one, "stopping")
        begun = time.monotonic()
        said: list[str] = []

        def work() -> None:
            assert one.running
            seconds = one.planned.config.stop_timeout
            try:
                said.append(one.planned.service.stop(one.running, seconds))
            except EnvkitError as error:
                said.append(error.message)
            except Exception as error:
                said.append(f"{type(error).__name__}: {error}")

        if one.running:
            stopping = threading.Thread(target=work, daemon=True)
            stopping.start()
            while stopping.is_alive():
                self._drain()
                if self._stops() > 1:
                    # Whoever asks twice does not want to wait.
                    one.running.kill()
            stopping.join()
        how = said[0] if said else "stopped"
        self._end(one, "stopped", f"{how} ({time.monotonic() - begun:.1f} s)")

    def _end(self, one: _Attended, state: State, reason: str) -> None:
        if one.running:
            one.running.kill()
        until = time.monotonic() + _LAST_WORDS
        while one.is_read and time.monotonic() < until:
            self._drain()
        self._drain(wait=False)
        self._let_go(one)
        self._change(one, state, reason)
        # It can be started again while others go on.
        self._holds[one.name].close()

    def _let_go(self, one: _Attended) -> None:
        """Let nothing be left of a service."""
        if one.running:
            one.running.close()
        one.planned.service.close()
        one.planned.let_go()

    def _drain(self, *, wait: bool = True) -> None:
        """Write and show what was printed; wait a little if nothing was."""
        # No more than so many: there is more to be looked at than what is printed.
        for number in range(_AHEAD):
            try:
                one, line = self._lines.get(wait and not number, _PERIOD)
            except queue.Empty:
                return
            one.log.write(line)
            self._show.line(one.name, line.decode("utf-8", "replace"))

    def _change(self, one: _Attended, state: State, reason: str = "") -> None:
        one.note(state, reason)
        self._show.changed(one.entry)


class _Attended:
    """A service that was started.

    Attributes:
        planned: its plan.
        entry: what others are told of it.
        running: what it runs as; None before, and if it could not be started.
        log: where what it prints is written.
        example: a command that asks it for something; may be empty.
        begun: when it was started, by `time.monotonic`.
        deadline: when it has to be ready, by the same.
    """

    def __init__(self, planned: Planned, ledger: Ledger) -> None:
        self.planned = planned
        self.running: Running | None = None
        self.log = Log(ledger.log(planned.config.name))
        self.example = ""
        self.begun = time.monotonic()
        self.deadline = self.begun + planned.config.start_timeout
        self._ledger = ledger
        self._reader: threading.Thread | None = None
        self._asked = 0.0
        config = planned.config
        self.entry = Entry(config.name, config.kind, planned.service.address, gpus=planned.gpus)

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def state(self) -> State:
        return self.entry.state

    @property
    def is_running(self) -> bool:
        return self.entry.is_running

    @property
    def is_read(self) -> bool:
        """Whether something of what it has printed may not have been read yet."""
        return self._reader is not None and self._reader.is_alive()

    def start(self, lines: queue.Queue[tuple[_Attended, bytes]]) -> None:
        running = self.planned.service.start(self.planned.grant)
        self.running = running

        def read() -> None:
            for line in _lines(running.chunks()):
                lines.put((self, line))

        self._reader = threading.Thread(target=read, daemon=True)
        self._reader.start()

    def is_ready(self) -> bool:
        waited = time.monotonic() - self.begun
        if time.monotonic() - self._asked < max(_PROBING, min(1.0, waited / 10)):
            return False
        self._asked = time.monotonic()
        return self.planned.service.is_ready()

    def note(self, state: State, reason: str) -> None:
        """Write down how it is now."""
        is_other = state != self.entry.state or not self.entry.since
        self.entry = self.entry._replace(
            state=state,
            since=time.time() if is_other else self.entry.since,
            process=self.running.identity if self.running else "",
            supervisor=os.getpid(),
            reason=reason,
            example=self.example,
        )
        if not self.entry.is_running:
            self.entry = self.entry._replace(process="", supervisor=0)
        try:
            self._ledger.write(self.entry)
        except OSError:
            # A service is stopped whether or not that can be written down.
            if state in ("starting", "ready"):
                raise


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the lines of what comes in pieces, without what ends them."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.rstrip(b"\r") for line in whole)
        while len(rest) > _LONGEST:
            yield rest[:_LONGEST]
            rest = rest[_LONGEST:]
    if rest:
        yield rest


def _with(reason: str, one: _Attended) -> str:
    """Return a reason, with what the service itself knows of it."""
    problem = one.planned.service.problem()
    return f"{reason}: {problem}" if problem else reason


def _ending(code: int) -> str:
    return f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"
