"""Commands on a real Slurm cluster: `envkit run --on slurm`."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from envkit.slurm import Job
from tests.gpu.test_doors import configure
from tests.support.makes import UnavailableError
from tests.support.projects import Project
from tests.support.slurm import Slurm
from tests.support.waiting import wait

LIMIT = 60
WHERE = 'printf \'%s %s %s\\n\' "$SLURMD_NODENAME" "${CUDA_VISIBLE_DEVICES-all}" "$VIRTUAL_ENV"'


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    """A cluster of two nodes with two GPUs each."""
    try:
        cluster = Slurm()
    except UnavailableError as reason:
        if os.environ.get("CI"):
            pytest.fail(str(reason))
        pytest.skip(str(reason))
    with cluster:
        yield cluster


@pytest.fixture
def here(project: Project, slurm: Slurm) -> Project:
    """A project whose machine is the cluster's."""
    project.machine.environ |= slurm.environ
    return project


def test_a_command_on_a_node(here: Project, slurm: Slurm) -> None:
    result = here.envkit(
        "run", "--on", "slurm", "--gpus", "2", "--", "sh", "-c", f"{WHERE}; exit 7"
    )
    assert result.code == 7, result.text
    node, mask, environment = result.out.split()
    assert node in slurm.nodes
    assert (mask, environment) == ("0,1", str(here.venv))
    wait(lambda: slurm.jobs() == [], "it is no longer completing")


def test_arguments_stay_what_they_are(here: Project) -> None:
    code = "import sys; print(sys.argv[1:]); print('complaint', file=sys.stderr)"
    words = ("two words", "", "$HOME", "'", "--gpus")
    result = here.succeed("run", "--on", "slurm", "--", "python", "-c", code, *words)
    assert result.out == f"{list(words)}\n"
    assert "complaint\n" in result.err


def test_the_environment_is_made_there(here: Project) -> None:
    # It is the lock's, whatever was installed here before.
    here.lock("alpha-1.1")
    code = "import alpha; print(alpha.__version__)"
    assert here.succeed("run", "--on", "slurm", "--", "python", "-c", code).out == "1.1\n"


def test_the_settings_say_how_many(here: Project) -> None:
    here.root.joinpath("envkit.toml").write_text("[gpu]\ncount = 1\n")
    result = here.succeed("run", "--on", "slurm", "--", "sh", "-c", WHERE)
    assert result.out.split()[1] == "0"
    result = here.succeed("run", "--on", "slurm", "--gpus", "0", "--", "sh", "-c", WHERE)
    assert result.out.split()[1:] == [str(here.venv)]
    here.root.joinpath("envkit.toml").write_text("[gpu]\ncount = 0\n")
    result = here.succeed("run", "--on", "slurm", "--", "sh", "-c", WHERE)
    assert result.out.split()[1:] == [str(here.venv)]
    # Which GPUs these are is known on this machine only.
    here.root.joinpath("envkit.toml").write_text("[gpu]\ndevices = [0]\n")
    result = here.envkit("run", "--on", "slurm", "--", "true")
    assert result.code == 2
    assert "--gpus 2" in result.err


def test_a_job_without_gpus_sees_none_in_a_project_that_leases_them(here: Project) -> None:
    # The nodes hide nothing from it by themselves.
    configure(here, "count = 1")
    show = "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES', 'all'))"
    command = ["srun", "--ntasks=1"]
    for inner in (
        [f"{here.venv}/bin/python", "-c", show],
        ["sh", "-c", f'. {here.venv}/bin/activate; echo "${{CUDA_VISIBLE_DEVICES-all}}"'],
        [sys.executable, "-m", "envkit", "run", "--", "python", "-c", show],
    ):
        assert here.call([*command, *inner]).out == "\n"
        assert here.call([*command, "--gpus=1", *inner]).out == "0\n"
    refused = here.call([*command, sys.executable, "-m", "envkit", "run", "--gpus", "1", "true"])
    assert "Slurm gave this job none" in refused.err


def test_what_is_set_on_this_machine_stays_here(here: Project) -> None:
    names = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ENVKIT_GPU_LEASE")
    code = f"import os; print(*(os.environ.get(name) for name in {names}))"
    words = ("run", "--on", "slurm", "--gpus", "1", "--", "python", "-c", code)
    assert here.succeed(*words, env=dict.fromkeys(names, "3")).out == "0 None None\n"


def test_groups_that_are_installed_stay(here: Project) -> None:
    here.lock("beta-1.0", group="dev")
    here.succeed("install", "--group", "dev")
    code = "import alpha, beta; print('both')"
    assert here.succeed("run", "--on", "slurm", "--", "python", "-c", code).out == "both\n"
    assert here.python(code) == "both\n"


def test_a_lock_that_changes_while_a_job_waits(here: Project, slurm: Slurm) -> None:
    begin = ("--slurm-option", "--begin=now+3")
    result = here.succeed("run", "--on", "slurm", "--detach", *begin, "--", "echo", "ran")
    here.lock("alpha-1.1")
    output = here.root / f"slurm-{result.out.strip()}.out"
    wait(lambda: slurm.jobs() == [] and output.exists(), "it has ended")
    assert output.read_text() == "error: the lock has changed since this job was submitted\n"
    assert "ExitCode=2:0" in slurm.ask("scontrol", "show", "job", result.out.strip())


def test_what_is_no_option_of_slurm(here: Project) -> None:
    result = here.envkit("run", "--on", "slurm", "--slurm-option", "long", "--", "true")
    assert result.code == 2
    assert "--slurm-option=--partition=long" in result.err


def test_where_its_output_goes(here: Project, slurm: Slurm) -> None:
    words = ("run", "--on", "slurm", "--detach", "--slurm-option=--output=own.log", "--", "true")
    assert "its output" not in here.succeed(*words).err
    wait(lambda: slurm.jobs() == [], "it has ended")


def test_two_jobs_share_a_node(here: Project, slurm: Slurm) -> None:
    started = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "envkit", "run", "--on", "slurm", "--gpus", "1"),
                *("--slurm-option", f"--nodelist={slurm.nodes[0]}", "--slurm-option", "--mem=100"),
                *("sh", "-c", f"{WHERE}; sleep 1"),
            ],
            cwd=here.root,
            env=here.machine.environ,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        for _ in range(2)
    ]
    lines = [one.communicate(timeout=LIMIT)[0].split() for one in started]
    assert [one.returncode for one in started] == [0, 0]
    assert sorted(line[1] for line in lines) == ["0", "1"]


def test_more_than_any_node_has(here: Project) -> None:
    result = here.envkit("run", "--on", "slurm", "--gpus", "9", "--", "true")
    assert result.code == 1
    assert "Requested node configuration is not available" in result.err


def test_what_cannot_be_said_to_slurm(here: Project) -> None:
    for options in (("--gpus", "all"), ("--devices", "0")):
        result = here.envkit("run", "--on", "slurm", *options, "--", "true")
        assert result.code == 2
        assert "Slurm chooses the node" in result.err
    assert here.envkit("run", "--on", "slurm", "--image", "true").code == 2
    assert here.envkit("run", "--detach", "true").code == 2
    assert here.envkit("run", "--on", "kubernetes", "true").code == 2


def test_a_lock_that_cannot_be_installed(here: Project) -> None:
    (here.root / "requirements.in").write_text("other\n")
    result = here.envkit("run", "--on", "slurm", "--", "echo", "ran")
    assert (result.code, result.out) == (2, "")
    assert "requirements.txt" in result.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_cancels_it(here: Project, slurm: Slurm, number: signal.Signals) -> None:
    ready = here.root / "ready"

    def when() -> None:
        wait(ready.exists, "it runs")

    command = ("sh", "-c", f"touch {ready}; exec sleep 60")
    begun = time.monotonic()
    result = here.stopped("run", "--on", "slurm", "--", *command, when=when, number=number)
    assert result.code != 0
    wait(lambda: slurm.jobs() == [], "it is cancelled")
    assert time.monotonic() - begun < LIMIT / 2


def test_submitted_only(here: Project, slurm: Slurm) -> None:
    command = ("sh", "-c", f"{WHERE}; exit 3")
    result = here.succeed("run", "--on", "slurm", "--detach", "--gpus", "1", "--", *command)
    number = result.out.strip()
    assert number.isdecimal()
    assert f"slurm-{number}.out" in result.err
    output = here.root / f"slurm-{number}.out"
    wait(lambda: slurm.jobs() == [] and output.exists(), "it has ended")
    assert output.read_text().split()[1:] == ["0", str(here.venv)]
    assert "ExitCode=3:0" in slurm.ask("scontrol", "show", "job", number)


def test_a_submission_that_is_refused(here: Project) -> None:
    result = here.envkit("run", "--on", "slurm", "--detach", "--gpus", "9", "--", "true")
    assert result.code == 4
    assert "Slurm did not take the job" in result.err
    assert "Requested node configuration is not available" in result.err


@pytest.mark.parametrize("detach", [(), ("--detach",)])
def test_no_slurm(project: Project, tmp_path: Path, detach: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "envkit", "run", "--on", "slurm", *detach, "--", "true"]
    result = project.call(command, env={"PATH": str(tmp_path)})
    assert result.code == 3
    assert "There is no Slurm here" in result.err


def test_what_slurm_is_told() -> None:
    job = Job(
        command=["python", "a b.py"],
        envkit=["py", "-m", "envkit"],
        name="train",
        gpus=2,
        locks={"/p/requirements.txt": "abc", "/p/requirements-dev.txt": "def"},
        groups=["--group", "dev"],
        options=["--partition=long"],
    )
    assert job.attached()[:7] == [
        *("srun", "--quit-on-interrupt", "--job-name=train", "--nodes=1", "--ntasks=1"),
        *("--gpus=2", "--partition=long"),
    ]
    command, script = job.detached()
    assert command == [
        *("sbatch", "--parsable", "--job-name=train", "--nodes=1", "--ntasks=1", "--gpus=2"),
        "--partition=long",
    ]
    assert "set -- python 'a b.py'\n" in script
    assert "echo 'abc  /p/requirements.txt\ndef  /p/requirements-dev.txt' | sha256sum" in script
    assert "install --group dev && exec py -m envkit run -- " in script
    assert "envkit run --gpus 0 -- " in job._replace(gpus=0).detached()[1]
