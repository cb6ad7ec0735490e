"""A build as a person sees it: one live line a stage, or plain lines."""

from __future__ import annotations

import time

from envkit.cli.output import Meter, Output
from envkit.fetching.progress import Progress as Fetching
from envkit.image.builders import buildx, choice
from envkit.image.engine import Engine
from envkit.image.execution import Execution, Outcome
from envkit.image.layers import Layer
from envkit.image.plan import Plan
from envkit.image.progress import Event, Finished, Line, Progress, Started
from envkit.quantities import bytes_text, seconds_text


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
        self._started: dict[str, float] = {}

    def run(self, plan: Plan) -> Outcome:
        """Build what a plan says."""
        environ = plan.request.environ
        with Engine(environ) as engine:
            builder = choice.choose(plan.options.builder, engine, environ)
            outcome = Execution(plan, engine, builder, self).run()
        self._output.clear()
        return outcome

    def is_needed(self, plan: Plan) -> bool:
        """Return whether a build would come to another image than the engine has."""
        environ = plan.request.environ
        with Engine(environ) as engine:
            builder = choice.choose(plan.options.builder, engine, environ)
            return Execution(plan, engine, builder, self).is_needed()

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
        self._draw(f"Handing over {layer.title}  {bytes_text(done)}")

    def step(self, event: Event) -> None:
        self._progress(event)
        if self._plain:
            self._print(event)
            return
        if isinstance(event, Finished) and event.outcome == "done" and event.step in self._started:
            self._tell_done(event)
        if isinstance(event, Started):
            self._started[event.step] = time.monotonic()
        running = self._progress.running
        if running:
            last = running[-1]
            done, total = last.transferred
            moved = f"  {bytes_text(done)}" if done else ""
            moved += f" of {bytes_text(total)}" if total else ""
            line = f"  {last.lines[-1]}" if last.lines else ""
            self._draw(f"{last.name}{moved}{line}")

    def _tell_done(self, event: Finished) -> None:
        """Leave a line for a step that took long."""
        step = self._progress.steps[event.step]
        seconds = event.seconds or time.monotonic() - self._started[event.step]
        if seconds >= 1 and step.name.startswith("["):
            self._output.say(f"  {step.name[:100]}  {seconds_text(seconds)}")

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
