"""Waiting for GPUs that others have, and saying who has them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from envkit.cli.output import Output
from envkit.errors import EnvkitError, MissingError
from envkit.gpu.devices import Driver, Gpu
from envkit.gpu.leases import Hindrance, Lease, Leases, Refusal, Wish
from envkit.gpu.queue import BusyQueueError
from envkit.quantities import age_text
from envkit.quantities import count as counted

# How often it is looked whether there are GPUs now, in seconds; with so many more ahead, once
# more as long, since it is not soon its turn; but often enough to be seen waiting.
_PERIOD = 0.5
_AHEAD = 4
_LONGEST = 5.0


class Sought:
    """GPUs that are sought among those of the machine, which is looked at each time anew.

    While they are waited for one can be lost, or be divided otherwise.

    Attributes:
        gpus: all that there were at the last look.
    """

    def __init__(self, driver: Driver, choose: Callable[[Sequence[Gpu]], Wish]) -> None:
        """Look.

        Args:
            driver: tells of the machine's GPUs.
            choose: returns which of them are wished for; raises if there are not enough.
        """
        self._driver = driver
        self._choose = choose
        self.gpus: Sequence[Gpu] = ()

    def wish(self) -> Wish:
        """Look, and return what is wished for by now."""
        self.gpus = self._driver.gpus()
        return self._choose(self.gpus)

    def user(self, uuid: str) -> str:
        """Return who computes on a GPU that nobody has on lease; empty if nobody does."""
        return next((self._driver.user(gpu) for gpu in self.gpus if gpu.uuid == uuid), "")

    def numbers(self, uuids: Iterable[str]) -> str:
        """Return in a line how people call GPUs: by their numbers, or instances by their UUIDs."""
        known = {gpu.uuid: str(gpu.number) for gpu in self.gpus if not gpu.is_instance}
        return ",".join(known.get(uuid, uuid) for uuid in uuids)


def take(leases: Leases, sought: Sought, patience: float, hint: str, output: Output) -> Lease:
    """Take GPUs as soon as they are to be had.

    Args:
        leases: those of the machine, or of a lease.
        sought: which GPUs.
        patience: for how many seconds they are waited for.
        hint: what else can be done when that is over.
        output: where it is said what is waited for.

    Raises:
        MissingError: they are not to be had in time.
        EnvkitError: what is wished for is not there any more, or leases cannot be kept.
    """
    begun = time.monotonic()
    ahead = 0
    said: object = None
    while True:
        passed = time.monotonic() - begun
        is_over = passed >= patience
        try:
            wish = sought.wish()
            outcome = leases.take(wish)
            if isinstance(outcome, Lease):
                break
            if not is_over:
                leases.enter_queue(wish)
            trouble, ahead = _text(outcome, wish, sought), len(outcome.ahead)
            reasons: object = [(one.uuid, one.reason, one.holder) for one in outcome.hindrances]
        except EnvkitError as error:
            if is_over or not isinstance(error, BusyQueueError):
                output.clear()
                raise
            trouble = reasons = error.message
        if is_over:
            output.clear()
            raise MissingError(trouble, hint)
        place = f", {ahead} ahead" if ahead else ""
        waiting = f"Waiting for {counted(wish.wanted, 'GPU')}{place}"
        if output.live:
            output.draw(f"{waiting}, {age_text(passed)}: {trouble}")
        elif said != (place, reasons):
            output.say(f"{waiting}: {trouble}")
            said = place, reasons
        period = min(_PERIOD * (1 + ahead // _AHEAD), _LONGEST)
        time.sleep(min(period, max(0.0, patience - passed)))
    if said or passed >= _PERIOD:
        taken = sought.numbers(outcome.uuids)
        output.say(f"On lease after {age_text(passed)}: {taken}")
    return outcome


def _text(refusal: Refusal, wish: Wish, sought: Sought) -> str:
    """Return why there are not enough GPUs, in a line: who has which."""
    free = len(wish.candidates) - len(refusal.hindrances)
    parts = ["no GPU free" if not free else f"{free} of {wish.wanted} GPUs free"]
    groups: dict[str, list[str]] = {}
    for one in refusal.hindrances:
        groups.setdefault(_reason(one), []).append(one.uuid)
    parts += [f"{sought.numbers(uuids)}: {reason}" for reason, uuids in groups.items()]
    return "; ".join(parts)


def _reason(one: Hindrance) -> str:
    if one.reason == "busy":
        return f"in use by {one.user} without a lease"
    who = one.holder.text() if one.holder else "somebody"
    return f"kept for {who}" if one.reason == "kept" else who
