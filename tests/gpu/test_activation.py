"""Shells in which an environment is active, and what Python itself reads at its start."""

import json
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
        command = [sys.executable, "-m", "envkit", "shell", *options]
        typed = f"printf 'echo seen:$CUDA_VISIBLE_DEVICES:; exit 3\\n' | {' '.join(command)}"
        result = project.call(["sh", "-c", typed], env={"SHELL": "/bin/sh"})
        assert result.code == 3
        assert f"seen:{expected}:" in result.out


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
