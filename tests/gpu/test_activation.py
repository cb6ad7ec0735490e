"""Shells in which an environment is active, and what Python itself reads at its start."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping

import pytest

from tests.gpu.test_doors import ORDER, SHOW, activated, configure
from tests.support.projects import Project, Result


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish", "csh"])
def test_shells_obey_and_undo_it(project: Project, shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell}")
    configure(project, "devices = [2]\nmemory_growth = true")
    expected = {
        **{"CUDA_VISIBLE_DEVICES": "2", "HIP_VISIBLE_DEVICES": "2", **ORDER},
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
    assert activated(project, shell) == expected
    suffix = {"fish": ".fish", "csh": ".csh"}.get(shell, "")
    source = "." if shell == "sh" else "source"
    text = (
        f"{source} {project.venv}/bin/activate{suffix}\ndeactivate\n{sys.executable} -I -c '{{}}'\n"
    )
    result = project.call([shell, "-c", text.replace("{}", SHOW.replace("'", '"'))])
    assert (result.code, result.json) == (0, {})


def terminal(project: Project, command: str, env: Mapping[str, str] | None = None) -> Result:
    """Run a command for a shell on a terminal of its own."""
    done = subprocess.run(
        ["/usr/bin/script", "--quiet", "--return", "--command", command, "/dev/null"],
        cwd=project.root,
        env={**project.machine.environ, "SHELL": "/bin/sh", **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    return Result(code=done.returncode, out=done.stdout, err=done.stderr)


def test_activation_says_how_to_get_one(project: Project) -> None:
    configure(project, "count = 2")
    activate = f". {project.venv}/bin/activate"
    told = "This shell sees no GPU: `envkit run -- COMMAND` takes 2 GPUs on lease"
    assert told in terminal(project, activate).out
    assert told not in terminal(project, activate, {"CUDA_VISIBLE_DEVICES": "1"}).out
    assert told not in project.call(["sh", "-c", activate]).text


def test_a_shell_has_a_lease_if_it_asks_for_one(project: Project) -> None:
    configure(project, "count = 2")
    for options, expected in ((("--gpus", "1"), "0"), ((), "")):
        envkit = " ".join([sys.executable, "-m", "envkit", "shell", *options])
        typed = f"printf 'echo seen: $CUDA_VISIBLE_DEVICES :\\nexit 3\\n' | {envkit}"
        result = project.call(["sh", "-c", typed], env={"SHELL": "/bin/sh"})
        assert result.code == 3
        assert re.search(f"seen: {expected} ?:", result.out), result.text


def test_both_forms_of_what_python_reads_at_its_start(project: Project) -> None:
    configure(project, "devices = [1]")
    (pth,) = project.site.glob("*envkit*.pth")
    start = pth.with_suffix(".start")
    assert pth.read_text().startswith("import ")
    module, _, function = start.read_text().strip().partition(":")
    # As PEP 829 has it: the object is found by this name, and called.
    code = (
        "import json, os, pkgutil\n"
        f"pkgutil.resolve_name({module + ':' + function!r})()\n"
        "print(json.dumps(os.environ['CUDA_VISIBLE_DEVICES']))"
    )
    assert json.loads(project.python(code)) == "1"
    names = sorted(path.name for path in project.site.glob("*.pth"))
    assert names[0] == pth.name


@pytest.fixture
def other(project: Project) -> Project:
    """A second project on the same machine, which sees another GPU."""
    made = project.machine.project("other")
    made.lock("alpha-1.0")
    configure(made, "devices = [3]")
    return made


def in_turn(shell: str, *projects: Project) -> dict[str, str]:
    """Return the variables in a shell in which environments were activated one over the other."""
    suffix = {"fish": ".fish", "csh": ".csh"}.get(shell, "")
    source = "." if shell == "sh" else "source"
    lines = [f"{source} {one.venv}/bin/activate{suffix}" for one in projects]
    show = SHOW.replace("'", '"')
    lines.append(f"{sys.executable} -I -c '{show}'\n")
    result = projects[-1].call([shell, "-c", "\n".join(lines)])
    assert result.code == 0, result.text
    return {str(name): str(value) for name, value in result.json.items()}


SEEN_BY_OTHER = {"CUDA_VISIBLE_DEVICES": "3", "HIP_VISIBLE_DEVICES": "3", **ORDER}


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish", "csh"])
@pytest.mark.parametrize("settings", ['devices = ["GPU-00000001"]', "count = 1"])
def test_another_environment_over_it(
    project: Project, other: Project, shell: str, settings: str
) -> None:
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell}")
    configure(project, settings)
    assert in_turn(shell, project, other) == SEEN_BY_OTHER


def test_another_environment_in_a_shell_within(project: Project, other: Project) -> None:
    configure(project, "memory_growth = true\ncount = 1")
    inner = f'. {other.venv}/bin/activate; {sys.executable} -I -c "$SHOW"'
    text = f". {project.venv}/bin/activate; sh -c '{inner}'"
    result = project.call(["sh", "-c", text], env={"SHOW": SHOW})
    assert result.json == SEEN_BY_OTHER
    # Likewise by its Python, and by `envkit run`.
    python, envkit = f"{other.venv}/bin/python", f"{sys.executable} -m envkit run -- python"
    for program in (python, envkit):
        text = f'. {project.venv}/bin/activate; cd {other.root}; {program} -c "$SHOW"'
        result = project.call(["sh", "-c", text], env={"SHOW": SHOW})
        assert result.json == SEEN_BY_OTHER, program


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish", "csh"])
def test_what_others_have_decided_stays(project: Project, shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell}")
    configure(project, "devices = [2]")
    for mask in ("", "1"):
        by_hand = {"CUDA_VISIBLE_DEVICES": mask}
        assert activated(project, shell, by_hand) == {**by_hand, **ORDER}
    by_slurm = {"SLURM_JOB_ID": "7", "SLURM_STEP_GPUS": "3"}
    assert activated(project, shell, by_slurm) == ORDER


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish", "csh"])
def test_entering_again_is_for_the_settings_there_are_now(project: Project, shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell}")
    before = {"ENVKIT_GPU_ENVIRONMENT": str(project.venv), **set_by_envkit("1")}
    configure(project, "devices = [2]")
    assert activated(project, shell, {**before, "ENVKIT_GPU_SETTINGS": "other"}) == {
        **{"CUDA_VISIBLE_DEVICES": "2", "HIP_VISIBLE_DEVICES": "2", **ORDER}
    }
    # What a command line has decided for this environment stays within it.
    assert activated(project, shell, before) == {"CUDA_VISIBLE_DEVICES": "1"}


def set_by_envkit(mask: str) -> dict[str, str]:
    return {name + "CUDA_VISIBLE_DEVICES": mask for name in ("", "_ENVKIT_SET_")}


def test_what_was_set_before_is_as_before(project: Project) -> None:
    configure(project, "devices = [2]")
    show = f'{sys.executable} -I -c "$SHOW"'
    text = f". {project.venv}/bin/activate; {show}; deactivate; {show}"
    before = {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}
    result = project.call(["sh", "-c", text], env={"SHOW": SHOW, **before})
    within, after = map(json.loads, result.out.splitlines())
    # A list of numbers comes with the order that they count in.
    assert (within["CUDA_VISIBLE_DEVICES"], within["CUDA_DEVICE_ORDER"]) == ("2", "PCI_BUS_ID")
    assert after == before
    text = f". {project.venv}/bin/activate; export CUDA_VISIBLE_DEVICES=1; deactivate; {show}"
    assert project.call(["sh", "-c", text], env={"SHOW": SHOW}).json == {
        "CUDA_VISIBLE_DEVICES": "1"
    }


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "csh"])
def test_every_shell_of_envkits_obeys(project: Project, shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell}")
    for settings, options, expected in (
        ("devices = [2]", "", "2"),
        ("count = 1", "", ""),
        ("devices = [2]", "--devices 1", "1"),
    ):
        configure(project, settings)
        envkit = f"{sys.executable} -m envkit shell {options}"
        typed = f"printf 'echo seen: $CUDA_VISIBLE_DEVICES :\\nexit 3\\n' | {envkit}"
        result = project.call(["sh", "-c", typed], env={"SHELL": program})
        assert re.search(f"seen: {expected} ?:", result.out), (settings, options, result.text)


def test_shells_that_stop_at_whatever_is_unset(project: Project) -> None:
    configure(project, "devices = [2]")
    for shell in ("bash -eu", "dash -eu"):
        text = f". {project.venv}/bin/activate; echo $CUDA_VISIBLE_DEVICES; deactivate; echo out"
        result = project.call([*shell.split(), "-c", text])
        assert (result.code, result.out) == (0, "2\nout\n"), result.text
