"""Starting processes, and what is left when they fail."""

import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from envkit import process
from envkit.errors import AlteredError, MissingError, ToolError


def raise_altered() -> None:
    raise AlteredError("/store/file")


def test_run_drains_both_pipes_at_once() -> None:
    code = "import sys; sys.stdout.write('o' * 300000); sys.stderr.write('e' * 300000)"
    done = process.run([sys.executable, "-c", code])
    assert (len(done.stdout), len(done.stderr), done.returncode) == (300000, 300000, 0)


def test_run_hands_over_lines_as_they_come() -> None:
    seen: list[str] = []
    process.run([sys.executable, "-c", "print('one\\ntwo')"], on_line=seen.append)
    assert seen == ["one", "two"]


def test_run_hands_over_complaints_in_their_place() -> None:
    seen: list[str] = []
    code = "import os; [os.write(1 + n % 2, b'%d\\n' % n) for n in range(6)]"
    done = process.run([sys.executable, "-c", code], on_line=seen.append, merged=True)
    assert seen == ["0", "1", "2", "3", "4", "5"]
    assert (done.stdout, done.stderr) == ("0\n1\n2\n3\n4\n5\n", "")


def test_run_of_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such command"):
        process.run([str(tmp_path / "nothing")])
    (tmp_path / "script").write_text("")
    with pytest.raises(MissingError, match="cannot be executed"):
        process.run([str(tmp_path / "script")])


def test_check_shows_the_last_lines() -> None:
    code = "import sys; [print(n, file=sys.stderr) for n in range(20)]; sys.exit(7)"
    with pytest.raises(ToolError, match=r"(?s)It failed \(exit code 7\):\n12\n.*19$"):
        process.check([sys.executable, "-c", code], what="It failed")


def test_stop_all_stops_what_runs() -> None:
    ended: list[int] = []

    def wait() -> None:
        ended.append(process.run([sys.executable, "-c", "import time; time.sleep(60)"]).returncode)

    thread = threading.Thread(target=wait)
    thread.start()
    deadline = time.monotonic() + 10
    while not process._children and time.monotonic() < deadline:
        time.sleep(0.01)
    process.stop_all()
    thread.join(10)
    assert ended == [-signal.SIGTERM]


def test_worker_answers_line_by_line(tmp_path: Path) -> None:
    code = "import sys\nfor line in sys.stdin: print(line.strip().upper(), flush=True)"
    worker = process.Worker([sys.executable, "-c", code], what="It failed", cwd=tmp_path)
    assert [worker.ask("one").strip(), worker.ask("two").strip()] == ["ONE", "TWO"]
    worker.close()


def test_worker_that_ends_says_why(tmp_path: Path) -> None:
    code = "import sys; sys.stdin.readline(); sys.exit('out of order')"
    worker = process.Worker([sys.executable, "-c", code], what="It failed", cwd=tmp_path)
    with pytest.raises(ToolError, match=r"It failed:\nout of order"):
        worker.ask("one")
    worker.close()


def test_side_by_side_does_all(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    process.side_by_side([partial((tmp_path / name).touch) for name in names])
    assert sorted(path.name for path in tmp_path.iterdir()) == names


@pytest.mark.parametrize("place", [0, 1])
def test_side_by_side_raises_what_a_part_raised(place: int) -> None:
    works = [os.getpid, os.getpid]
    works[place] = raise_altered  # type: ignore[assignment]
    with pytest.raises(AlteredError) as caught:
        process.side_by_side(works)
    assert caught.value.source == "/store/file"


def test_side_by_side_notices_a_part_that_was_killed() -> None:
    def end() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ToolError, match="was killed"):
        process.side_by_side([lambda: None, end])
