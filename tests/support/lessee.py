"""A process that takes leases, as `python -m tests.support.lessee JOB`, for many at once.

JOB is JSON: `leases` (the folder), `uuids` (candidates), `wanted`, `takes` (how many times),
`queued`, `marks` (a folder), `log` (a file to which it appends), `seed`, `dying` (whether it lets
a child do the work, which dies at any instant, and then another; who has GPUs then is appended to
the file `deaths`); perhaps `uid` and `gid`, for which it has to be root's. A lease is kept for a
millisecond or so. Each time it has GPUs it
makes a mark for each of them, and removes it before it lets go: two holders of one GPU would meet
there.
"""

import contextlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from envkit.errors import EnvkitError
from envkit.gpu.folder import Folder
from envkit.gpu.holders import Holder
from envkit.gpu.leases import Lease, Leases, Wish


def lives_on(pid: int) -> bool:
    """Return whether a process is not about to end: its files are closed a little before that."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        if state in "ZX":
            return False
        time.sleep(0.001)
    return True


def read(mark: Path) -> int:
    """Return the id of the process that has set a mark; 0 if none has."""
    try:
        return int(mark.read_text())
    except (FileNotFoundError, ValueError):
        return 0


@contextlib.contextmanager
def alone(marks: Path, uuids: tuple[str, ...]) -> Iterator[None]:
    """Make sure that nobody who lives has any of these GPUs as well."""
    for uuid in uuids:
        mark = marks / uuid
        # Who was killed has left its mark behind, with its id in it.
        other = read(mark)
        if other and other != os.getpid() and lives_on(other):
            (marks / "meeting").write_text(f"{uuid}: {other} and {os.getpid()}")
        mark.write_text(str(os.getpid()))
        mark.chmod(0o666)
    yield
    for uuid in uuids:
        (marks / uuid).unlink()


def main(job: dict[str, Any]) -> None:
    """Take GPUs as often as the job says, having waited for each time."""
    chance = random.Random(job["seed"])  # noqa: S311
    marks = Path(job["marks"])
    if "uid" in job:
        # What is imported later could not be read any more, nor what it is imported for.
        Holder.this(["lessee"], "")
        os.setgroups([job["gid"]])
        os.setgid(job["gid"])
        os.setuid(job["uid"])
        os.umask(0o077)
    if not job["dying"]:
        work(job, chance, marks)
        return
    while True:
        # At any instant: while it takes some, has them, or lets go of them.
        seconds = chance.uniform(0.01, 0.5)
        child = os.fork()
        if not child:
            # Nothing of what it does is done when this is over (setitimer(2), SIGALRM).
            signal.setitimer(signal.ITIMER_REAL, seconds)
            work(job, chance, marks)
        os.waitpid(child, 0)
        if any(read(marks / uuid) == child for uuid in job["uuids"]):
            with open(job["deaths"], "a", encoding="utf-8") as file:
                file.write(f"{child}\n")


def work(job: dict[str, Any], chance: random.Random, marks: Path) -> None:
    """Take GPUs as often as the job says."""
    for _ in range(job["takes"]):
        wanted = chance.randint(1, job["wanted"])
        wish = Wish(Holder.this(["lessee"], ""), wanted, tuple(job["uuids"]))
        folder = Folder(Path(job["leases"]), is_shared=True)
        with Leases(folder, user_of=lambda _: "", is_running=lambda _: False) as leases:
            if job["queued"]:
                leases.enter_queue(wish)
            while not isinstance(lease := leases.take(wish), Lease):
                time.sleep(chance.random() * 0.015)
        with alone(marks, lease.uuids):
            time.sleep(chance.random() * 0.002)
        with open(job["log"], "a", encoding="utf-8") as file:
            file.write(f"{wanted}\n")
        lease.release()


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]))
    except EnvkitError as error:
        sys.exit(f"{error.message}\n{error.hint}")
