"""What the system refuses, told to a user."""

import errno
import os
import pickle
import re
import sys
from functools import partial
from pathlib import Path

import pytest

from envkit import drafts, process, refusals
from envkit.errors import EXIT_TOOL, RefusedError, ToolError
from tests.support.projects import Machine


def test_a_path_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "it's here"
    error = OSError(errno.ENOSPC, "No space left on device", str(path))
    refused = refusals.explained(error)
    assert refused
    assert refused.exit_code == EXIT_TOOL
    assert refused.message == f"{path}: the disk is full"
    found = re.search(r"`df -h (\S+)`", refused.hint)
    assert found
    assert Path(found[1]) in tmp_path.parents
    assert refused.hint.endswith("What was there before is as it was.")


def test_of_two_paths_the_one_that_was_to_be() -> None:
    refused = refusals.explained(OSError(errno.EIO, "", "/from", None, "/to"))
    assert refused
    assert refused.message == "/to: input/output error"


def test_whose_it_is(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "file"
    refused = refusals.explained(PermissionError(errno.EACCES, "Permission denied", str(path)))
    assert refused
    assert refused.message == f"{path}: no permission"
    assert f"`ls -ld {tmp_path}`" in refused.hint


def test_without_a_path() -> None:
    refused = refusals.explained(MemoryError(), left="It is unfinished.")
    assert refused
    assert refused.message == "No memory is left"
    assert refused.hint.endswith("run it again. It is unfinished.")


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory", "/absent"),
        FileExistsError(errno.EEXIST, "File exists", "/there"),
        OSError(errno.EINVAL, "Invalid argument"),
        OSError("of a library's own"),
        RuntimeError("of ours"),
        ValueError(),
    ],
)
def test_what_is_nobody_elses_fault(error: Exception) -> None:
    assert refusals.explained(error) is None
    assert not refusals.is_known(error)


def test_what_a_program_printed() -> None:
    text = "Traceback\n  ...\nOSError: [Errno 30] Read-only file system: '/usr/x y'\n"
    refused = refusals.printed(text, "It failed")
    assert refused
    assert refused.message == "It failed: the filesystem is read-only"
    assert refusals.printed("[Errno 2] No such file or directory: '/x'", "It failed") is None


def test_a_program_that_found_the_disk_full() -> None:
    code = "import sys; sys.exit('OSError: [Errno 28] No space left on device')"
    with pytest.raises(RefusedError, match="It failed: the disk is full"):
        process.check([sys.executable, "-c", code], what="It failed")
    worker = process.Worker([sys.executable, "-c", code], what="It failed", cwd=Path("/"))
    with pytest.raises(RefusedError, match="It failed: the disk is full"):
        worker.ask("one")
    worker.close()


def test_a_worker_that_was_killed() -> None:
    code = "import os; os.kill(os.getpid(), 9)"
    worker = process.Worker([sys.executable, "-c", code], what="It failed", cwd=Path("/"))
    with pytest.raises(ToolError, match="It failed: ended by signal 9"):
        worker.ask("one")
    worker.close()


def test_an_error_that_comes_from_another_process() -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "/file")
    for copy in (refusals.from_json(refusals.to_json(error)), pickle.loads(pickle.dumps(error))):  # noqa: S301
        assert (copy.errno, copy.strerror, copy.filename) == (28, error.strerror, "/file")
    assert refusals.from_json(refusals.to_json(MemoryError())).errno == errno.ENOMEM


def _write(path: str) -> None:
    device = path if path == os.devnull else "/dev/full"
    with refusals.naming(path), open(device, "w") as file:
        file.write("text")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is full")
def test_a_fork_tells_where_the_disk_was_full() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        process.side_by_side([partial(_write, os.devnull), partial(_write, "/some/file")])
    assert caught.value.filename == "/some/file"


def test_without_a_process_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    process.side_by_side([partial((tmp_path / name).touch) for name in "abc"])
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c"]
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


def test_drafts_of_commands_that_were_killed(tmp_path: Path) -> None:
    path, other = tmp_path / "lock.txt", tmp_path / "other.txt"
    path.write_text("old")
    path.chmod(0o640)
    left = tmp_path / ".lock.txt.envkit-99999999"
    left.touch()
    foreign = tmp_path / ".lock.txt.2024"
    foreign.touch()
    drafts.replace({path: b"new", other: b"added"}, executable=True)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o640)
    assert (other.read_text(), other.stat().st_mode & 0o777) == ("added", 0o755)
    assert sorted(tmp_path.iterdir()) == sorted([foreign, path, other])


def _shell(machine: Machine, line: str) -> tuple[int, str]:
    """Run a line of shell in a project of a machine; `envkit` in it is the command."""
    project = machine.project()
    project.lock("alpha-1.0")
    envkit = Path(sys.executable).with_name("envkit")
    result = project.call(["sh", "-c", f"envkit() {{ '{envkit}' \"$@\"; }}; {line}"])
    return result.code, result.err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is full")
def test_output_that_nobody_can_write(machine: Machine) -> None:
    code, err = _shell(machine, "envkit config > /dev/full")
    assert code == 4
    assert err.startswith("error: The disk is full\nhint: ")
    assert "Traceback" not in err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is full")
def test_what_is_said_stops_nothing(machine: Machine) -> None:
    assert _shell(machine, "envkit install 2> /dev/full") == (0, "")
    assert (machine.folder / "project" / ".venv" / "bin" / "python").exists()
    # What is answered without a look at anything.
    again = Machine(machine.folder, machine.index).project("again")
    again.lock("alpha-1.0")
    again.install()
    assert again.call(["sh", "-c", f"'{sys.executable}' -m envkit install 2> /dev/full"]).code == 0


def test_the_folder_has_gone(machine: Machine) -> None:
    for command in ("install", "status", "lock"):
        line = f"mkdir gone; cd gone; rmdir ../gone; envkit {command}"
        code, err = _shell(Machine(machine.folder / command, machine.index), line)
        assert (code, err.splitlines()[0]) == (2, "error: The folder that this is run in has gone")


def test_few_open_files(machine: Machine) -> None:
    code, err = _shell(machine, "ulimit -n 8; envkit lock --upgrade")
    assert code == 4
    assert "too many open files" in err.lower()
    assert "ulimit" in err
    assert "Traceback" not in err
