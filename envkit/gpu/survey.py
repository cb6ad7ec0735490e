"""How a machine's GPUs stand: what they do, who has them on lease, who uses them without one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from envkit import procfs
from envkit.errors import RefusedError
from envkit.gpu.devices import Driver, Gpu, Load, Process, computing
from envkit.gpu.holders import Holder

State = Literal["free", "held", "held but idle", "in use, no lease", "divided", "lost", "unknown"]

# Returns who has a lease of a GPU, given by its UUID; raises RefusedError if that cannot be known.
HolderOf = Callable[[str], Holder | Literal["unknown"] | None]


@dataclass(frozen=True, kw_only=True)
class User:
    """A process that computes on a GPU.

    Attributes:
        pid: its id on the host.
        user: whose it is; empty if it cannot be looked at, as from within a container.
        command: what it runs; empty likewise.
        memory: the bytes that it has on the GPU, if that is known.
        is_leased: whether it belongs to whoever has the lease.
    """

    pid: int
    user: str
    command: str
    memory: int | None
    is_leased: bool


@dataclass(frozen=True, kw_only=True)
class Entry:
    """How a GPU stands.

    Attributes:
        gpu: which.
        load: what it does.
        holder: who has it on lease; None if nobody has, or it is not known who.
        users: who computes there; None where the driver does not say.
        state: all this in a word.
        trouble: why nothing can be known of its lease; empty if all is well.
    """

    gpu: Gpu
    load: Load
    holder: Holder | None
    users: tuple[User, ...] | None
    state: State
    trouble: str = ""


def survey(driver: Driver, holder_of: HolderOf | None) -> tuple[Entry, ...]:
    """Return how each GPU stands, in the order of the PCI bus.

    Args:
        driver: tells of GPUs.
        holder_of: tells of leases; None if nothing can be known of them.
    """
    return tuple(_entry(driver, gpu, holder_of) for gpu in driver.gpus())


def _entry(driver: Driver, gpu: Gpu, holder_of: HolderOf | None) -> Entry:
    load = driver.load(gpu)
    if not gpu.is_usable:
        state: State = "lost" if gpu.fault else "divided"
        return Entry(gpu=gpu, load=load, holder=None, users=(), state=state)
    held, trouble = None, ""
    try:
        held = holder_of(gpu.uuid) if holder_of else None
    except RefusedError as error:
        trouble = error.message
    holder = None if held == "unknown" else held
    processes = driver.processes(gpu)
    users = None if processes is None else tuple(_user(one, holder) for one in processes)
    if held:
        state = "held but idle" if users == () else "held"
    elif computing(processes) or load.is_much:
        state = "in use, no lease"
    else:
        state = "free" if holder_of and not trouble else "unknown"
    return Entry(gpu=gpu, load=load, holder=holder, users=users, state=state, trouble=trouble)


def _user(process: Process, holder: Holder | None) -> User:
    found = procfs.find(process.pid)
    return User(
        pid=process.pid,
        user=found.user if found else "",
        command=found.command if found else "",
        memory=process.memory,
        is_leased=holder is not None and _belongs(process.pid, found, holder),
    )


def _belongs(pid: int, found: procfs.Running | None, holder: Holder) -> bool:
    """Return whether a process works for a holder.

    It does if the holder started it. Where whoever started it has ended, or it runs in a container,
    that cannot be seen any more, and all that its user computes there counts as the holder's.
    """
    if found is None or holder.container:
        return True
    first = holder.process
    return first.pid in procfs.ancestry(pid) if first else found.uid == holder.uid
