"""The list of GPUs, for people and for programs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from envkit.cli.output import printable, styled
from envkit.gpu.holders import Holder
from envkit.gpu.queue import Waiting
from envkit.gpu.survey import Entry
from envkit.quantities import age_text, count

_COLOURS = {
    "free": "green",
    "held but idle": "yellow",
    "in use, no lease": "red",
    "lost": "red",
}

_HEADINGS = ("GPU", "state", "memory", "used", "name", "UUID")

# So much of a UUID tells one GPU from the others of a machine.
_UUID = len("GPU-8932f937")

# By which a holder's process is known, for envkit alone.
_OWN = ("started", "boot")

# As the driver's own tools count memory.
_GIB = 1 << 30

# The columns whose texts stand at their right end.
_RIGHT = (0, 2, 3)


class Listing(NamedTuple):
    """How the GPUs of a machine stand.

    Attributes:
        entries: GPU by GPU.
        waiting: who waits, in their order.
        is_shared: whether all users of the machine have their leases in one place.
        trouble: why nothing is known of leases; empty if all is well.
    """

    entries: Sequence[Entry]
    waiting: Sequence[Waiting]
    is_shared: bool
    trouble: str = ""

    def lines(self) -> list[str]:
        """Return a line for each GPU, below it one for each who has or uses it, then who waits."""
        if not self.entries:
            return ["The driver tells of no GPUs."]
        short = _short([entry.gpu.uuid for entry in self.entries])
        rows = [_HEADINGS, *(_cells(entry, short) for entry in self.entries)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
        found = ["  ".join(_aligned(_HEADINGS, widths)).rstrip()]
        for entry, row in zip(self.entries, rows[1:], strict=True):
            number, state, *rest = _aligned(row, widths)
            colour = _COLOURS.get(entry.state)
            shown = styled(state, colour) if colour else state
            found.append("  ".join([number, shown, *rest]).rstrip())
            found += [f"     {printable(line)}" for line in _who(entry)]
        for place, one in enumerate(self.waiting, 1):
            wanted, who = count(one.wanted, "GPU"), _holder_text(one.holder)
            found.append(printable(f"{place}. in the queue for {wanted}: {who}"))
        return found

    def document(self, version: str) -> dict[str, object]:
        """Return the list for programs: memory in bytes, times in seconds since 1970."""
        waiting = [{**_holder(one.holder), "wanted": one.wanted} for one in self.waiting]
        return {
            "driver": version,
            "leases": self.trouble or ("the machine's" if self.is_shared else "your own"),
            "gpus": [_document(entry) for entry in self.entries],
            "waiting": waiting,
        }


def _document(entry: Entry) -> dict[str, object]:
    gpu, users = entry.gpu, entry.users
    return {
        "index": gpu.number,
        "uuid": gpu.uuid,
        "name": gpu.name,
        "instance": gpu.is_instance,
        "state": entry.state,
        "fault": gpu.fault,
        **entry.load._asdict(),
        "holder": entry.holder and _holder(entry.holder),
        "processes": None if users is None else [vars(user) for user in users],
    }


def _short(uuids: Sequence[str]) -> dict[str, str]:
    """Return each UUID as short as it can be told from the others, but not shorter than usual."""
    length = _UUID
    while len({uuid[:length] for uuid in uuids}) < len({*uuids}):
        length += 1
    return {uuid: uuid[:length] for uuid in uuids}


def _holder(holder: Holder) -> dict[str, object]:
    """Return who has something: what others can rely on of what that has written down."""
    pid = holder.pid if holder.process else None
    said = {name: value for name, value in holder._asdict().items() if name not in _OWN}
    return {**said, "pid": pid, "user": holder.user, "command": holder.command}


def _holder_text(holder: Holder) -> str:
    place = f" in {holder.project}" if holder.project else ""
    age = age_text(time.time() - holder.since)
    process = f", pid {holder.pid}" if holder.process else ""
    return f"{holder.user}: {holder.command}{place}{process}, {age}"


def _cells(entry: Entry, short: Mapping[str, str]) -> tuple[str, ...]:
    gpu, load = entry.gpu, entry.load
    memory = "-"
    if load.memory_total:
        used, total = (number / _GIB for number in (load.memory_used or 0, load.memory_total))
        memory = f"{used:.1f} of {total:.1f} GiB"
    return (
        "MIG" if gpu.is_instance else str(gpu.number),
        gpu.fault or entry.state,
        memory,
        "-" if load.utilisation is None else f"{load.utilisation} %",
        gpu.name.removeprefix("NVIDIA ") or "-",
        short[gpu.uuid] or "-",
    )


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.rjust(width) if column in _RIGHT else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def _who(entry: Entry) -> list[str]:
    """Return a line for the holder of a GPU, and for each process there that is not its own."""
    found = [_holder_text(entry.holder)] if entry.holder else []
    for user in entry.users or ():
        if not user.is_leased:
            who = f"{user.user}: {user.command}" if user.user else "a process"
            memory = f", {user.memory / _GIB:.1f} GiB" if user.memory else ""
            found.append(f"{who}, pid {user.pid}{memory}, no lease")
    return found
