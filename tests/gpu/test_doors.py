"""Every way of starting a process obeys the project's settings, and nothing that is set by hand."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping

import pytest

from envkit.gpu import masks
from tests.support.nvml import uuid
from tests.support.projects import Project

NAMES = (*masks.MASKS, masks.ORDER, "TF_FORCE_GPU_ALLOW_GROWTH", "ENVKIT_GPU_LEASE")
SHOW = (
    "import json, os; "
    f"print(json.dumps({{n: os.environ[n] for n in {NAMES!r} if n in os.environ}}))"
)
NOTHING = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": "-1"}
ORDER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def configure(project: Project, settings: str) -> None:
    """Let the project say something of GPUs, and obey it from now on."""
    project.root.joinpath("envkit.toml").write_text(f"[gpu]\n{settings}\n")
    project.install()


def run(project: Project, *options: str, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables that a command sees which is run with options."""
    result = project.succeed("run", *options, "--", "python", "-c", SHOW, env=env)
    return {str(name): str(value) for name, value in result.json.items()}


def bare(project: Project, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables that the environment's Python sees when it is started as it is."""
    result = project.call([str(project.venv / "bin" / "python"), "-c", SHOW], env=env)
    assert result.code == 0, result.text
    return {str(name): str(value) for name, value in result.json.items()}


def activated(
    project: Project, shell: str = "sh", env: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the variables that a program sees in a shell in which the environment is active."""
    suffix = {"fish": ".fish", "csh": ".csh"}.get(shell, "")
    # Not the environment's own Python, which obeys the settings by itself.
    text = f'. "{project.venv}/bin/activate{suffix}"\n{sys.executable} -I -c "{SHOW}"\n'
    text = text.replace(". ", "source ", 1) if shell == "csh" else text
    result = project.call([shell, "-c", text], env=env)
    assert result.code == 0, result.text
    return {str(name): str(value) for name, value in result.json.items()}


def leased(result: Mapping[str, str]) -> list[str]:
    return result["ENVKIT_GPU_LEASE"].split(",")


def test_without_settings_nothing_is_said(project: Project) -> None:
    assert run(project) == bare(project) == activated(project) == {}
    assert not list(project.site.glob("*envkit*"))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("count = 0", NOTHING),
        ("devices = []", NOTHING),
        ("devices = [2, 1]", {"CUDA_VISIBLE_DEVICES": "2,1", "HIP_VISIBLE_DEVICES": "2,1"}),
        ('order = "FASTEST_FIRST"', {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}),
        ("memory_growth = true", {"TF_FORCE_GPU_ALLOW_GROWTH": "true"}),
    ],
)
def test_all_doors_say_the_same(
    project: Project, settings: str, expected: Mapping[str, str]
) -> None:
    configure(project, settings)
    assert run(project) == bare(project) == activated(project) == {**ORDER, **expected}


def test_uuids_are_said_as_indices_where_the_driver_is_asked(project: Project) -> None:
    configure(project, f'devices = ["{uuid(3)}", "GPU-00000001"]')
    assert run(project)["CUDA_VISIBLE_DEVICES"] == "3,1"
    assert bare(project)["CUDA_VISIBLE_DEVICES"] == f"{uuid(3)},GPU-00000001"


def test_with_a_count_whoever_has_no_lease_sees_none(project: Project) -> None:
    configure(project, "count = 2")
    assert bare(project) == activated(project) == {**NOTHING, **ORDER}
    found = run(project)
    assert leased(found) == [uuid(0), uuid(1)]
    assert found["CUDA_VISIBLE_DEVICES"] == found["HIP_VISIBLE_DEVICES"] == "0,1"


@pytest.mark.parametrize("mask", ["", "1", "-1"])
@pytest.mark.parametrize("settings", ["count = 0", "devices = [2]"])
def test_what_is_set_by_hand_stays(project: Project, mask: str, settings: str) -> None:
    configure(project, settings)
    by_hand = {"CUDA_VISIBLE_DEVICES": mask}
    for found in (
        run(project, env=by_hand),
        bare(project, by_hand),
        activated(project, env=by_hand),
    ):
        assert found == {**by_hand, **ORDER}


def test_a_lease_is_of_what_is_visible_by_hand(project: Project) -> None:
    configure(project, "count = 1")
    assert leased(run(project, env={"CUDA_VISIBLE_DEVICES": "3,2"})) == [uuid(3)]
    assert leased(run(project, "--gpus", "all", env={"CUDA_VISIBLE_DEVICES": "3,2"})) == [
        uuid(3),
        uuid(2),
    ]
    result = project.envkit("run", "--gpus", "1", "--", "true", env={"CUDA_VISIBLE_DEVICES": ""})
    assert result.code == 3
    assert "1 GPU wanted, but 0 of this machine's 4 can be had" in result.err


@pytest.mark.parametrize("mask", ["", "-1"])
def test_who_hides_all_by_hand_is_given_none(project: Project, mask: str) -> None:
    configure(project, "count = 1")
    by_hand = {"CUDA_VISIBLE_DEVICES": mask}
    result = project.succeed("run", "--", "python", "-c", SHOW, env=by_hand)
    assert result.json == {**by_hand, **ORDER}
    assert "none is taken on lease" in result.err


def test_what_is_set_by_hand_for_rocm_stays(project: Project) -> None:
    configure(project, "count = 1\nmemory_growth = true")
    by_hand = {"HIP_VISIBLE_DEVICES": "3", "TF_FORCE_GPU_ALLOW_GROWTH": "false"}
    found = run(project, env=by_hand)
    assert found["CUDA_VISIBLE_DEVICES"] == "0"
    assert found.items() >= by_hand.items()
    found = bare(project, by_hand)
    assert found["CUDA_VISIBLE_DEVICES"] == ""
    assert found.items() >= by_hand.items()


@pytest.mark.parametrize("settings", [f'devices = ["{uuid(2)}"]', "devices = [2]", "count = 1"])
def test_an_order_that_is_set_by_hand(project: Project, settings: str) -> None:
    configure(project, settings)
    found = run(project, env={"CUDA_DEVICE_ORDER": "FASTEST_FIRST"})
    mask, order = found["CUDA_VISIBLE_DEVICES"], found["CUDA_DEVICE_ORDER"]
    # Numbers come with the order that they count in; names are right in any.
    assert (mask.isdecimal(), order) in ((True, "PCI_BUS_ID"), (False, "FASTEST_FIRST"))


def test_a_schedulers_mask_is_respected_and_no_lease_taken(project: Project) -> None:
    configure(project, "count = 2")
    job = {"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "3"}
    result = project.envkit("run", "--gpus", "2", "--", "true", env=job)
    assert (result.code, "Slurm gave this job 1" in result.err) == (2, True)
    assert run(project, "--gpus", "0", env=job) == {**NOTHING, **ORDER}
    for found in (run(project, env=job), run(project, "--gpus", "1", env=job), bare(project, job)):
        assert found == {"CUDA_VISIBLE_DEVICES": "3", **ORDER}
    # What it has given is hidden in other ways; where it has given none, the settings hide them.
    assert bare(project, {"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "0"}) == ORDER
    for found in (bare(project, {"SLURM_JOB_ID": "7"}), run(project, env={"SLURM_JOB_ID": "7"})):
        assert found == {**NOTHING, **ORDER}
    result = project.envkit("run", "--gpus", "1", "--", "true", env={"SLURM_JOB_ID": "7"})
    assert (result.code, "Slurm gave this job none" in result.err) == (2, True)


def test_the_command_line_stands_above_all(project: Project) -> None:
    configure(project, "count = 2")
    by_hand = {"CUDA_VISIBLE_DEVICES": "1"}
    assert run(project, "--gpus", "0", env=by_hand) == {**NOTHING, **ORDER}
    assert leased(run(project, "--gpus", "1", "--devices", "3,2")) == [uuid(3)]
    assert leased(run(project, "--devices", "3,2", env=by_hand)) == [uuid(3), uuid(2)]
    configure(project, "devices = [0]")
    assert run(project, "--devices", "2", env=by_hand)["CUDA_VISIBLE_DEVICES"] == "2"
    configure(project, "count = 0")
    assert leased(run(project, "--devices", "2")) == [uuid(2)]
    result = project.envkit("run", "--devices", "9", "--", "true")
    assert (result.code, "There is no GPU 9 here" in result.err) == (2, True)


def test_other_settings_are_a_difference(project: Project) -> None:
    for settings in ("[gpu]\ncount = 1\n", "[gpu]\ncount = 2\n", ""):
        project.root.joinpath("envkit.toml").write_text(settings)
        assert project.envkit("install", "--check").code == 1
        assert project.envkit("status").code == 1
        project.install()
        assert project.envkit("install", "--check").code == 0
        assert project.envkit("status").code == 0
        assert project.envkit("verify", "--depth", "hashes").code == 0


def test_users_and_machines_files(project: Project) -> None:
    configure(project, "count = 1\ndevices = [1]\nmemory_growth = true")
    own = project.machine.folder / "home" / ".config" / "envkit" / "config.toml"
    own.parent.mkdir(parents=True)
    own.write_text("[gpu]\ndevices = [2]\nmemory_growth = false\n")
    found = run(project)
    assert (leased(found), found["TF_FORCE_GPU_ALLOW_GROWTH"]) == ([uuid(2)], "false")
    machine = project.machine.folder / "machine.toml"
    machine.write_text("[gpu]\ndevices = [3]\n")
    assert leased(run(project)) == [uuid(3)]
    shown = project.succeed("config", "--json").json
    assert shown["gpu.devices"] == {"value": ["3"], "source": f"{machine}: gpu.devices"}
    assert shown["gpu.memory_growth"]["source"] == f"{own}: gpu.memory_growth"
    assert shown["gpu.count"]["source"] == "envkit.toml: gpu.count"
    # What an environment has of them is out of date now, and says so, until it is installed.
    assert bare(project)["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    project.install()
    assert bare(project)["TF_FORCE_GPU_ALLOW_GROWTH"] == "false"


@pytest.mark.parametrize("text", ["[image]\n", 'python = "3.12"\n', "gpu = 1\n", "[gpu]\nx = 1\n"])
def test_other_things_are_not_a_machines_to_say(project: Project, text: str) -> None:
    machine = project.machine.folder / "machine.toml"
    machine.write_text(text)
    result = project.envkit("config")
    assert result.code == 2
    assert str(machine) in result.err


def test_where_leases_are_is_not_a_projects_to_say(project: Project) -> None:
    project.root.joinpath("envkit.toml").write_text('[gpu]\nleases = "/tmp"\n')
    assert project.envkit("config").code == 2


def test_without_a_driver(project: Project) -> None:
    configure(project, "count = 1")
    nowhere = {"LD_LIBRARY_PATH": ""}
    result = project.succeed("run", "--", "python", "-c", SHOW, env=nowhere)
    assert result.json == {**NOTHING, **ORDER}
    assert "There is no NVIDIA driver here" in result.err
    assert "running without GPUs" in result.err
    result = project.envkit("run", "--gpus", "1", "--", "true", env=nowhere)
    assert result.code == 3
    assert "There is no NVIDIA driver here" in result.err


def test_more_than_there_are(project: Project) -> None:
    result = project.envkit("run", "--gpus", "5", "--", "true")
    assert result.code == 3
    assert "5 GPUs wanted, but 4 of this machine's 4 can be had" in result.err


def test_a_device_that_is_not_there(project: Project) -> None:
    configure(project, "count = 1\ndevices = [7]")
    result = project.envkit("run", "--", "true")
    assert result.code == 2
    assert "There is no GPU 7 here" in result.err
    assert "0, 1, 2, 3" in result.err


def test_a_device_that_is_named_twice(project: Project) -> None:
    configure(project, f'count = 2\ndevices = ["GPU-00000002", "{uuid(2)}"]')
    result = project.envkit("run", "--", "true")
    assert (result.code, "named already" in result.err) == (2, True)


@pytest.mark.parametrize(
    "options",
    [
        *(("--gpus", "x"), ("--gpus", "-1"), ("--gpus", "9" * 5000), ("--gpu", "1")),
        *(("--devices", "0,GPU-1"), ("--devices", "GPU-1,MIG-1"), ("--devices", "9" * 5000)),
        *(("--wait", "soon"), ("--wait", "1e308d"), ("--wait", "1h")),
    ],
)
def test_options_that_mean_nothing(project: Project, options: tuple[str, str]) -> None:
    assert project.envkit("run", *options, "--", "true").code == 2


def test_within_a_lease_no_other_is_taken(project: Project) -> None:
    configure(project, "count = 2")
    inner = f"{sys.executable} -m envkit run -- python -c '{SHOW.replace(chr(39), chr(34))}'"
    result = project.succeed("run", "--", "sh", "-c", inner)
    assert leased(result.json) == [uuid(0), uuid(1)]


def test_within_a_lease_of_a_program_that_hands_on_no_files(project: Project) -> None:
    inner = [sys.executable, "-m", "envkit", "run", "--", "python", "-c", SHOW]
    code = f"import subprocess; subprocess.run({inner!r}, check=True)"
    result = project.succeed("run", "--gpus", "2", "--", "python", "-c", code)
    assert leased(result.json) == [uuid(0), uuid(1)]


def test_a_lease_that_is_only_said_to_be_there(project: Project) -> None:
    configure(project, "count = 1")
    said = {
        **{"ENVKIT_GPU_LEASE": uuid(3), "ENVKIT_GPU_ENVIRONMENT": str(project.venv)},
        **{"CUDA_VISIBLE_DEVICES": "3", "_ENVKIT_SET_CUDA_VISIBLE_DEVICES": "3"},
    }
    assert leased(run(project, env=said)) == [uuid(0)]
    assert leased(run(project, env={**said, "CUDA_VISIBLE_DEVICES": "2"})) == [uuid(2)]
    # Somebody else has it by now.
    other = [sys.executable, "-m", "envkit", "run", "--devices", "3", "--", "sh", "-c"]
    with subprocess.Popen(
        [*other, "echo ready; read -r _"],
        cwd=project.root,
        env=project.machine.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout
        assert holder.stdin
        assert holder.stdout.readline() == b"ready\n"
        assert leased(run(project, env=said)) == [uuid(0)]
        holder.stdin.close()


def test_the_terminal_is_the_commands(project: Project) -> None:
    command = f"{sys.executable} -m envkit run --gpus 1 -- python -c"
    code = "import sys; print([s.isatty() for s in (sys.stdin, sys.stdout, sys.stderr)])"
    done = subprocess.run(
        ["/usr/bin/script", "-qec", f"{command} '{code}'", "/dev/null"],
        cwd=project.root,
        env=project.machine.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[True, True, True]")


def test_envkit_in_the_environment_itself(project: Project) -> None:
    # Python's own start hides all GPUs from it, which is not anybody's will.
    configure(project, "count = 1")
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    environ = project.call([str(project.venv / "bin" / "python"), "-c", code]).json
    assert environ["CUDA_VISIBLE_DEVICES"] == ""
    assert leased(run(project, env=environ)) == [uuid(0)]
    # What was changed by hand since is.
    by_hand = {**environ, "CUDA_VISIBLE_DEVICES": "2"}
    assert leased(run(project, env=by_hand)) == [uuid(2)]


def test_the_exit_code_and_signals_are_the_commands(project: Project) -> None:
    assert project.envkit("run", "--gpus", "1", "--", "sh", "-c", "exit 7").code == 7
    code = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    assert project.envkit("run", "--gpus", "1", "--", "python", "-c", code).code == -15


def test_standard_input_is_the_commands(project: Project) -> None:
    command = f"echo typed | {sys.executable} -m envkit run --gpus 1 -- cat"
    assert project.call(["sh", "-c", command]).out == "typed\n"


def test_a_signal_reaches_the_command(project: Project) -> None:
    ready = project.root / "ready"
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))\n"
        f"open({str(ready)!r}, 'w').close()\n"
        "time.sleep(60)\n"
    )

    def when() -> None:
        while not ready.exists():
            os.sched_yield()

    arguments = ("run", "--gpus", "1", "--", "python", "-c", code)
    result = project.stopped(*arguments, when=when, number=signal.SIGTERM)
    assert result.code == 9
