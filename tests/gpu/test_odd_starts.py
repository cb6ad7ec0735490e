"""Programs that are started in odd ways: with what is over, changed, closed or elsewhere."""

import json
import shutil
import signal
import sys
from pathlib import Path

import pytest

from tests.gpu.test_doors import NOTHING, ORDER, SHOW, bare, configure, leased, run
from tests.support.nvml import uuid
from tests.support.projects import Project


def test_a_lease_that_is_over_counts_for_nothing(project: Project, leases: Path) -> None:
    configure(project, "count = 1")
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    saved = project.succeed("run", "--", "python", "-c", code).json
    assert saved["CUDA_VISIBLE_DEVICES"] == "0"
    assert bare(project, saved) == {**NOTHING, **ORDER}
    assert leased(run(project, env=saved)) == [uuid(0)]
    # Where nothing can be known of it, it is believed, as in a sandbox of its own.
    for names in (
        {"ENVKIT_GPU_LEASE_FOLDER": str(leases / "absent")},
        {"ENVKIT_GPU_LEASE_FOLDER": ""},
    ):
        assert bare(project, {**saved, **names})["CUDA_VISIBLE_DEVICES"] == "0"


def test_a_program_that_was_not_given_the_files_has_the_lease(project: Project) -> None:
    configure(project, "count = 1")
    python = str(project.venv / "bin" / "python")
    inner = f"import os, subprocess; subprocess.run([{python!r}, '-c', os.environ['SHOW']])"
    found = project.succeed("run", "--", "python", "-c", inner, env={"SHOW": SHOW}).json
    assert found["CUDA_VISIBLE_DEVICES"] == "0"


def test_settings_that_were_changed_reach_what_is_active(project: Project) -> None:
    configure(project, "devices = [1]")
    python = project.venv / "bin" / "python"
    activate = f". {project.venv}/bin/activate"
    change = (
        f"printf '[gpu]\\ndevices = [3]\\n' > envkit.toml; {sys.executable} -m envkit -q install"
    )
    show = 'echo "$CUDA_VISIBLE_DEVICES"'
    text = f'{activate}; {show}; {change}; {python} -c "$SHOW"; {activate}; {show}'
    first, inside, last = project.call(["sh", "-c", text], env={"SHOW": SHOW}).out.splitlines()
    assert (first, json.loads(inside)["CUDA_VISIBLE_DEVICES"], last) == ("1", "3", "3")


def test_another_path_to_the_environment(project: Project) -> None:
    configure(project, "devices = [2]")
    link = project.machine.folder / "link"
    link.symlink_to(project.root)
    python = str(link / ".venv" / "bin" / "python")
    for options, expected in ((("--gpus", "0"), ""), (("--devices", "1"), "1")):
        found = project.succeed("run", *options, "--", python, "-c", SHOW).json
        assert found["CUDA_VISIBLE_DEVICES"] == expected


def test_a_program_that_is_not_there_is_not_waited_for(project: Project) -> None:
    for command in ("nosuch", "./nosuch"):
        result = project.envkit("run", "--gpus", "9", "--wait", "1h", "--", command)
        assert (result.code, f"{command}: no such command" in result.err) == (3, True)


def test_programs_heed_what_python_ignores(project: Project) -> None:
    for options in ((), ("--gpus", "1")):
        result = project.succeed("run", *options, "sh", "-c", "grep SigIgn /proc/self/status")
        # Bit by bit from signal 1 (proc(5), SigIgn); who starts the tests may ignore others.
        ignored = int(result.out.split()[1], 16)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            assert not ignored >> (number - 1) & 1


def test_closed_standard_files(project: Project, leases: Path) -> None:
    envkit = f"{sys.executable} -m envkit"
    text = f"{envkit} run --gpus 1 -- sh -c 'echo said; exec >/dev/null; {envkit} gpu --json >&3'"
    result = project.call(["sh", "-c", f"exec 3>&1; {text} <&- >&- 2>&-"])
    assert result.json["gpus"][0]["state"] == "held but idle", result.text
    assert "said" not in (leases / uuid(0)).read_text()
    for words, code in (
        ("run --gpus 1 true", 0),
        ("gpu", 0),
        ("gpu --watch", 2),
        ("run nosuch", 3),
    ):
        result = project.call(["sh", "-c", f"{envkit} {words} <&- >&- 2>&-"])
        assert result.code == code


@pytest.mark.parametrize("shell", ["tcsh", "csh"])
def test_a_shell_that_closes_all_files_has_its_lease(project: Project, shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell}")
    envkit = f"{sys.executable} -m envkit"
    code = f"{envkit} gpu --json; exit 5"
    result = project.envkit("run", "--gpus", "1", "--", shell, "-f", "-c", code)
    assert (result.code, result.json["gpus"][0]["state"]) == (5, "held but idle")
