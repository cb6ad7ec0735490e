"""The GPUs that a command gets: by lease, or as the settings say."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from envkit.cli import waiting
from envkit.cli.output import Output
from envkit.cli.waiting import Sought
from envkit.config import GpuOptions
from envkit.declared import Count
from envkit.errors import UsageError
from envkit.gpu import choice, folder, marks, masks, variables
from envkit.gpu.containers import is_running
from envkit.gpu.devices import Driver, Gpu, NoDriverError
from envkit.gpu.holders import Holder
from envkit.gpu.leases import Lease, Leases, UserOf, Wish
from envkit.gpu.occupancy import are_ours
from envkit.project import Project
from envkit.quantities import count as counted
from envkit.quantities import parse_seconds


class Granted(NamedTuple):
    """What a command gets.

    Attributes:
        environ: all its variables.
        gpus: the GPUs that it may see; for commands outside of containers only those on lease.
        lease: its lease, which has to be handed on; None without one.
        holder: who has it, as others are told; None without one.
    """

    environ: Mapping[str, str]
    gpus: tuple[Gpu, ...] = ()
    lease: Lease | None = None
    holder: Holder | None = None


class Granting:
    """Gives a command its GPUs, waiting for them if need be."""

    def __init__(
        self, project: Project, asked: GpuOptions, environ: Mapping[str, str], output: Output
    ) -> None:
        """Begin.

        Args:
            project: the project, whose settings count.
            asked: what the command line says.
            environ: the variables that the command would have otherwise.
            output: where it is said what is waited for.
        """
        self._config = asked.over(project.config.gpu)
        self._environment = str(project.environment)
        self._asked = asked
        self._environ = environ
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
        if self._is_leased():
            return self._part(holder)
        if masks.is_scheduled(self._environ):
            return self._scheduled()
        if config.count is None:
            self._refuse_waiting()
            return self._with(self._fixed_variables())
        if config.count == 0:
            return self._with(variables.hidden_variables(config))
        if self._asked.number is None and masks.hides_all(self._by_hand):
            self._output.say(f"{masks.CUDA}={self._by_hand} hides all GPUs: none is taken on lease")
            return self._with(variables.hidden_variables(config))
        return self._leased(config.count, holder)

    def grant_nothing(self) -> Granted:
        """Return what a command gets that takes no lease, whatever the settings say."""
        if self._is_leased():
            return Granted(self._environ)
        return self._with(variables.project_variables(self._config))

    def grant_container(self, holder: Holder) -> Granted:
        """Return what a command in a container gets, whose GPUs go by their UUIDs.

        Args:
            holder: the command, as others are told of it.

        Raises:
            MissingError, UsageError: as for `grant`.
        """
        config = self._config
        if self._is_leased():
            if self._asked.is_explicit:
                return self._part(holder)
            return self._joined(holder)
        environ = self._environ
        if masks.is_scheduled(environ):
            self._check_schedule()
            if self._asked.count == 0:
                return Granted(environ)
            return self._seen(lambda gpus: choice.scheduled(environ, gpus))
        if config.count:
            return self._leased(config.count, holder)
        self._refuse_waiting()
        if config.count == 0 or not config.devices:
            return Granted(environ)
        return self._seen(lambda gpus: self._candidates(1, gpus))

    def _is_leased(self) -> bool:
        """Return whether this is run under a lease; forget what is not so any more.

        What a lease that is over, or another project, has set is not anybody's will.
        """
        uuids = self._environ.get(marks.LEASE)
        depth = variables.depth(self._environ)
        if uuids is not None and are_ours(self._folder, uuids.split(","), depth):
            return True
        self._environ = variables.without_lease(self._environ)
        return False

    def _part(self, holder: Holder) -> Granted:
        """Return what a command gets under a lease: that, or such a part of it as is asked for."""
        number = self._asked.number
        if number is None:
            return Granted(self._environ)
        if number == 0:
            return self._hidden()
        self._environ = variables.without_own(self._environ)
        with Driver() as driver:
            return self._lease(driver, number, holder, variables.depth(self._environ) + 1)

    def _joined(self, holder: Holder) -> Granted:
        """Return the GPUs of the lease that this is run under, for a container to see as well."""
        leased = self._environ
        granted = self._seen(lambda gpus: choice.leased(leased, gpus))
        if not (granted.gpus and holder.container):
            return granted
        with self._leases(lambda _: "", variables.depth(leased) + 1) as leases:
            lease, holder = leases.join(holder.container)
        return granted._replace(lease=lease, holder=holder)

    def _scheduled(self) -> Granted:
        """Return what a command gets in an allocation of a scheduler's."""
        self._check_schedule()
        if self._asked.count == 0:
            return self._hidden()
        return self._with(variables.project_variables(self._config))

    def _check_schedule(self) -> None:
        """Refuse or warn of what is asked for other than a scheduler has allocated."""
        if self._asked.count == 0:
            return
        number = variables.scheduled_count(self._environ)
        if isinstance(self._asked.count, int) and number != self._asked.count:
            gave = number or "none, or does not say which"
            raise UsageError(
                f"{counted(self._asked.count, 'GPU')} wanted, but Slurm gave this job {gave}",
                "Leave --gpus out, or ask Slurm for as many.",
            )
        if self._asked.devices is not None:
            self._output.warn("Slurm has chosen the GPUs of this job: --devices is not heeded")

    def _hidden(self) -> Granted:
        environ = _without_masks(variables.without_lease(self._environ))
        return Granted(self._with_own(environ, variables.hidden_variables(self._config)))

    def _refuse_waiting(self) -> None:
        if self._asked.wait is not None:
            raise UsageError(
                "--wait has a meaning where GPUs are taken on lease only", "Say how many: --gpus 1."
            )

    def _with(self, wanted: Mapping[str, str]) -> Granted:
        """Return the variables with others added; the command line's override what was there."""
        environ = self._environ
        if self._asked.is_explicit and not masks.is_scheduled(environ):
            environ = _without_masks(environ)
        return Granted(self._with_own(environ, masks.added(environ, wanted)))

    def _with_own(self, environ: Mapping[str, str], wanted: Mapping[str, str]) -> Mapping[str, str]:
        return variables.with_own(environ, wanted, self._environment)

    def _seen(self, choose: Callable[[Sequence[Gpu]], tuple[Gpu, ...]]) -> Granted:
        """Return GPUs that a container may see, whoever else uses them."""
        with self._driver() as driver:
            return Granted(self._environ, choose(driver.gpus()) if driver else ())

    @contextlib.contextmanager
    def _driver(self) -> Iterator[Driver | None]:
        """Lend the driver; None if there is none, and nobody asked for GPUs on the command line."""
        try:
            driver = Driver()
        except NoDriverError as error:
            if self._asked.is_explicit:
                raise NoDriverError(error.message, "`--gpus 0` runs it without GPUs.") from None
            self._output.say(f"{error.message}: running without GPUs")
            yield None
        else:
            with driver:
                yield driver

    def _candidates(self, number: Count, gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
        by_hand = self._by_hand
        order = self._environ.get(masks.ORDER, "")
        return choice.candidates(self._config, number, gpus, by_hand, order)

    @property
    def _by_hand(self) -> str | None:
        """The list that somebody set by hand; devices that are typed stand above it."""
        return None if self._asked.devices is not None else self._environ.get(masks.CUDA)

    @property
    def _order(self) -> str:
        """The order in which the command will count, as a variable says or the settings."""
        return self._environ.get(masks.ORDER) or self._config.order

    def _fixed_variables(self) -> Mapping[str, str]:
        """Return the variables for the devices that the settings name, whoever else uses them."""
        config = self._config
        devices = config.devices or ()
        by_index = bool(devices) and devices[0].isdecimal()
        if devices and (not by_index or self._asked.devices is not None):
            # Indices are understood by programs that do not know of UUIDs; and what was typed can
            # be wrong.
            with contextlib.suppress(NoDriverError), Driver() as driver:
                gpus = driver.gpus()
                named = choice.candidates(config, 1, gpus, None, config.order)
                order = config.order if by_index else self._order
                return variables.chosen_variables(config, named, gpus, order)
        return variables.project_variables(config)

    def _leased(self, number: Count, holder: Holder) -> Granted:
        with self._driver() as driver:
            if driver is None:
                return self._with(variables.hidden_variables(self._config))
            return self._lease(driver, number, holder)

    def _lease(self, driver: Driver, number: Count, holder: Holder, depth: int = 0) -> Granted:
        def wish(gpus: Sequence[Gpu]) -> Wish:
            if depth:
                outer = choice.leased(self._environ, gpus)
                found = choice.part(self._config, self._asked.devices, outer, gpus)
                narrowed = f"this lease has {len(outer)}"
            else:
                found, narrowed = self._candidates(number, gpus), self._narrowed()
            wanted = choice.number_of(number, found, gpus, narrowed)
            return Wish(holder, wanted, tuple(gpu.uuid for gpu in found))

        sought = Sought(driver, wish)
        # What computes under the same lease is no stranger.
        with self._leases((lambda _: "") if depth else sought.user, depth) as leases:
            patience = parse_seconds(self._config.wait)
            lease = waiting.take(leases, sought, patience, self._hint(), self._output)
        by_uuid = {gpu.uuid: gpu for gpu in sought.gpus}
        taken = tuple(by_uuid[uuid] for uuid in lease.uuids)
        seen = variables.chosen_variables(self._config, taken, sought.gpus, self._order)
        said = variables.lease_variables(taken, depth, str(self._folder.path))
        environ = {name: text for name, text in self._environ.items() if name != masks.CUDA}
        added = {**masks.added(environ, seen), masks.CUDA: seen[masks.CUDA]}
        environ = {**self._with_own(environ, added), **said}
        self._output.detail(f"On lease: {sought.numbers(lease.uuids)}")
        return Granted(environ, taken, lease, holder)

    def _leases(self, user_of: UserOf, depth: int) -> Leases:
        """Return the leases of the machine, or the parts of the lease that this is run under."""
        return Leases(
            self._folder,
            user_of=user_of,
            is_running=is_running,
            within=self._environ[marks.LEASE].split(",") if depth else (),
            depth=depth,
        )

    def _narrowed(self) -> str:
        """Return what says that only some of the GPUs are meant; empty if nothing does."""
        if self._by_hand is not None:
            return f"{masks.CUDA}={self._by_hand}"
        devices = self._config.devices
        if devices is None:
            return ""
        name = "gpu.devices" if self._asked.devices is None else "--devices"
        return f"{name} is {', '.join(devices) or 'empty'}"

    def _hint(self) -> str:
        if parse_seconds(self._config.wait):
            which = "gpu.wait" if self._asked.wait is None else "--wait"
            return f"{which} is {self._config.wait}. `envkit gpu` shows who has them."
        return "Wait your turn with `--wait 2h`; `envkit gpu` shows who has them."


def _without_masks(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in masks.MASKS}
