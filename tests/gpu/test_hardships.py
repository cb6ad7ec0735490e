"""Leases on bad days: what ends, is lost, is stopped or is written by others in the meantime."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from envkit import boot
from envkit.engines import glance
from envkit.errors import MissingError
from envkit.gpu import claims, holders, queue
from envkit.gpu.folder import Folder
from envkit.gpu.holders import Container, Holder
from envkit.gpu.leases import Lease, Leases, Refusal
from tests.gpu.test_leases import FOUR, holder, opened_by, refusal, take, wish
from tests.support.nvml import FakeGpu, Nvml, gpus, uuid
from tests.support.projects import Project
from tests.support.waiting import wait

ENVKIT = [sys.executable, "-m", "envkit"]


def parts_of(leases: Path, lease: Lease) -> Leases:
    """Return the leases of which each is a part of another."""
    return Leases(
        Folder(leases, is_shared=True),
        user_of=lambda _: "",
        is_running=lambda _: False,
        within=lease.uuids,
        depth=lease.depth + 1,
    )


def test_no_part_outlasts_the_wait_for_it(leases: Path) -> None:
    with opened_by(leases) as opened:
        outer = take(opened, 1, FOUR[:1])
        with parts_of(leases, outer) as parts:
            parts.enter_queue(wish(1, FOUR[:1]))
            outer.release()
            stranger = take(opened, 1, FOUR[:1])
            stranger.rewrite(wish().holder._replace(pid=1, started="another"))
            holding = subprocess.Popen(["/bin/sleep", "60"], pass_fds=stranger.descriptors)
            stranger.release()
            try:
                with pytest.raises(MissingError, match="has ended"):
                    parts.take(wish(1, FOUR[:1]))
            finally:
                holding.kill()
                holding.wait()


def test_parts_of_parts_do_not_wait_for_those_who_wait_for_parts(leases: Path) -> None:
    with opened_by(leases) as opened:
        outer = take(opened, 1, FOUR[:1])
    with parts_of(leases, outer) as parts, parts_of(leases, outer) as others:
        part = take(parts, 1, FOUR[:1])
        others.enter_queue(wish(1, FOUR[:1]))
        with parts_of(leases, part) as inner:
            assert take(inner, 1, FOUR[:1]).depth == 2
        assert refusal(others, 1, FOUR[:1]).hindrances[0].reason == "held"


@pytest.mark.parametrize("depth", [0, 1])
def test_a_container_is_over_once_the_machine_was_started_anew(
    leases: Path, monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    inside = wish().holder._replace(container=Container("label", "unix:///engine"))
    with opened_by(leases) as opened:
        lease = take(opened, 1, FOUR[:1])
        lease._replace(depth=depth).rewrite(inside)
        lease.release()
    assert isinstance(holder(leases, FOUR[0], running=True), Holder)
    _, _, machine = boot.identity().partition(".")
    monkeypatch.setattr(boot, "identity", lambda: f"another.{machine}")
    assert holder(leases, FOUR[0], running=True) is None
    with opened_by(leases, running=True) as opened:
        assert take(opened).uuids == FOUR[:1]


def test_old_parts_are_forgotten(leases: Path) -> None:
    with opened_by(leases) as opened:
        lease = take(opened, 1, FOUR[:1])
        container = Container("label", "unix:///engine")
        lease._replace(depth=1).rewrite(wish().holder._replace(container=container))
        lease.release()
        take(opened, 1, FOUR[:1]).release()
    assert holder(leases, FOUR[0], running=True) is None


def test_containers_join_in_a_lease(leases: Path) -> None:
    with opened_by(leases) as opened:
        outer = take(opened, 2)
    with parts_of(leases, outer) as parts:
        first, known = parts.join(Container("first", "unix:///engine"))
        assert known.container == Container("first", "unix:///engine")
        second, known = parts.join(Container("second", "unix:///engine"))
        assert known.container == Container("first", "unix:///engine")
        for lease in (first, second, outer):
            lease.release()
        for one in outer.uuids:
            found = holder(leases, one, running=True)
            assert isinstance(found, Holder)
            assert found.pid == os.getpid()
            assert holder(leases, one) is None


def test_a_process_of_the_same_id_is_another() -> None:
    mine = wish().holder
    assert mine.process
    for other in (
        mine._replace(started=f"{mine.started}0"),
        mine._replace(started=""),
        mine._replace(boot="another.start"),
    ):
        assert other.process is None


@pytest.mark.parametrize(
    "values",
    [
        {"number": 10**4000},
        {"number": -1},
        {"wanted": 10**9},
        {"wanted": 0},
        {"seen": 1e300},
        {"seen": float("nan")},
        {"candidates": [f"GPU-{number}" for number in range(300)], "wanted": 300},
    ],
)
def test_a_hostile_record_of_the_queue(leases: Path, values: dict[str, object]) -> None:
    descriptor = Folder(leases, is_shared=True).open("queue")
    assert descriptor is not None
    place = 5
    assert claims.claim(descriptor, place)
    said = {"number": 1, "depth": 0, "wanted": 1, "candidates": FOUR, "seen": time.monotonic()}
    text = json.dumps({**wish().holder._asdict(), **said, **values}, default=str).encode()
    holders.write(descriptor, text + b"\n", place * holders.SIZE)
    with opened_by(leases) as opened:
        lease = take(opened, 4)
        opened.enter_queue(wish())
        lease.release()
    assert sorted(path.name for path in leases.iterdir()) == sorted([*FOUR, "queue"])
    os.close(descriptor)


def test_who_is_asked_does_not_hold_up_others(leases: Path) -> None:
    asked, answer = threading.Event(), threading.Event()

    def user_of(_: str) -> str:
        asked.set()
        assert answer.wait(60)
        return ""

    folder = Folder(leases, is_shared=True)
    slow = Leases(folder, user_of=user_of, is_running=lambda _: False)
    found: list[Lease | Refusal] = []
    thread = threading.Thread(target=lambda: found.append(slow.take(wish())))
    thread.start()
    assert asked.wait(60)
    with opened_by(leases) as opened:
        lease = take(opened)
        assert lease.uuids == FOUR[:1]
        answer.set()
        thread.join()
    # What was taken in the meantime is not given twice.
    (other,) = found
    assert isinstance(other, Lease)
    assert other.uuids == (FOUR[1],)
    slow.close()


def test_what_becomes_free_while_it_is_asked_is_asked_of_as_well(leases: Path) -> None:
    folder = Folder(leases, is_shared=True)
    with opened_by(leases) as opened:
        taken = [take(opened) for _ in FOUR[:2]]
        take(opened, 2)
        asked: list[str] = []

        def user_of(one: str) -> str:
            asked.append(one)
            return ""

        def is_running(_: Container) -> bool:
            # One is let go of between the look at it and the attempt to take it.
            if taken:
                taken.pop(0).release()
            return False

        last = wish().holder._replace(container=Container("label", "unix:///engine"))
        taken[1].rewrite(last)
        taken.pop(1).release()
        with Leases(folder, user_of=user_of, is_running=is_running) as other:
            assert take(other, 2).uuids == FOUR[:2]
        assert FOUR[0] in asked


def test_who_holds_the_queue_is_named(leases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "_PATIENCE", 0.1)
    descriptor = Folder(leases, is_shared=True).open("queue")
    assert descriptor is not None
    assert claims.claim(descriptor)
    holders.write(descriptor, b"%d\n" % os.getpid())
    with (
        opened_by(leases) as opened,
        pytest.raises(queue.BusyQueueError, match=f"pid {os.getpid()}"),
    ):
        opened.take(wish())
    os.close(descriptor)


def test_nothing_is_stopped_in_the_middle_of_a_change(leases: Path) -> None:
    one = queue.Queue(Folder(leases, is_shared=True), 0)
    with one.alone():
        assert signal.SIGTSTP in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.SIGTSTP not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    one.close()


def lost(driver: Nvml, index: int) -> None:
    """Let a GPU of the machine be lost."""
    driver.says(
        [
            FakeGpu(uuid=one.uuid, bus=one.bus, state="lost" if number == index else one.state)
            for number, one in enumerate(gpus(4))
        ]
    )


def test_a_gpu_that_is_lost_while_it_is_waited_for(project: Project, driver: Nvml) -> None:
    environ = project.machine.environ
    sleeping = [*ENVKIT, "run", "--devices", "0", "--gpus", "1", "--", "sleep", "60"]
    with subprocess.Popen(sleeping, cwd=project.root, env=environ) as holding:
        wait(lambda: states(project)[0] == "held but idle", "it is held")
        command = [*ENVKIT, "run", "--devices", "0", "--gpus", "1", "--wait", "1m", "--", "true"]
        with subprocess.Popen(
            command, cwd=project.root, env=environ, stderr=subprocess.PIPE, encoding="utf-8"
        ) as waiting:
            wait(lambda: project.succeed("gpu", "--json").json["waiting"], "it waits")
            lost(driver, 0)
            _, said = waiting.communicate(timeout=60)
        holding.kill()
    assert waiting.returncode == 3
    assert "GPU 0 cannot be used: GPU is lost" in said
    assert project.succeed("run", "--gpus", "3", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES").out == (
        ",".join(uuid(number) for number in (1, 2, 3)) + "\n"
    )


def test_an_engine_that_does_not_come_to_an_end_with_its_answer(tmp_path: Path) -> None:
    place = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place))
        listening.listen()

        def trickle() -> None:
            with contextlib.suppress(OSError):
                talking, _ = listening.accept()
                with talking:
                    for _ in range(200):
                        talking.sendall(b"x")
                        time.sleep(0.05)

        thread = threading.Thread(target=trickle)
        thread.start()
        with pytest.raises(TimeoutError):
            glance.ask(place, "GET", "/", patience=0.2)
        thread.join()


def states(project: Project) -> list[str]:
    """Return how each GPU stands."""
    return [one["state"] for one in project.succeed("gpu", "--json").json["gpus"]]


def test_waiting_outlasts_who_holds_the_queue(project: Project, leases: Path) -> None:
    environ = {**project.machine.environ}
    descriptor = Folder(leases, is_shared=True).open("queue")
    assert descriptor is not None
    assert claims.claim(descriptor)
    code = (
        "import sys; from envkit.gpu import queue; queue._PATIENCE = 0.2\n"
        "from envkit.__main__ import main; sys.exit(main())"
    )
    words = ["run", "--gpus", "1", "--wait", "1m", "--", "echo", "done"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *words],
        cwd=project.root,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as waiting:
        assert waiting.stderr
        assert "has been held" in waiting.stderr.readline()
        os.close(descriptor)
        out, _ = waiting.communicate(timeout=60)
    assert (waiting.returncode, out) == (0, "done\n")
