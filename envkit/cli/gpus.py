"""The GPUs that a command gets: by lease, or as the settings say."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from envkit.cli.output import Output
from envkit.config import Count, GpuConfig, GpuOptions
from envkit.errors import MissingError, UsageError
from envkit.gpu import folder, masks, visibility
from envkit.gpu.containers import is_running
from envkit.gpu.devices import Driver, Gpu, NoDriverError
from envkit.gpu.holders import Holder
from envkit.gpu.leases import Hindrance, Lease, Leases, Refusal, Wish, are_ours
from envkit.quantities import count as counted
from envkit.quantities import parse_seconds

# How often it is looked whether there are GPUs now, in seconds.
_PERIOD = 0.5


class Granted(NamedTuple):
    """What a command gets.

    Attributes:
        environ: all its variables.
        gpus: the GPUs that it may see; for commands outside of containers only those on lease.
        lease: its lease, which has to be handed on; None without one.
    """

    environ: Mapping[str, str]
    gpus: tuple[Gpu, ...] = ()
    lease: Lease | None = None


class Granting:
    """Gives a command its GPUs, waiting for them if need be."""

    def __init__(
        self, config: GpuConfig, asked: GpuOptions, environ: Mapping[str, str], output: Output
    ) -> None:
        """Begin.

        Args:
            config: the project's settings.
            asked: what the command line says.
            environ: the variables that the command would have otherwise.
            output: where it is said what is waited for.
        """
        self._config = asked.over(config)
        self._asked = asked
        self._environ = visibility.without_own(environ)
        self._output = output
        self._folder = folder.locate(self._config.leases, environ)

    def grant(self, holder: Holder) -> Granted:
        """Return what a command of this machine gets.

        Args:
            holder: the command, as others are told of it.

        Raises:
            MissingError: there are no such GPUs, or they are not to be had in time.
            UsageError: what is said of them makes no sense here.
        """
        config = self._config
        if masks.is_scheduled(self._environ):
            return self._with(visibility.project_variables(config))
        if self._is_within_lease():
            return Granted(self._environ)
        if config.count is None:
            return self._with(self._fixed_variables())
        if config.count == 0:
            return self._with(visibility.hidden_variables(config))
        return self._leased(config.count, holder)

    def grant_container(self, holder: Holder) -> Granted:
        """Return what a command in a container gets, whose GPUs go by their UUIDs.

        Args:
            holder: the command, as others are told of it.

        Raises:
            MissingError, UsageError: as for `grant`.
        """
        config, environ = self._config, self._environ
        if masks.is_scheduled(environ):
            return self._seen(lambda gpus: visibility.scheduled(environ, gpus))
        if self._is_within_lease():
            return self._seen(lambda gpus: visibility.leased(environ, gpus))
        if config.count:
            return self._leased(config.count, holder)
        if config.count == 0 or not config.devices:
            return Granted(environ)
        return self._seen(lambda gpus: visibility.candidates(config, 1, gpus, environ))

    def _is_within_lease(self) -> bool:
        """Return whether this is run under a lease; forget one that is only said to be there."""
        uuids = self._environ.get(visibility.LEASE)
        if uuids is None:
            return False
        if not are_ours(self._folder, uuids.split(",")):
            self._environ = visibility.without_lease(self._environ)
            return False
        if self._asked.is_explicit:
            raise UsageError(f"This is within a lease already: {uuids}", "Leave --gpus out.")
        return True

    def _with(self, wanted: Mapping[str, str]) -> Granted:
        """Return the variables with others added; the command line's override what was there."""
        environ = self._environ
        if self._asked.is_explicit and not masks.is_scheduled(environ):
            environ = _without_masks(environ)
        return Granted({**environ, **masks.added(environ, wanted)})

    def _seen(self, choose: Callable[[Sequence[Gpu]], tuple[Gpu, ...]]) -> Granted:
        with Driver() as driver:
            return Granted(self._environ, choose(driver.gpus()))

    def _fixed_variables(self) -> dict[str, str]:
        """Return the variables for the devices that the settings name, whoever else uses them."""
        config = self._config
        if config.devices and not config.devices[0].isdecimal():
            # Indices are understood by programs that do not know of UUIDs.
            with contextlib.suppress(NoDriverError), Driver() as driver:
                gpus = driver.gpus()
                named = visibility.candidates(config, 1, gpus, {})
                return visibility.chosen_variables(config, named, gpus, leased=False)
        return visibility.project_variables(config)

    def _leased(self, number: Count, holder: Holder) -> Granted:
        try:
            with Driver() as driver:
                return self._lease(driver, number, holder)
        except NoDriverError as error:
            if self._asked.count is not None:
                raise
            self._output.say(f"{error.message}: running without GPUs")
            return self._with(visibility.hidden_variables(self._config))

    def _lease(self, driver: Driver, number: Count, holder: Holder) -> Granted:
        config = self._config
        gpus = driver.gpus()
        found = visibility.candidates(config, number, gpus, self._environ)
        wanted = visibility.number_of(number, found, gpus)
        by_uuid = {gpu.uuid: gpu for gpu in found}
        wish = Wish(holder, wanted, tuple(by_uuid))

        def is_busy(uuid: str) -> bool:
            return bool(driver.processes(by_uuid[uuid]))

        with Leases(self._folder, is_busy=is_busy, is_running=is_running) as leases:
            lease = self._wait(leases, wish, by_uuid)
        taken = tuple(by_uuid[uuid] for uuid in lease.uuids)
        variables = visibility.chosen_variables(config, taken, gpus, leased=True)
        return Granted({**_without_masks(self._environ), **variables}, taken, lease)

    def _wait(self, leases: Leases, wish: Wish, by_uuid: Mapping[str, Gpu]) -> Lease:
        """Return a lease as soon as there is one, if that is in time."""
        deadline = time.monotonic() + parse_seconds(self._config.wait)
        outcome = leases.take(wish)
        if isinstance(outcome, Refusal) and time.monotonic() < deadline:
            leases.enter_queue(wish)
        said = ""
        while isinstance(outcome, Refusal):
            text = _text(outcome, wish, by_uuid)
            if time.monotonic() >= deadline:
                self._output.clear()
                raise MissingError(text, self._hint())
            waiting = f"Waiting for {counted(wish.wanted, 'GPU')}: {text}"
            if self._output.live:
                self._output.draw(waiting)
            elif text != said:
                self._output.say(waiting)
                said = text
            time.sleep(min(_PERIOD, max(0.0, deadline - time.monotonic())))
            outcome = leases.take(wish)
            if isinstance(outcome, Lease):
                self._output.clear()
        return outcome

    def _hint(self) -> str:
        if parse_seconds(self._config.wait):
            return f"That took longer than {self._config.wait}, as --wait or gpu.wait says."
        return "Wait your turn with `--wait 2h`; `envkit gpu` shows who has them."


def _without_masks(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in masks.MASKS}


def _text(refusal: Refusal, wish: Wish, by_uuid: Mapping[str, Gpu]) -> str:
    """Return why there are not enough GPUs, in a line."""
    few = f"{len(wish.candidates) - len(refusal.hindrances)} of {wish.wanted} GPUs free"
    parts = ["no GPU free" if wish.wanted == 1 else few]
    parts += [_hindrance(one, by_uuid[one.uuid]) for one in refusal.hindrances]
    return "; ".join(parts)


def _hindrance(one: Hindrance, gpu: Gpu) -> str:
    name = gpu.uuid if gpu.is_instance else str(gpu.index)
    who = one.holder.text() if one.holder else "somebody"
    if one.reason == "busy":
        return f"{name}: in use without a lease"
    return f"{name}: {'kept for ' if one.reason == 'kept' else ''}{who}"
