"""The command line itself: its help, its settings, its completion, its colours."""

import os
import subprocess
import sys

import pytest

import envkit
from tests.support.projects import Machine


def test_version(machine: Machine) -> None:
    result = machine.project().envkit("--version")
    assert (result.code, result.out) == (0, f"envkit {envkit.__version__}\n")


def test_help_names_every_command_and_its_options(machine: Machine) -> None:
    project = machine.project()
    shown = project.envkit("--help").out
    commands = ["install", "run", "shell", "status", "config", "completion", "lock"]
    for name in commands:
        assert f"\n  {name} " in shown
        assert project.envkit(name, "--help").out.startswith(f"Usage: envkit {name} ")
    options = project.envkit("install", "-h").out
    for option in ("--group", "--no-default", "--python", "--offline", "--copy", "--check"):
        assert option in options


@pytest.mark.parametrize("arguments", [["instal"], ["install", "--ofline"], ["install", "x"]])
def test_what_is_not_understood(machine: Machine, arguments: list[str]) -> None:
    result = machine.project().envkit(*arguments)
    assert result.code == 2
    assert "Traceback" not in result.err
    assert arguments[-1] in result.err


def test_settings_and_their_sources(machine: Machine) -> None:
    project = machine.project(settings='python = ">=3.8"\ngroups = ["default", "dev"]\n')
    found = project.envkit("config", "--json", env={"ENVKIT_LINK": "copy"}).json
    assert found["python"] == {"value": ">=3.8", "source": "envkit.toml: python"}
    assert found["groups"] == {"value": ["default", "dev"], "source": "envkit.toml: groups"}
    assert found["link"] == {"value": "copy", "source": "$ENVKIT_LINK"}
    assert found["store"] == {"value": str(machine.store), "source": "$ENVKIT_STORE"}
    assert found["editable"] == {"value": None, "source": "default"}
    lines = project.envkit("config").out.splitlines()
    assert [line.split()[0] for line in lines] == list(found)


def test_settings_in_pyproject(machine: Machine) -> None:
    project = machine.project()
    (project.root / "envkit.toml").unlink()
    (project.root / "pyproject.toml").write_text('[tool.envkit]\nlink = "copy"\n')
    found = project.envkit("config", "--json").json
    assert found["link"] == {"value": "copy", "source": "pyproject.toml: tool.envkit.link"}


def test_the_store_without_settings(machine: Machine) -> None:
    project = machine.project()
    del machine.environ["ENVKIT_STORE"]
    found = project.envkit("config", "--json").json["store"]
    assert found["value"].startswith(machine.environ["HOME"])
    assert found["value"].endswith("/envkit")
    chosen = {"XDG_DATA_HOME": str(machine.folder / "data")}
    found = project.envkit("config", "--json", env=chosen).json["store"]
    assert found["value"] == f"{machine.folder}/data/envkit"
    (project.root / "envkit.toml").write_text('store = "shelf"\n')
    found = project.envkit("config", "--json").json["store"]
    assert found == {"value": f"{project.root}/shelf", "source": "envkit.toml: store"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(machine: Machine, shell: str) -> None:
    project = machine.project()
    result = project.envkit("completion", shell)
    assert result.code == 0, result.text
    assert "_ENVKIT_COMPLETE" in result.out
    # bash and zsh give the number of the word that is being typed; fish, the word.
    words = {"COMP_WORDS": "envkit inst", "COMP_CWORD": "inst" if shell == "fish" else "1"}
    completed = project.envkit(env={"_ENVKIT_COMPLETE": f"{shell}_complete", **words})
    assert "install" in completed.out
    assert "status" not in completed.out


def test_completion_script_is_bash(machine: Machine) -> None:
    project = machine.project()
    script = project.envkit("completion", "bash").out
    path = project.root / "completion.bash"
    path.write_text(script)
    checked = project.call(["/bin/bash", "-n", str(path)])
    assert (checked.code, checked.text) == (0, "")


def test_completion_for_an_unknown_shell(machine: Machine) -> None:
    result = machine.project().envkit("completion", "tcsh")
    assert result.code == 2
    assert "tcsh" in result.err


def test_colours(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    command = [sys.executable, "-m", "envkit", "status"]
    plain = _on_terminal(command, project.root, {**machine.environ, "NO_COLOR": "1"})
    assert b"absent" in plain
    assert b"\x1b[" not in plain
    coloured = _on_terminal(command, project.root, machine.environ)
    assert b"\x1b[" in coloured
    assert "\x1b[" not in project.envkit("status").out


def _on_terminal(command: list[str], folder: os.PathLike[str], env: dict[str, str]) -> bytes:
    """Run a command whose standard output is a terminal, and return what came there."""
    ours, theirs = os.openpty()
    with open(ours, "rb", buffering=0) as screen:
        child = subprocess.Popen(
            command, cwd=folder, env={**env, "TERM": "xterm"}, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        shown = b""
        try:
            while chunk := screen.read(4096):
                shown += chunk
        except OSError:
            pass  # Linux says so when the last writer has gone
        child.wait(timeout=60)
    return shown


def test_a_reader_that_has_gone(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    result = project.call(["sh", "-c", f"'{sys.executable}' -m envkit status | true; echo after"])
    assert result.out == "after\n"
    assert "Traceback" not in result.err
    assert "BrokenPipe" not in result.err


def test_nothing_that_steers_a_terminal_is_shown(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    project.install()
    (project.site / "bell\x07.py").write_text("")
    locked = project.line("alpha-1.0")
    project.write_lock([locked])
    for command in (["status"], ["verify"]):
        result = project.envkit(*command)
        assert "\\x07" in result.out
        assert "\x07" not in result.text
    project.write_lock([locked, f"beta @ https://example.org/b\x07.whl --hash=sha256:{'0' * 64}"])
    for command in (["status"], ["verify"], ["install", "--dry-run"], ["history"]):
        result = project.envkit(*command)
        assert "\\x07" in result.out
        assert "\x07" not in result.text
