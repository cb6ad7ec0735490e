"""Leases among many processes: never two holders of one GPU, and never a GPU lost."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from envkit.errors import RefusedError
from envkit.gpu import claims, queue
from envkit.gpu.folder import Folder
from envkit.gpu.holders import Container, Holder
from envkit.gpu.leases import Lease, Leases, Refusal, Wish
from envkit.gpu.occupancy import holder_of
from tests.support.nvml import uuid
from tests.support.waiting import wait

FOUR = tuple(uuid(number) for number in range(4))
ROOT = Path(__file__).parent.parent.parent

# Nothing here takes so many seconds, unless it hangs.
LIMIT = 120


@pytest.fixture
def opened(leases: Path) -> Iterator[Leases]:
    """The leases of a machine on which nobody computes without one."""
    with opened_by(leases) as found:
        yield found


def opened_by(leases: Path, *, busy: Sequence[str] = (), running: bool = False) -> Leases:
    folder = Folder(leases, is_shared=True)
    user_of = {**dict.fromkeys(busy, "alice (train)")}
    return Leases(folder, user_of=lambda one: user_of.get(one, ""), is_running=lambda _: running)


def holder(leases: Path, uuid: str, *, running: bool = False) -> Holder | str | None:
    """Return who has a GPU."""
    return holder_of(Folder(leases, is_shared=True), uuid, lambda _: running)


def waiting(leases: Path) -> list[int]:
    """Return the ids of the processes that wait."""
    return [one.holder.pid for one in queue.waiting(Folder(leases, is_shared=True))]


def wish(wanted: int = 1, candidates: Sequence[str] = FOUR) -> Wish:
    return Wish(Holder.this(["python", "train.py", "--token", "secret"], "/p"), wanted, candidates)


def take(leases: Leases, wanted: int = 1, candidates: Sequence[str] = FOUR) -> Lease:
    found = leases.take(wish(wanted, candidates))
    assert isinstance(found, Lease)
    return found


def refusal(leases: Leases, wanted: int = 1, candidates: Sequence[str] = FOUR) -> Refusal:
    found = leases.take(wish(wanted, candidates))
    assert isinstance(found, Refusal)
    return found


def test_each_is_taken_once(opened: Leases) -> None:
    taken = [take(opened) for _ in FOUR]
    assert [lease.uuids for lease in taken] == [(one,) for one in FOUR]
    found = refusal(opened)
    assert [(one.uuid, one.reason) for one in found.hindrances] == [(one, "held") for one in FOUR]
    taken[2].release()
    assert take(opened).uuids == (FOUR[2],)


def test_all_or_nothing(opened: Leases) -> None:
    first = take(opened, 2)
    assert [one.uuid for one in refusal(opened, 3).hindrances] == list(first.uuids)
    assert take(opened, 2).uuids == FOUR[2:]


def test_the_best_come_first(opened: Leases) -> None:
    assert take(opened, 2, (FOUR[3], FOUR[1], FOUR[0])).uuids == (FOUR[3], FOUR[1])


def test_who_has_it_is_written_down_without_secrets(opened: Leases, leases: Path) -> None:
    assert holder(leases, FOUR[0]) is None
    lease = take(opened)
    found = holder(leases, FOUR[0])
    assert isinstance(found, Holder)
    assert (found.uid, found.pid, found.project) == (os.getuid(), os.getpid(), "/p")
    assert found.program == "python train.py"
    assert abs(found.since - time.time()) < 60
    assert "secret" not in (leases / FOUR[0]).read_text()
    lease.release()
    assert holder(leases, FOUR[0]) is None


def test_asking_disturbs_nobody(opened: Leases, leases: Path) -> None:
    descriptor = Folder(leases, is_shared=True).open(FOUR[0])
    assert descriptor is not None
    assert not claims.is_claimed(descriptor)
    lease = take(opened)
    assert claims.is_claimed(descriptor)
    lease.release()
    os.close(descriptor)


def test_a_busy_one_is_passed_over(leases: Path) -> None:
    with opened_by(leases, busy=FOUR[:2]) as opened:
        assert take(opened).uuids == (FOUR[2],)
        found = refusal(opened, 2)
        assert [one.reason for one in found.hindrances] == ["busy", "busy", "held"]


def test_a_damaged_file_is_still_a_lock(opened: Leases, leases: Path) -> None:
    lease = take(opened)
    for text in ("", "{", "[]\n", '{"uid": "x"}\n'):
        (leases / FOUR[0]).write_text(text)
        assert holder(leases, FOUR[0]) == "unknown"
        assert refusal(opened, 1, FOUR[:1]).hindrances[0].holder is None
    lease.release()
    assert holder(leases, FOUR[0]) is None


def test_a_container_keeps_its_lease(leases: Path) -> None:
    container = Container("label", "unix:///engine")
    wanted = wish()
    wanted = wanted._replace(holder=wanted.holder._replace(container=container))
    with opened_by(leases) as opened:
        lease = opened.take(wanted)
        assert isinstance(lease, Lease)
        lease.release()
    with opened_by(leases, running=True) as opened:
        found = holder(leases, FOUR[0], running=True)
        assert isinstance(found, Holder)
        assert found.container == container
        assert refusal(opened, 4).hindrances[0].holder == found
        assert take(opened).uuids == (FOUR[1],)
    with opened_by(leases) as opened:
        assert holder(leases, FOUR[0]) is None
        assert take(opened).uuids == (FOUR[0],)


def test_a_container_that_has_ended_is_not_asked_for(leases: Path) -> None:
    inside = wish().holder._replace(container=Container("label", "unix:///engine"))
    with opened_by(leases) as opened:
        lease = opened.take(wish()._replace(holder=inside))
        assert isinstance(lease, Lease)
        lease.rewrite(inside._replace(container=None))
        lease.release()
    assert holder(leases, FOUR[0], running=True) is None


def test_who_came_earlier_comes_first(leases: Path) -> None:
    with opened_by(leases) as first, opened_by(leases) as second, opened_by(leases) as third:
        lease = take(first, 2)
        second.enter_queue(wish(3))
        third.enter_queue(wish())
        # Two are free, and kept for whoever waits for three.
        found = refusal(third)
        assert [one.reason for one in found.hindrances] == ["held", "held", "kept", "kept"]
        assert [one.wanted for one in found.ahead] == [3]
        assert refusal(first).ahead
        lease.release()
        # Whoever can have three is left three, and no more.
        assert take(third).uuids == (FOUR[3],)
        assert take(second, 3).uuids == FOUR[:3]


def test_who_does_not_say_so_does_not_wait(leases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened_by(leases) as first, opened_by(leases) as second:
        first.enter_queue(wish(4))
        assert isinstance(refusal(second), Refusal)
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 11)
        lease = take(second)
        lease.release()
        # It goes on where it was.
        refused = first.take(wish(5, (*FOUR, uuid(4), uuid(5))))
        assert isinstance(refused, Lease)


def test_the_queue_is_not_held_for_ever(leases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "_PATIENCE", 0.1)
    descriptor = Folder(leases, is_shared=True).open("queue")
    assert descriptor is not None
    assert claims.claim(descriptor)
    with opened_by(leases) as opened, pytest.raises(RefusedError, match="has been held"):
        opened.take(wish())
    os.close(descriptor)


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "fifo"])
def test_what_others_have_put_there_is_not_followed(
    leases: Path, tmp_path: Path, kind: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine\n")
    place = leases / FOUR[0]
    if kind == "folder":
        place.mkdir()
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.symlink_to(victim if kind == "link" else tmp_path / "absent")
    with opened_by(leases) as opened, pytest.raises(RefusedError, match=str(place)):
        opened.take(wish())
    with pytest.raises(RefusedError):
        holder(leases, FOUR[0])
    assert victim.read_text() == "mine\n"
    assert not (tmp_path / "absent").exists()


def test_what_others_have_written_is_only_shown(leases: Path) -> None:
    hostile = (
        {"uid": 2**70, "pid": 2**70, "since": 1e308, "program": "a\nb", "project": "\ud800"},
        {"uid": -1, "pid": -1, "since": float("inf"), "program": [], "project": {}},
        {
            "uid": 0,
            "pid": 1,
            "since": 0,
            "program": "",
            "project": "",
            "container": ["l", "\ud800"],
        },
    )
    for values in hostile:
        (leases / FOUR[0]).write_text(json.dumps({"container": None, **values}) + "\n")
        found = holder(leases, FOUR[0], running=True)
        if isinstance(found, Holder):
            assert "\n" not in found.text()
            found.text().encode()
        with opened_by(leases) as opened:
            take(opened).release()


def test_others_are_not_kept_for_whoever_waits_for_these(leases: Path) -> None:
    with opened_by(leases) as first, opened_by(leases) as second, opened_by(leases) as third:
        take(first, 1, FOUR[:1])
        second.enter_queue(wish(1, FOUR[:1]))
        assert take(third, 1, FOUR).uuids == (FOUR[1],)


def lessee(folder: Path, leases: Path, **more: object) -> "subprocess.Popen[bytes]":
    """Start a process that takes leases."""
    marks = folder / "marks"
    marks.mkdir(exist_ok=True)
    job = {
        **{
            "leases": str(leases),
            "uuids": FOUR,
            "wanted": 2,
            "takes": 1,
            "seed": 0,
            "queued": True,
            "dying": False,
        },
        **{"marks": str(marks), "log": str(folder / "log"), "deaths": str(folder / "deaths")},
        **more,
    }
    command = [sys.executable, "-m", "tests.support.lessee", json.dumps(job)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)


# Those who wait in the queue look at it all the time, so that fewer takes keep as many busy.
@pytest.mark.parametrize(
    ("count", "takes", "wanted", "queued"), [(50, 3000, 2, False), (50, 100, 4, True)]
)
def test_many_race_for_four_and_are_killed(
    tmp_path: Path,
    leases: Path,
    pytestconfig: pytest.Config,
    count: int,
    takes: int,
    wanted: int,
    queued: bool,
) -> None:
    enough = takes * (10 if pytestconfig.getoption("thorough") else 1)
    log, deaths = tmp_path / "log", tmp_path / "deaths"
    log.touch()
    deaths.touch()
    chance = random.Random(7)  # noqa: S311
    until = time.monotonic() + LIMIT * enough / takes

    def start(seed: int) -> "subprocess.Popen[bytes]":
        return lessee(
            tmp_path, leases, takes=10**6, wanted=wanted, queued=queued, seed=seed, dying=True
        )

    running = [start(number) for number in range(count)]
    killed = 0
    try:
        while (done := log.read_text().count("\n")) < enough:
            assert time.monotonic() < until, f"only {done} were taken"
            time.sleep(chance.random() * 0.4)
            place = chance.randrange(count)
            running[place].kill()
            _, complaint = running[place].communicate()
            assert running[place].returncode == -signal.SIGKILL, complaint.decode()
            killed += 1
            running[place] = start(count + killed)
    finally:
        for one in running:
            one.kill()
        for one in running:
            one.communicate()
    assert killed > 5
    # Some were killed while they had GPUs.
    assert deaths.read_text()
    assert not (tmp_path / "marks" / "meeting").exists()
    with opened_by(leases) as opened:
        assert waiting(leases) == []
        assert take(opened, 4).uuids == FOUR


def test_a_killed_one_waits_no_longer(tmp_path: Path, leases: Path) -> None:
    with opened_by(leases) as opened:
        lease = take(opened, 4)
        other = lessee(tmp_path, leases)
        wait(lambda: waiting(leases), "it waits")
        assert waiting(leases) == [other.pid]
        other.kill()
        other.communicate()
        assert waiting(leases) == []
        lease.release()
        take(opened, 4)
