"""What `envkit gpu` shows, and how long a lease lives."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.nvml import FakeGpu, Nvml, gpus, uuid
from tests.support.projects import Project
from tests.support.waiting import wait

LIMIT = 60


def listed(project: Project) -> list[Any]:
    found: list[Any] = project.succeed("gpu", "--json").json["gpus"]
    return found


def states(project: Project) -> list[str]:
    return [one["state"] for one in listed(project)]


@contextlib.contextmanager
def running(project: Project, *command: str, gpus: int = 1) -> Iterator["subprocess.Popen[bytes]"]:
    """Lend a command that has GPUs, and that is killed in the end with all that it started."""
    before = states(project).count("free")
    started = subprocess.Popen(
        [sys.executable, "-m", "envkit", "run", "--gpus", str(gpus), "--", *command],
        cwd=project.root,
        env=project.machine.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        wait(lambda: states(project).count("free") == before - gpus, "it has them")
        yield started
    finally:
        # Where it has ended with all that it started there is nobody left to be killed.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.communicate()


def test_a_list(project: Project, driver: Nvml) -> None:
    mine = os.getpid()
    first, second, third, fourth = gpus(4)
    driver.says(
        [
            first,
            FakeGpu(uuid=second.uuid, bus=second.bus, used=5000, processes={mine: 4000, 10**6: 9}),
            FakeGpu(uuid=third.uuid, bus=third.bus, state="lost"),
            FakeGpu(uuid=fourth.uuid, bus=fourth.bus, total=81920, used=4096, busy=97),
        ]
    )
    with running(project, "sleep", "60") as holder:
        found = listed(project)
        assert [one["state"] for one in found] == [
            *("held but idle", "in use, no lease", "lost", "free"),
        ]
        has = found[0]["holder"]
        assert (has["pid"], has["command"], has["project"]) == (
            *(holder.pid, "sleep 60", str(project.root)),
        )
        assert abs(has["since"] - time.time()) < LIMIT
        ours, strange = found[1]["processes"]
        assert (ours["pid"], ours["is_leased"], ours["memory"]) == (mine, False, 4000 << 20)
        assert "python" in ours["command"]
        assert (strange["user"], strange["command"]) == ("", "")
        load = [found[3][name] for name in ("utilisation", "memory_used", "memory_total")]
        assert load == [97, 4 << 30, 80 << 30]
        text = project.succeed("gpu").out
        assert "held but idle" in text
        assert re.search(rf"sleep 60 in {project.root}, pid {holder.pid}, \d+ s", text)
        assert re.search(r"3 +free +4\.0 of 80\.0 GiB +97 %", text)
        assert f"pid {mine}" in text
        assert "in use, no lease" in text
        assert "GPU is lost" in text
        # What computes on the GPU that it has works for it.
        driver.says([FakeGpu(uuid=first.uuid, bus=first.bus, processes={holder.pid: 1})])
        (one,) = listed(project)
        assert (one["state"], one["processes"][0]["is_leased"]) == ("held", True)


def test_memory_in_use_without_a_process_is_work_too(project: Project, driver: Nvml) -> None:
    first, second = gpus(2)
    driver.says([FakeGpu(uuid=first.uuid, bus=first.bus, total=1000, used=251), second])
    assert states(project) == ["in use, no lease", "free"]
    result = project.succeed("run", "--gpus", "1", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES")
    assert result.out == "1\n"
    driver.says([FakeGpu(uuid=first.uuid, bus=first.bus, total=1000, used=250), second])
    assert states(project) == ["free", "free"]


def test_the_server_that_shares_a_gpu_does_not_compute(project: Project, driver: Nvml) -> None:
    name = "nvidia-cuda-mps-server"
    with subprocess.Popen([name, "60"], executable="/bin/sleep") as server:
        (first,) = gpus(1)
        driver.says([FakeGpu(uuid=first.uuid, bus=first.bus, processes={server.pid: 1})])
        assert states(project) == ["free"]
        project.succeed("run", "--gpus", "1", "true")
        server.kill()


def test_one_file_that_cannot_be_opened_hides_one_gpu(project: Project, leases: Path) -> None:
    os.mkfifo(leases / uuid(1))
    assert states(project) == ["free", "unknown", "free", "free"]
    assert f"{leases / uuid(1)}: not a plain file" in project.succeed("gpu").err


def test_letters_that_a_terminal_does_not_have(project: Project) -> None:
    with running(project, "sh", "-c", f"sleep 60; echo {'x' * 100}"):
        for options in ((), ("--json",)):
            result = project.succeed("gpu", *options, env={"PYTHONIOENCODING": "latin-1"})
            assert "\\u2026" in result.out


def test_a_private_folder_is_not_the_machines(project: Project, leases: Path) -> None:
    leases.chmod(0o700)
    assert project.succeed("gpu", "--json").json["leases"] == "your own"
    leases.chmod(0o3770)
    assert project.succeed("gpu", "--json").json["leases"] == "the machine's"


def test_no_driver(project: Project) -> None:
    nowhere = {"LD_LIBRARY_PATH": ""}
    assert project.succeed("gpu", env=nowhere).out.startswith("No GPUs: There is no NVIDIA driver")
    found = project.succeed("gpu", "--json", env=nowhere).json
    assert (found["driver"], found["gpus"]) == (None, [])


def test_no_gpus(project: Project, driver: Nvml) -> None:
    driver.says([])
    assert "The driver tells of no GPUs." in project.succeed("gpu").out


def test_outside_of_a_project(project: Project) -> None:
    here = project.machine.folder / "elsewhere"
    here.mkdir()
    result = project.call([sys.executable, "-m", "envkit", "-C", str(here), "gpu"])
    assert result.code == 2  # there is no such option
    result = project.call(["sh", "-c", f"cd {here} && {sys.executable} -m envkit gpu"])
    assert (result.code, result.err) == (0, "")


def test_leases_that_cannot_be_read_do_not_hide_the_gpus(project: Project) -> None:
    nowhere = {"ENVKIT_GPU_LEASES": "/nonexistent"}
    result = project.succeed("gpu", env=nowhere)
    assert "Stand-In" in result.out
    assert "Nothing is known of leases: /nonexistent: there is no such folder" in result.err


def test_watching_needs_a_terminal(project: Project) -> None:
    assert project.envkit("gpu", "--watch").code == 2
    assert project.envkit("gpu", "--watch", "--json").code == 2


def test_watching_lets_go_of_the_terminal_while_it_is_stopped(project: Project) -> None:
    ours, theirs = os.openpty()
    enter, leave = b"\x1b[?1049h\x1b[?25l", b"\x1b[?25h\x1b[?1049l"
    shown = b""

    def shows(text: bytes) -> bool:
        nonlocal shown
        shown += os.read(ours, 1 << 16)
        return text in shown

    with subprocess.Popen(
        [sys.executable, "-m", "envkit", "gpu", "--watch"],
        cwd=project.root,
        env={**project.machine.environ, "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as watching:
        os.close(theirs)
        wait(lambda: shows(b"Stand-In"), "it is there")
        watching.send_signal(signal.SIGTSTP)
        wait(lambda: shows(leave), "it lets go of the terminal")
        stat = Path(f"/proc/{watching.pid}/stat")
        wait(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "it is stopped")
        shown = b""
        watching.send_signal(signal.SIGCONT)
        wait(lambda: shows(enter), "it is there again")
        watching.send_signal(signal.SIGINT)
        wait(lambda: shows(leave), "it lets go of the terminal")
        assert watching.wait() == 0
    os.close(ours)


def test_watching(project: Project) -> None:
    command = f"{sys.executable} -m envkit gpu --watch"
    with subprocess.Popen(
        ["/usr/bin/script", "--quiet", "--flush", "--command", command, "/dev/null"],
        cwd=project.root,
        env={**project.machine.environ, "TERM": "xterm"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as watching:
        assert watching.stdout
        assert watching.stdin
        shown = b""
        with running(project, "sleep", "60"):
            while b"held but idle" not in shown:
                shown += os.read(watching.stdout.fileno(), 4096)
        while b"free" not in shown.rpartition(b"held")[2]:
            shown += os.read(watching.stdout.fileno(), 4096)
        watching.stdin.write(b"\x03")
        watching.stdin.close()
        rest = watching.stdout.read()
        assert b"\x1b[?1049l" in rest  # the terminal's own screen is back
        assert watching.wait(LIMIT) == 0


def test_a_refusal_says_who_has_them(project: Project) -> None:
    with running(project, "sleep", "60", gpus=4):
        result = project.envkit("run", "--gpus", "1", "--", "true")
    assert result.code == 3
    assert "no GPU free; 0,1,2,3: root (sleep 60, " in result.err
    assert "--wait" in result.err


def test_waiting_in_turn(project: Project) -> None:
    with running(project, "sleep", "60", gpus=4) as holder:
        waiting = subprocess.Popen(
            [*(sys.executable, "-m", "envkit", "run", "--gpus", "1", "--wait", "1h"), "echo", "in"],
            cwd=project.root,
            env=project.machine.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        wait(lambda: project.succeed("gpu", "--json").json["waiting"], "somebody waits")
        (one,) = project.succeed("gpu", "--json").json["waiting"]
        assert (one["pid"], one["wanted"]) == (waiting.pid, 1)
        assert "1. in the queue for 1 GPU: root: " in project.succeed("gpu").out
        holder.kill()
        out, err = waiting.communicate(timeout=LIMIT)
        assert (waiting.returncode, out) == (0, b"in\n")
        assert b"Waiting for 1 GPU: no GPU free; 0,1,2,3: root (sleep 60" in err


def test_waiting_in_vain(project: Project) -> None:
    with running(project, "sleep", "60", gpus=4):
        result = project.envkit("run", "--gpus", "1", "--wait", "1s", "--", "true")
    assert result.code == 3
    assert "--wait is 1s." in result.err


def test_waiting_can_be_interrupted(project: Project) -> None:
    with running(project, "sleep", "60", gpus=4):

        def when() -> None:
            wait(lambda: project.succeed("gpu", "--json").json["waiting"], "somebody waits")

        arguments = ("run", "--gpus", "1", "--wait", "1h", "--", "true")
        assert project.stopped(*arguments, when=when, number=signal.SIGINT).code == 130
        assert project.succeed("gpu", "--json").json["waiting"] == []


def test_somebodys_unleased_work_is_passed_over(project: Project, driver: Nvml) -> None:
    first, second = gpus(2)
    driver.says([FakeGpu(uuid=first.uuid, bus=first.bus, processes={1: 1}), second])
    command = ("run", "--gpus", "1", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES")
    assert project.succeed(*command).out == "1\n"
    result = project.envkit("run", "--gpus", "2", "--", "true")
    assert "1 of 2 GPUs free; 0: in use by " in result.err


def test_the_settings_say_how_long_it_is_waited(project: Project) -> None:
    project.root.joinpath("envkit.toml").write_text('[gpu]\ncount = 4\nwait = "0.6s"\n')
    project.install()
    with running(project, "sleep", "60"):
        result = project.envkit("run", "--", "true")
        assert result.code == 3
        assert "Waiting for 4 GPUs" in result.err
        assert "gpu.wait is 0.6s" in result.err


def test_on_a_terminal_what_is_waited_for_is_drawn(project: Project) -> None:
    with running(project, "sleep", "60", gpus=4):
        command = f"{sys.executable} -m envkit run --gpus 1 --wait 1s -- true"
        done = subprocess.run(
            ["/usr/bin/script", "--quiet", "--return", "--command", command, "/dev/null"],
            cwd=project.root,
            env={**project.machine.environ, "TERM": "xterm"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 3
        assert "\x1b[2KWaiting for 1 GPU, 0 s: no GPU free" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_lease_ends_with_the_command(project: Project, number: signal.Signals) -> None:
    with running(project, "sleep", "60") as holder:
        holder.send_signal(number)
        holder.wait()
        assert states(project) == ["free"] * 4


def test_a_wrapper_is_killed_while_its_child_computes(project: Project) -> None:
    with running(project, "sh", "-c", "sleep 60 & echo $!; wait") as wrapper:
        assert wrapper.stdout
        child = int(wrapper.stdout.readline())
        wrapper.kill()
        wrapper.wait()
        found = listed(project)
        assert (found[0]["state"], found[0]["holder"]["program"]) == ("held but idle", "sh")
        os.kill(child, signal.SIGKILL)
        wait(lambda: states(project) == ["free"] * 4, "it is free")


def test_a_forked_grandchild_keeps_it(project: Project) -> None:
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    if os.fork() == 0:\n"
        "        os.setsid(); print(os.getpid(), flush=True); time.sleep(60)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    with running(project, "python", "-c", code) as parent:
        assert parent.stdout
        grandchild = int(parent.stdout.readline())
        parent.wait()
        assert listed(project)[0]["uuid"] == uuid(0)
        assert states(project)[0] == "held but idle"
        os.kill(grandchild, signal.SIGKILL)
        wait(lambda: states(project) == ["free"] * 4, "it is free")
