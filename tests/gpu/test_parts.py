"""Parts of a lease, for what is run within it."""

import os
import signal
import subprocess
import sys

from tests.support.nvml import FakeGpu, Nvml, gpus, uuid
from tests.support.projects import Project
from tests.support.waiting import wait

ENVKIT = f"{sys.executable} -m envkit"
SEEN = "echo $CUDA_VISIBLE_DEVICES $HIP_VISIBLE_DEVICES"
LIMIT = 60


def within(project: Project, text: str, number: int = 2) -> list[str]:
    """Return the lines that a shell prints which has GPUs on lease."""
    result = project.succeed("run", "--devices", "3,1,2", "--gpus", str(number), "sh", "-c", text)
    return result.out.splitlines()


def test_a_part_is_what_was_asked_for(project: Project) -> None:
    one, none = (f"{ENVKIT} run --gpus {number} -- sh -c '{SEEN}'" for number in (1, 0))
    assert within(project, f"{SEEN}; {one}; {none}") == ["3,1 3,1", "3 3", "-1"]
    assert within(project, f"{ENVKIT} run --devices 1 -- sh -c '{SEEN}'") == ["1 1"]


def test_several_share_it(project: Project) -> None:
    one = f"{ENVKIT} run --gpus 1 --wait 1m -- sh -c 'echo $CUDA_VISIBLE_DEVICES; sleep 1'"
    lines = within(project, f"{one} & {one} & {one} & {one} & wait")
    assert sorted(lines) == ["1", "1", "3", "3"]
    assert sorted(lines[:2]) == ["1", "3"]


def test_no_more_than_it_has(project: Project) -> None:
    code = f"{ENVKIT} run --gpus 3 -- true; echo $?; {ENVKIT} run --devices 0 -- true; echo $?"
    result = project.succeed("run", "--gpus", "2", "--devices", "3,1", "--", "sh", "-c", code)
    assert result.out == "3\n3\n"
    assert "this lease has 2" in result.err


def test_parts_of_parts(project: Project) -> None:
    inner = f"{ENVKIT} run --gpus 1 -- sh -c '{SEEN}'"
    text = f'{ENVKIT} run --gpus 2 -- sh -c "{inner.replace("$", chr(92) + "$")}; {inner}"'
    text = text.replace("; " + inner, "")
    assert within(project, text, 3) == ["3 3"]


def test_work_under_the_same_lease_is_no_stranger(project: Project, driver: Nvml) -> None:
    driver.says([FakeGpu(uuid=one.uuid, bus=one.bus) for one in gpus(4)])
    command = [sys.executable, "-m", "envkit", "run", "--gpus", "2", "--", "sh"]
    with subprocess.Popen(
        command,
        cwd=project.root,
        env=project.machine.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as shell:
        assert shell.stdin
        assert shell.stdout
        shell.stdin.write("echo ready\n")
        shell.stdin.flush()
        assert shell.stdout.readline() == "ready\n"
        busy = [FakeGpu(uuid=one.uuid, bus=one.bus, processes={shell.pid: 1}) for one in gpus(2)]
        driver.says(busy)
        shell.stdin.write(f"{ENVKIT} run --gpus 2 -- sh -c '{SEEN}'\n")
        shell.stdin.close()
        assert shell.stdout.readline() == "0,1 0,1\n"


def test_a_part_outlasts_the_lease(project: Project) -> None:
    # A program that hands on none of its open files, and is killed while the part computes.
    inner = [sys.executable, "-m", "envkit", "run", "--gpus", "1", "--", "sleep", "60"]
    code = f"import subprocess; p = subprocess.Popen({inner!r}); print(p.pid, flush=True); p.wait()"
    with subprocess.Popen(
        [sys.executable, "-m", "envkit", "run", "--gpus", "2", "--", "python", "-c", code],
        cwd=project.root,
        env=project.machine.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as launcher:
        assert launcher.stdout
        part = int(launcher.stdout.readline())

        def states() -> list[str]:
            return [one["state"] for one in project.succeed("gpu", "--json").json["gpus"]]

        def is_part() -> bool:
            with open(f"/proc/{part}/cmdline", encoding="utf-8") as file:
                return file.read().startswith("sleep")

        wait(is_part, "it computes")
        launcher.kill()
        launcher.wait()
        assert states() == ["held but idle", "free", "free", "free"]
        result = project.succeed("run", "--gpus", "1", "--", "sh", "-c", "echo $ENVKIT_GPU_LEASE")
        assert result.out == f"{uuid(1)}\n"
        os.kill(part, signal.SIGKILL)
        wait(lambda: states() == ["free"] * 4, "it is free")
