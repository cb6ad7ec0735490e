"""`envkit run` and `envkit shell`."""

import json
import os
import sys

import pytest

from tests.support.projects import Machine, Project


@pytest.fixture
def project(machine: Machine) -> Project:
    """A project with a command."""
    made = machine.project()
    made.lock("alpha-1.0", "commands-1.0")
    made.install()
    return made


def test_arguments_and_exit_code_are_the_commands(project: Project) -> None:
    result = project.envkit("run", "--", "commands", "--json", "-v", "two words", "")
    assert (result.code, result.out, result.err) == (3, "main --json -v two words \n", "")
    result = project.envkit("run", "commands", "--help")
    assert (result.code, result.out) == (3, "main --help\n")


def test_the_environment_is_active(project: Project) -> None:
    code = (
        "import json, os, sys; e = os.environ; "
        "print(json.dumps([sys.prefix, e.get('VIRTUAL_ENV'), e.get('PYTHONHOME'), e['PATH']]))"
    )
    other = project.machine.folder / "elsewhere"
    inherited = {"VIRTUAL_ENV": str(other), "PATH": f"{other}/bin:{os.environ['PATH']}"}
    result = project.envkit("run", "--", "python", "-c", code, env=inherited)
    prefix, variable, home, path = json.loads(result.out)
    assert (prefix, variable, home) == (str(project.venv), str(project.venv), None)
    folders = path.split(os.pathsep)
    assert folders[0] == f"{project.venv}/bin"
    assert f"{other}/bin" not in folders


def test_a_file_of_python(project: Project) -> None:
    script = project.root / "train.py"
    script.write_text("import sys, alpha\nprint(alpha.__version__, *sys.argv[1:])\n")
    result = project.envkit("run", "train.py", "--fast")
    assert (result.code, result.out) == (0, "1.0 --fast\n")


def test_signals_are_the_commands(project: Project) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    assert project.envkit("run", "--", "python", "-c", code).code == -15


def test_from_a_folder_below(project: Project) -> None:
    (project.root / "src").mkdir()
    code = "import os; print(os.path.basename(os.getcwd()))"
    result = project.envkit("run", "--", "python", "-c", code, below="src")
    assert result.out == "src\n"


def test_a_command_that_is_not_there(project: Project) -> None:
    result = project.envkit("run", "--", "no-such-command")
    assert result.code == 3
    assert result.err.startswith("error: no-such-command: no such command")


def test_no_environment_yet(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    result = project.envkit("run", "--", "python", "-V")
    assert result.code == 3
    assert "Run `envkit install`." in result.err


def test_no_command(project: Project) -> None:
    assert project.envkit("run").code == 2


def test_an_environment_that_is_not_the_locks(project: Project) -> None:
    project.lock("alpha-1.1")
    result = project.envkit("run", "--", "python", "-c", "print('ran')")
    assert (result.code, result.out) == (0, "ran\n")
    assert "warning: The environment is not what lock and settings say" in result.err
    assert project.envkit("-q", "run", "--", "python", "-c", "print('ran')").err == ""


def test_files_that_were_written_again_as_they_were_are_no_reason_to_warn(
    project: Project,
) -> None:
    for path in (project.root / "requirements.txt", project.root / "envkit.toml"):
        path.write_bytes(path.read_bytes())
    result = project.envkit("run", "--", "python", "-c", "print('ran')")
    assert (result.code, result.out, result.err) == (0, "ran\n", "")


def test_a_group_beside_the_configured_ones_is_no_reason_to_warn(project: Project) -> None:
    project.lock("delta-1.0", group="dev")
    project.install("--group", "dev")
    result = project.envkit("run", "--", "python", "-c", "import delta; print('ran')")
    assert (result.code, result.out, result.err) == (0, "ran\n", "")


def test_settings_of_another_command_are_no_reason_to_warn(project: Project) -> None:
    project.install(env={"ENVKIT_COMPILE": "off"})
    result = project.envkit("run", "--", "python", "-c", "print('ran')")
    assert (result.code, result.out, result.err) == (0, "ran\n", "")


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_a_shell(project: Project, shell: str) -> None:
    if not os.path.exists(shell):
        pytest.skip(f"there is no {shell}")
    # A shell without a terminal reads what it is to do from standard input.
    command = [sys.executable, "-m", "envkit", "shell"]
    typed = f"printf 'command -v commands; exit 7\\n' | {' '.join(command)}"
    result = project.call(["sh", "-c", typed], env={"SHELL": shell})
    assert result.code == 7
    assert f"{project.venv}/bin/commands" in result.out


def test_a_shell_in_a_shell(project: Project) -> None:
    result = project.envkit("shell", env={"VIRTUAL_ENV": str(project.venv)})
    assert result.code == 2
    assert "in the environment already" in result.err
