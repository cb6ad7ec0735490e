"""A build as a person sees it; without click, so that a plain `build` starts quickly."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from envkit import project
from envkit.builders import buildx, choice
from envkit.cli.output import Meter, Output, answer
from envkit.engines.connecting import Connecting
from envkit.engines.progress import Event, Finished, Line, Progress, Started, Step
from envkit.errors import EXIT_DONE
from envkit.image import plan as plans
from envkit.image.execution import Execution, Outcome
from envkit.image.plan import Options, Plan
from envkit.installation.request import Request
from envkit.project import DEFAULT_GROUP
from envkit.quantities import bytes_text, count, seconds_text, whole_seconds_text

if TYPE_CHECKING:
    from envkit.fetching.progress import Progress as Fetching
    from envkit.image.layers import Layer

# So much of a step's name is shown in one line.
_NAME = 80

# What engines write before the words of a Dockerfile, and envkit before names.
_WRAPPINGS = re.compile(r"^envkit: |^RUN (?=\|)|^\|\d+ .*?(?=/bin/sh -c )|/bin/sh -c (#\(nop\) +)?")


def build_here() -> int:
    """Do what `envkit build` does in this folder without options."""
    building = Building(Output.for_terminal(verbose=False, quiet=False), plain=False)
    building.report(building.run(building.plan(request_here(), Options())))
    return EXIT_DONE


def request_here(*, offline: bool = False) -> Request:
    """Return the request for the image of the project in this folder."""
    found = project.find(Path.cwd(), os.environ)
    return Request.of(found, (found.group(DEFAULT_GROUP),), os.environ, offline=offline)


class Building:
    """Builds, and shows what goes on."""

    def __init__(self, output: Output, *, plain: bool) -> None:
        """Begin.

        Args:
            output: where it is shown.
            plain: whether each line of each step is printed.
        """
        self._output = output
        self._plain = plain or output.verbose
        self._meter = Meter(output, "Fetching")
        self._progress = Progress()
        self._drawn = 0.0
        self._began = time.monotonic()
        self._started: dict[str, float] = {}

    def plan(self, request: Request, options: Options) -> Plan:
        """Return what is to be built, and make sure that there is a store."""
        request.store.prepare(self._output.say)
        return plans.make(request, options)

    def run(self, plan: Plan) -> Outcome:
        """Build what a plan says."""
        with self._execution(plan) as execution:
            outcome = execution.run()
        self._output.clear()
        return outcome

    def differences(self, plan: Plan) -> tuple[str, ...]:
        """Return why a build would be run; nothing if there is no need."""
        with self._execution(plan) as execution:
            return execution.differences()

    @contextmanager
    def _execution(self, plan: Plan) -> Iterator[Execution]:
        environ = plan.request.environ
        with Connecting(environ) as connecting:
            builder = choice.choose(plan.options.builder, connecting, environ)
            yield Execution(plan, connecting, builder, self)

    def builder_name(self, plan: Plan) -> str:
        """Return which builder would run, without asking an engine."""
        wish = plan.options.builder
        if wish != "auto":
            return wish
        return "buildx" if buildx.find(plan.request.environ) else "the engine's API"

    def say(self, text: str) -> None:
        self._output.say(text)

    def fetching(self, progress: Fetching) -> None:
        self._meter.update(
            done=progress.done,
            total=progress.total,
            fetched=progress.fetched,
            started=progress.started,
        )

    def loading(self, layer: Layer, done: int) -> None:
        self._draw(f"Handing over {layer.title}  {bytes_text(done)} of {bytes_text(layer.size)}")

    def step(self, event: Event) -> None:
        self._progress(event)
        if self._plain:
            self._print(event)
            return
        if isinstance(event, Started):
            self._started[event.step] = time.monotonic()
        elif isinstance(event, Finished) and event.outcome == "done":
            self._tell_done(event)
        for step, one in reversed(self._progress.steps.items()):
            if one.state == "running":
                self._draw(self._line(step, one))
                return

    def _line(self, name: str, step: Step) -> str:
        """Return what is drawn of a step: for how long it has run, its bytes, its last line."""
        began = self._started.get(name, time.monotonic())
        line = f"{step.name[:_NAME]}  {whole_seconds_text(time.monotonic() - began)}"
        done, total = step.transferred
        line += f"  {bytes_text(done)}" if done else ""
        line += f" of {bytes_text(total)}" if done and total else ""
        return line + (f"  {step.lines[-1]}" if step.lines else "")

    def _tell_done(self, event: Finished) -> None:
        """Leave a line for a step of the Dockerfile that took long."""
        step = self._progress.steps[event.step]
        now = time.monotonic()
        seconds = event.seconds or now - self._started.get(event.step, now)
        if seconds >= 1 and step.name.startswith("["):
            self._output.say(f"  {step.name[:_NAME]}  {seconds_text(seconds)}")

    def _print(self, event: Event) -> None:
        step = self._progress.steps[event.step]
        if isinstance(event, Started):
            self._output.say(step.name)
        elif isinstance(event, Line):
            self._output.say(f"  {event.text}")
        elif isinstance(event, Finished) and event.outcome != "done":
            self._output.say(f"{step.name}: {event.outcome}")

    def _draw(self, text: str) -> None:
        now = time.monotonic()
        if now - self._drawn >= 0.05:
            self._drawn = now
            self._output.draw(" ".join(text.split()))

    def report(self, outcome: Outcome) -> None:
        """Say what a build came to, and print the image's id."""
        output, seconds = self._output, time.monotonic() - self._began
        for layer in outcome.added:
            output.say(f"  + {bytes_text(layer.size):>9}  {_made_by(layer.made_by)}")
        for pushed in outcome.pushed:
            sent = f": {count(pushed.layers, 'layer')} sent, {pushed.had} there already"
            output.say(f"Pushed {pushed.name}{sent if outcome.layers else ''}")
        names = ", ".join(outcome.tags)
        if not outcome.layers:
            output.say(f"Built {names} in {seconds_text(seconds)}, {outcome.builder}")
            answer(outcome.image)
            return
        size = bytes_text(outcome.size) + _difference(outcome)
        new = f"{len(outcome.added)} of {outcome.layers} layers new"
        what = f"{new}, {outcome.builder}" if outcome.builder else "nothing had changed"
        output.say(f"Built {names} in {seconds_text(seconds)}: {size}; {what}")
        answer(outcome.image)


def _difference(outcome: Outcome) -> str:
    if outcome.before is None or outcome.before == outcome.size:
        return ""
    more = outcome.size - outcome.before
    return f" ({'+' if more > 0 else '-'}{bytes_text(abs(more))})"


def _made_by(text: str) -> str:
    """Return what made a layer, in one line."""
    return " ".join(_WRAPPINGS.sub("", text).split())[:_NAME]
