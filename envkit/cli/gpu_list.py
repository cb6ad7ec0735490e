"""The list of GPUs, for people and for programs."""

from __future__ import annotations

import time
from collections.abc import Sequence

from envkit.cli.output import printable, styled
from envkit.gpu.holders import Holder
from envkit.gpu.queue import Waiting
from envkit.gpu.survey import Entry
from envkit.quantities import age_text, bytes_text, count

_COLOURS = {
    "free": "green",
    "held but idle": "yellow",
    "in use, no lease": "red",
    "lost": "red",
}

_HEADINGS = ("GPU", "state", "memory", "used", "name", "UUID")

# So much of a UUID tells one GPU from the others of a machine.
_UUID = len("GPU-8932f937")

# The columns whose texts stand at their right end.
_RIGHT = (0, 2, 3)


def lines(entries: Sequence[Entry], waiting: Sequence[Waiting]) -> list[str]:
    """Return a line for each GPU, below it one for each who has or uses it, then who waits."""
    if not entries:
        return ["The driver tells of no GPUs."]
    rows = [_HEADINGS, *map(_cells, entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    found = ["  ".join(_aligned(_HEADINGS, widths)).rstrip()]
    for entry, row in zip(entries, rows[1:], strict=True):
        number, state, *rest = _aligned(row, widths)
        colour = _COLOURS.get(entry.state)
        found.append(
            "  ".join([number, styled(state, colour) if colour else state, *rest]).rstrip()
        )
        found += [f"     {printable(line)}" for line in _who(entry)]
    for place, one in enumerate(waiting, 1):
        wanted = count(one.wanted, "GPU")
        found.append(printable(f"{place}. in the queue for {wanted}: {_holder_text(one.holder)}"))
    return found


def document(
    entries: Sequence[Entry], waiting: Sequence[Waiting], version: str
) -> dict[str, object]:
    """Return the list for programs: memory in bytes, times in seconds since 1970."""
    return {
        "driver": version,
        "gpus": [
            {
                "index": one.gpu.index,
                "uuid": one.gpu.uuid,
                "name": one.gpu.name,
                "instance": one.gpu.is_instance,
                "state": one.state,
                "fault": one.gpu.fault,
                **vars(one.load),
                "holder": one.holder and _holder(one.holder),
                "processes": None if one.users is None else [vars(user) for user in one.users],
            }
            for one in entries
        ],
        "waiting": [{**_holder(one.holder), "wanted": one.wanted} for one in waiting],
    }


def _holder(holder: Holder) -> dict[str, object]:
    return {**holder._asdict(), "user": holder.user, "command": holder.command}


def _holder_text(holder: Holder) -> str:
    place = f" in {holder.project}" if holder.project else ""
    return f"{holder.user}: {holder.command}{place}, {age_text(time.time() - holder.since)}"


def _cells(entry: Entry) -> tuple[str, ...]:
    gpu, load = entry.gpu, entry.load
    memory = "-"
    if load.memory_total:
        memory = f"{bytes_text(load.memory_used or 0)} of {bytes_text(load.memory_total)}"
    return (
        "MIG" if gpu.is_instance else str(gpu.index),
        gpu.fault or entry.state,
        memory,
        "-" if load.utilisation is None else f"{load.utilisation} %",
        gpu.name.removeprefix("NVIDIA ") or "-",
        gpu.uuid[:_UUID] or "-",
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
            memory = f", {bytes_text(user.memory)}" if user.memory else ""
            found.append(f"{who} (pid {user.pid}{memory}), no lease")
    return found
