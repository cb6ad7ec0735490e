"""Supervision, with stand-ins for services that do as they are told; and what others are told."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from envkit import declared, procfs, supervised
from envkit.errors import EXIT_DONE, EXIT_TOOL, ToolError, UsageError
from envkit.services import ledger as ledgers
from envkit.services.ledger import Entry, Followed, Ledger, Log
from envkit.services.service import Grant, Running
from envkit.services.supervisor import Planned, Supervisor
from envkit.tables import Layer, Table


class Fake:
    """A stand-in for a service, and for what runs of it.

    Attributes:
        said: what it prints, in pieces.
        code: the exit code with which it ends once it has said all; None: it goes on.
        ready: whether it is ready.
        fails: whether it cannot be started.
        lingers: whether it does not heed being stopped.
    """

    address = "127.0.0.1:1"
    in_container = False
    identity = "stand-in"

    def __init__(self) -> None:
        self.said: Sequence[bytes] = ()
        self.code: int | None = None
        self.ready = True
        self.fails = False
        self.lingers = False
        self.calls: list[str] = []
        self._over = threading.Event()
        self._ended: int | None = None

    def prepare(self) -> None:
        self.calls.append("prepare")

    def problem(self) -> str:
        return "nobody knows"

    def start(self, grant: Grant) -> Running:  # noqa: ARG002
        self.calls.append("start")
        if self.fails:
            raise ToolError("it cannot be started")
        return self

    def is_ready(self) -> bool:
        return self.ready

    def stop(self, running: Running, within: float) -> str:  # noqa: ARG002
        self.calls.append("stop")
        if self.lingers:
            self._over.wait(30)
        running.kill()
        return "ended"

    def example(self) -> str:
        return "curl it"

    def chunks(self) -> Iterator[bytes]:
        yield from self.said
        if self.code is not None:
            self._ended = self.code
        else:
            self._over.wait(30)

    def poll(self) -> int | None:
        return self._ended

    def terminate(self) -> None:
        self.kill()

    def kill(self) -> None:
        self.calls.append("kill")
        self._ended = -9 if self._ended is None else self._ended
        self._over.set()

    def close(self) -> None:
        self.calls.append("close")
        self._over.set()


class Seen:
    """What is shown."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.states: list[tuple[str, str]] = []
        self.all_ready = threading.Event()

    def line(self, name: str, text: str) -> None:
        self.lines.append((name, text))

    def changed(self, entry: Entry) -> None:
        self.states.append((entry.name, entry.state))

    def ready(self, entries: Sequence[Entry]) -> None:  # noqa: ARG002
        self.all_ready.set()


class Desk:
    """Supervises stand-ins, in a thread."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger(folder)
        self.seen = Seen()
        self.stops = 0

    def run(self, *fakes: Fake, then: Callable[[], None] = lambda: None, **more: object) -> int:
        """Supervise; once all are ready, do something and stop them."""

        def stop() -> None:
            if self.seen.all_ready.wait(10):
                then()
                self.stops += 1

        stopping = threading.Thread(target=stop)
        stopping.start()
        try:
            planned = [_planned(number, one, more) for number, one in enumerate(fakes)]
            return Supervisor(planned, self.ledger, self.seen, lambda: self.stops).run()
        finally:
            self.seen.all_ready.set()
            stopping.join()


def _planned(number: int, fake: Fake, more: dict[str, object]) -> Planned:
    table = {f"one{number}": {"kind": "stand-in", **more}}
    layer = Layer({"services": table}, Path("/p/envkit.toml"), "envkit.toml")
    (config,) = declared.services(Table([layer]))
    return Planned(config, fake, Grant({}))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "services")


def test_started_and_stopped_in_order(desk: Desk) -> None:
    one, two = Fake(), Fake()
    assert desk.run(one, two) == EXIT_DONE
    assert [pair for pair in desk.seen.states if pair[1] in ("ready", "stopping", "stopped")] == [
        ("one0", "ready"),
        ("one1", "ready"),
        ("one1", "stopping"),
        ("one1", "stopped"),
        ("one0", "stopping"),
        ("one0", "stopped"),
    ]
    found = desk.ledger.read("one0")
    assert found
    assert found.reason.startswith("ended (0.")
    assert not desk.ledger.is_supervised("one0")


def test_one_that_cannot_be_started_stops_the_others(desk: Desk) -> None:
    one, two = Fake(), Fake()
    two.fails = True
    with pytest.raises(ToolError, match="it cannot be started"):
        desk.run(one, two)
    assert one.calls[:3] == ["prepare", "start", "stop"]
    assert "close" in one.calls


def test_one_that_is_never_ready(desk: Desk) -> None:
    one = Fake()
    one.ready = False
    with pytest.raises(ToolError, match="it was not ready within 1 s: nobody knows"):
        desk.run(one, start_timeout="1s")
    assert "close" in one.calls


def test_one_that_ends_while_others_go_on(desk: Desk) -> None:
    one, two = Fake(), Fake()

    def end() -> None:
        one.kill()
        until = time.monotonic() + 10
        while ("one0", "failed") not in desk.seen.states:
            assert time.monotonic() < until
            time.sleep(0.01)
        # Its lock is free, so that it can be started anew, and the other's is not.
        assert not desk.ledger.is_supervised("one0")
        assert desk.ledger.is_supervised("one1")

    assert desk.run(one, two, then=end) == EXIT_TOOL
    assert "stop" in two.calls


def test_nobody_supervises_twice(desk: Desk) -> None:
    one, two = Fake(), Fake()

    def again() -> None:
        with pytest.raises(UsageError, match="one0 is running already"):
            Supervisor([_planned(0, two, {})], desk.ledger, Seen(), lambda: 0).run()

    assert desk.run(one, then=again) == EXIT_DONE
    assert "start" not in two.calls


def test_what_is_printed_is_kept_line_by_line(desk: Desk) -> None:
    one = Fake()
    one.said = [b"a", b"b\nc\r\n", b"\n", b"x" * 200_000, b"\xff\n", b"the end"]
    one.code = 3
    with pytest.raises(ToolError, match="exit code 3"):
        desk.run(one)
    texts = [text for _, text in desk.seen.lines]
    assert texts[:3] == ["ab", "c", ""]
    assert texts[-1] == "the end"
    assert "".join(texts[3:-1]) == "x" * 200_000 + "\ufffd"
    assert max(map(len, texts)) <= 1 << 16
    assert desk.ledger.log("one0").read_bytes().startswith(b"ab\nc\n\n")


def test_a_flood_is_kept(desk: Desk) -> None:
    one = Fake()
    one.said = [
        b"".join(b"%d\n" % number for number in range(start, start + 1000))
        for start in range(0, 50_000, 1000)
    ]
    one.code = 0
    one.ready = False
    with pytest.raises(ToolError):
        desk.run(one)
    assert [text for _, text in desk.seen.lines] == [str(number) for number in range(50_000)]


def test_who_asks_twice_does_not_wait(desk: Desk) -> None:
    one = Fake()
    one.lingers = True

    def hurry() -> None:
        threading.Timer(0.5, lambda: setattr(desk, "stops", 2)).start()

    begun = time.monotonic()
    assert desk.run(one, then=hurry) == EXIT_DONE
    assert time.monotonic() - begun < 20
    assert "kill" in one.calls


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"name": 1}', '{"name": "x", "more": 1}'])
def test_a_damaged_entry_is_none(desk: Desk, text: str) -> None:
    desk.ledger.write(Entry("x", "flask"))
    desk.ledger.log("x").with_suffix(".json").write_text(text)
    assert desk.ledger.read("x") is None


def test_what_says_that_it_runs_and_is_not_supervised_was_killed(desk: Desk) -> None:
    desk.ledger.write(Entry("x", "flask", state="ready"))
    found = desk.ledger.read("x")
    assert found
    assert found.state == "killed"
    with desk.ledger.supervising("x") as alone:
        assert alone
        found = desk.ledger.read("x")
        assert found
        assert found.state == "ready"


def test_a_log_that_grows(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "_LARGE", 1000)
    log = Log(tmp_path / "x.log")
    for number in range(100):
        log.write(b"%099d" % number)
    log.close()
    assert (tmp_path / "x.log").stat().st_size <= 1100
    assert (tmp_path / "x.log.1").exists()
    assert Followed(tmp_path / "absent").last(3) == []
    log = Log(tmp_path / "y.log")
    for number in range(5):
        log.write(b"%d" % number)
    log.close()
    followed = Followed(tmp_path / "y.log")
    assert followed.last(2) == ["3", "4"]
    followed.close()
    assert desk.ledger.names() == []


def test_a_log_that_is_followed_over_its_rotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "_LARGE", 1000)
    log, followed = Log(tmp_path / "x.log"), Followed(tmp_path / "x.log")
    assert followed.last(10) == []
    seen: list[str] = []
    for number in range(200):
        log.write(b"%d" % number)
        if number % 7 == 0:
            seen += followed.more()
    seen += followed.more()
    assert seen == [str(number) for number in range(200)]
    # A log that somebody removes does not end the service that writes it.
    (tmp_path / "x.log").unlink()
    for number in range(400):
        log.write(b"%d" % number)
    log.close()
    followed.close()


def test_who_looks_does_not_disturb_who_looks(desk: Desk) -> None:
    desk.ledger.write(Entry("x", "flask", state="ready"))
    with desk.ledger.supervising("x"):
        pass
    states: set[str] = set()

    def look() -> None:
        for _ in range(2000):
            found = desk.ledger.read("x")
            assert found
            states.add(found.state)

    lookers = [threading.Thread(target=look) for _ in range(4)]
    for one in lookers:
        one.start()
    for one in lookers:
        one.join()
    assert states == {"killed"}


def test_what_is_killed_is_gone() -> None:
    """With more processes than get their turn at once."""
    mark = f"test/{os.urandom(8).hex()}"
    environ = {"PATH": os.defpath, supervised.MARK: mark}
    many = [subprocess.Popen(["/bin/sleep", "311"], env=environ) for _ in range(100)]
    try:
        assert supervised.kill_marked(mark) == len(many)
        assert [one.pid for one in many if mark.encode() in procfs.environ(one.pid)] == []
    finally:
        for one in many:
            one.kill()
            one.wait()
