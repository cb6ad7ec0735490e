"""The install script that `envkit init` writes, run for real: in each shell, offline."""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pip
import pytest

from tests.support import backend
from tests.support.distributions import Distribution

TOP = Path(__file__).parents[1]
SCRIPT = TOP / "envkit" / "templates" / "install.sh"
SHELLS = [["dash"], ["bash"], *([["busybox", "sh"]] if shutil.which("busybox") else [])]
# All that the script may use beside Python: nothing else is on PATH in these tests.
TOOLS = ["cat", "dirname", "env", "grep", "id", "mkdir", "mv"]
TOOLS += ["readlink", "rm", "rmdir", "sed", "tail"]
NOTHING: Mapping[str, str] = MappingProxyType({})
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
DIGEST = "0" * 64

ALPHA = Distribution(
    name="alpha", files={"alpha.py": "def main(): print('alpha here')\n"},
    console_scripts={"alpha": "alpha:main"},
)  # fmt: skip
BETA = Distribution(name="beta", files={"beta.py": "\n"}, requires=("alpha",))


@dataclass(frozen=True, kw_only=True)
class Project:
    """A folder with the script in it, and the environment variables that it runs under."""

    root: Path
    wheels: Path
    bin: Path
    env: dict[str, str]

    @property
    def python(self) -> Path:
        return self.root / ".venv/bin/python"

    def lock(
        self, *distributions: Distribution, group: str = "", python: str | None = HERE
    ) -> None:
        """Write a lock of these, and put their wheels where pip finds them."""
        lines = [] if python is None else [f"# envkit-lock: python={python} inputs=sha256:{DIGEST}"]
        for made in distributions:
            digest = hashlib.sha256(made.wheel(self.wheels).read_bytes()).hexdigest()
            lines.append(f"{made.name}=={made.version} \\\n    --hash=sha256:{digest}")
        name = f"requirements-{group}.txt" if group else "requirements.txt"
        (self.root / name).write_text("\n".join(lines) + "\n")

    def command(self, *options: str, shell: list[str] = SHELLS[0]) -> list[str]:
        return [str(shutil.which(shell[0])), *shell[1:], str(self.root / "install.sh"), *options]

    def run(
        self, *options: str, shell: list[str] = SHELLS[0], env: Mapping[str, str] = NOTHING
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*options, shell=shell), cwd="/", env={**self.env, **env}, check=False,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def install(
        self, *options: str, shell: list[str] = SHELLS[0], env: Mapping[str, str] = NOTHING
    ) -> str:
        """Run the script, which must succeed, and return what it said."""
        done = self.run(*options, shell=shell, env=env)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
        return done.stdout

    def fail(self, code: int, *options: str, env: Mapping[str, str] = NOTHING) -> str:
        """Run the script, which must exit with this code, and return its errors."""
        done = self.run(*options, env=env)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr

    def has(self, module: str) -> bool:
        command = [str(self.python), "-I", "-c", f"import {module}"]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def pretend(self) -> None:
        """Make what passes for an environment by envkit, with a file of the user's in it."""
        (self.root / ".venv/.envkit").mkdir(parents=True)
        (self.root / ".venv/.envkit/stamp").touch()
        (self.root / ".venv/mine").touch()

    def is_as_pretended(self) -> bool:
        """Say whether that is still there, and nothing of ours beside it."""
        return (self.root / ".venv/mine").exists() and self.leftovers() == []

    def leftovers(self) -> list[str]:
        return sorted(path.name for path in self.root.glob(".venv?*"))


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def stand_in(folder: Path, *absent: str) -> Path:
    """Make an interpreter to which these modules are as absent as Debian makes them."""
    venv.create(folder, with_pip=False, symlinks=True)
    [site] = folder.glob("lib/*/site-packages")
    (site / "stand_in.pth").write_text("import stand_in\n")
    (site / "stand_in.py").write_text(
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name in {absent!r}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
    )
    (site / "pip").symlink_to(Path(pip.__file__).parent)
    return folder / "bin/python"


def claiming(path: Path, version: str, python: Path) -> Path:
    """Make a stand-in that says it is of this version, and otherwise is that interpreter."""
    numbers = ", ".join(version.split("."))
    return script(
        path,
        f'[ "$1 $2" = "-I -c" ] || exec {python} "$@"\n'
        f"version=\"({numbers}, 'final', 0)\"\n"
        'code="import sys; sys.version_info = $version\n$3"\n'
        f'shift 3; exec {python} -I -c "$code" "$@"',
    )


@pytest.fixture(scope="session")
def pip_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stand_in(tmp_path_factory.mktemp("pip-only"), "ensurepip")


@pytest.fixture(scope="session")
def neither(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stand_in(tmp_path_factory.mktemp("neither"), "ensurepip", "venv", "pip")


@pytest.fixture
def project(tmp_path: Path, pip_only: Path) -> Project:
    """Make a locked project whose `python3` is quick: it has pip, and no ensurepip."""
    root, tools, wheels = tmp_path / "a projéct", tmp_path / "bin", tmp_path / "wheels"
    for folder in (root, tools, wheels):
        folder.mkdir()
    shutil.copy(SCRIPT, root / "install.sh")
    for tool in TOOLS:
        (tools / tool).symlink_to(str(shutil.which(tool)))
    script(tools / "python3", f'exec {pip_only} "$@"')
    env = {
        "HOME": str(tmp_path), "PATH": str(tools), "PIP_CONFIG_FILE": "/dev/null",
        "PIP_FIND_LINKS": str(wheels), "PIP_NO_INDEX": "1", "PIP_NO_CACHE_DIR": "1",
    }  # fmt: skip
    made = Project(root=root, wheels=wheels, bin=tools, env=env)
    made.lock(ALPHA)
    return made


@pytest.fixture
def silence() -> Iterator[socket.socket]:
    """Listen as an index that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        yield server


def hung(
    project: Project, silence: socket.socket, shell: list[str]
) -> "tuple[subprocess.Popen[str], socket.socket]":
    """Start the script and return it, with the connection on which its pip waits for the index."""
    env = {name: value for name, value in project.env.items() if name != "PIP_NO_INDEX"}
    env["PIP_RETRIES"] = "0"
    env["PIP_INDEX_URL"] = f"http://127.0.0.1:{silence.getsockname()[1]}/simple"
    process = subprocess.Popen(
        project.command(shell=shell), env=env, stderr=subprocess.PIPE, text=True,
        stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    return process, silence.accept()[0]


def until_closed(connection: socket.socket) -> None:
    """Return when the other side has ended; raise TimeoutError if it does not."""
    connection.settimeout(5)
    while connection.recv(4096):
        pass
    connection.close()


def test_shellcheck_finds_nothing() -> None:
    beside = str(Path(sys.executable).parent)
    found = shutil.which("shellcheck", path=os.pathsep.join([beside, os.environ["PATH"]]))
    assert found, "shellcheck is missing: install the dev group, or the system's package"
    done = subprocess.run([found, SCRIPT], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_this_repository_has_the_same_script() -> None:
    assert (TOP / "install.sh").read_bytes() == SCRIPT.read_bytes()
    assert os.access(TOP / "install.sh", os.X_OK)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_installs_what_the_lock_says_and_says_so(project: Project, shell: list[str]) -> None:
    said = project.install(shell=shell)
    assert f"Making .venv with {project.bin}/python3, from requirements.txt." in said
    version = ".".join(map(str, sys.version_info[:3]))
    assert f"Done: .venv has Python {version} and 1 distribution.\n" in said
    assert f". '{project.root}/.venv/bin/activate'" in said
    alpha = subprocess.run([project.root / ".venv/bin/alpha"], capture_output=True, check=True)
    assert alpha.stdout == b"alpha here\n"
    assert project.leftovers() == []
    assert [path.name for path in (project.root / ".venv/.envkit").iterdir()] == ["install-sh"]

    before = (project.root / ".venv").stat()
    assert project.install(shell=shell) == ".venv is already up to date.\n"
    assert (project.root / ".venv").stat() == before


def test_a_python_with_venv_gives_pip_and_nothing_else_unlocked(project: Project) -> None:
    (project.bin / "python3").unlink()
    base = sys._base_executable  # type: ignore[attr-defined]
    (project.bin / f"python{HERE}").symlink_to(base)
    project.lock(ALPHA, BETA, python=">=3.8")
    said = project.install()
    assert f"{project.bin}/python{HERE}" in said
    assert "3 distributions" in said
    assert project.has("pip")
    assert project.has("beta")
    assert not project.has("setuptools")


def test_without_venv_module_pip_fetches_virtualenv(project: Project, tmp_path: Path) -> None:
    python = stand_in(tmp_path / "no venv", "ensurepip", "venv")
    # A stand-in for virtualenv: the base interpreter's venv, with this run's pip put into it.
    Distribution(
        name="virtualenv",
        files={
            "virtualenv/__init__.py": "",
            "virtualenv/__main__.py": "import os, subprocess, sys\n"
            "venv = sys.argv[-1]\n"
            "subprocess.run([sys._base_executable, '-m', 'venv', '--without-pip', venv])\n"
            "site = f'{venv}/lib/python%d.%d/site-packages' % sys.version_info[:2]\n"
            f"os.symlink({str(Path(pip.__file__).parent)!r}, f'{{site}}/pip')\n",
        },
    ).wheel(project.wheels)
    project.install("--python", str(python))
    assert project.has("alpha")
    assert [path.name for path in (project.root / ".venv/.envkit").iterdir()] == ["install-sh"]


def test_neither_venv_nor_pip_names_the_package(project: Project, neither: Path) -> None:
    script(project.bin / "apt-get", "exit 1")
    error = project.fail(3, "--python", str(neither))
    assert f"{neither} has neither venv and ensurepip, nor pip." in error
    assert f"apt-get install python{HERE}-venv" in error
    assert not (project.root / ".venv").exists()


def test_groups(project: Project) -> None:
    project.lock(BETA, group="dev")
    project.lock(ALPHA, group="docs.1")
    assert "from requirements.txt requirements-dev.txt." in project.install("--dev")
    assert "already" in project.install("--group=dev", "--dev")
    assert project.has("alpha, beta")
    project.install("--no-default", "--group", "docs.1")
    assert not project.has("beta")
    assert project.has("alpha")


def test_an_empty_lock_is_a_lock(project: Project) -> None:
    project.lock()
    assert "0 distributions" in project.install()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--frobnicate"], "unknown option: --frobnicate"),
        (["demo"], "unknown option: demo"),
        (["--group"], "--group needs a value"),
        (["--python="], "--python needs a path or a version"),
        (["--group", "../x"], "not a group's name: '../x'"),
        (["--no-default"], "--no-default needs at least one --group"),
        (["--dev"], "requirements-dev.txt is missing (group dev)."),
        (["--python", "3.99"], "found no Python 3.99."),
        (["--python", "python3.99"], "there is no python3.99"),
    ],
)
def test_wrong_usage(project: Project, options: list[str], error: str) -> None:
    done = project.run(*options)
    assert done.returncode == (3 if "3.99" in error else 2)
    assert error in done.stderr
    assert not (project.root / ".venv").exists()


def test_help(project: Project) -> None:
    said = project.install("--help")
    for word in ("--dev", "--group", "--no-default", "--python", "--plain", "Exit status"):
        assert word in said


def test_locks_that_are_missing_bad_or_foreign(project: Project) -> None:
    project.lock(ALPHA, python=None)
    assert "Note: requirements.txt has no '# envkit-lock:' line" in project.install()
    for wrong in ("", "three", "3.11;reboot", "3.11,>=3.12", ">=3.10,"):
        project.lock(ALPHA, python=wrong)
        assert "names no Python" in project.fail(2)
    (project.root / "requirements.txt").unlink()
    assert "requirements.txt is missing (group default)" in project.fail(2)


@pytest.mark.parametrize(
    ("wish", "names", "chosen"),
    [
        ("3.11", {"python3": "3.12.1", "python3.11": "3.11.7"}, "python3.11"),
        ("3.11.7", {"python3.11": "3.11.8", "python": "3.11.7"}, "python"),
        ("3.1", {"python3": "3.11.7", "python": "3.1.0"}, "python"),
        (">=3.10", {"python3.10": "3.10.1", "python3.12": "3.12.1"}, "python3.12"),
        (">=3.10", {"python3": "3.10.1", "python3.12": "3.12.1"}, "python3"),
        (">=3.10,<3.12", {"python3": "3.12.0", "python3.9": "3.9.1", "python": "3.11.1"}, "python"),
        ("~=3.10", {"python3": "3.9.9", "python3.14": "3.14.0"}, "python3.14"),
        ("~=3.10.2", {"python3": "3.11.0", "python3.10": "3.10.3"}, "python3.10"),
        ("==3.11.*,!=3.11.4", {"python3": "3.11.4", "python3.11": "3.11.5"}, "python3.11"),
        ("!=3.12.*", {"python3": "3.12.4", "python3.13": "3.13.1"}, "python3.13"),
        (">3.11", {"python": "3.11.0", "python3.11": "3.11.1"}, "python3.11"),
        ("==3.11", {"python3": "3.11.4", "python3.11": "3.11.0"}, "python3.11"),
        (">=3.9", {"python3": "2.7.18", "python": "3.9.0"}, "python"),
    ],
)  # fmt: skip
def test_finds_the_python_that_the_lock_asks_for(
    project: Project, neither: Path, wish: str, names: dict[str, str], chosen: str
) -> None:
    (project.bin / "python3").unlink()
    for name, version in names.items():
        claiming(project.bin / name, version, neither)
    project.lock(python=wish)
    assert f"{project.bin}/{chosen} has neither" in project.fail(3)


def test_finds_pyenv_and_uv_and_passes_broken_shims(
    project: Project, neither: Path, tmp_path: Path
) -> None:
    script(project.bin / "python3", "echo 'pyenv: python3: command not found' >&2; exit 127")
    script(project.bin / "python", "echo 'Unknown option: -I' >&2; exit 2")
    project.lock(python=">=3.90")
    pyenv, uv = tmp_path / ".pyenv/versions", tmp_path / ".local/share/uv/python"
    claiming(uv / "cpython-3.91.1-linux-x86_64-gnu/bin/python3", "3.91.1", neither)
    assert "found no" in project.fail(3)  # 3.91 is not among the versions looked for by name
    project.lock(python="3.91")
    assert f"{uv}/cpython-3.91.1-linux" in project.fail(3)
    claiming(pyenv / "3.91.0/bin/python", "3.91.0", neither)
    assert f"{pyenv}/3.91.0/bin/python has" in project.fail(3)
    elsewhere = {"PYENV_ROOT": "/nonexistent", "UV_PYTHON_INSTALL_DIR": "/nonexistent"}
    assert "found no Python 3.91" in project.fail(3, env=elsewhere)


@pytest.mark.parametrize(
    ("tool", "hint"),
    [
        ("apt-get", "sudo apt-get install python3.99 python3.99-venv"),
        ("dnf", "sudo dnf install python3.99"),
        ("apk", "sudo apk add python3"),
        ("pacman", "sudo pacman -S python"),
        ("brew", "Install it: brew install python@3.99"),
        ("true", "with your system's packages, pyenv or uv"),
    ],
)
def test_no_fitting_python(project: Project, tool: str, hint: str) -> None:
    (project.bin / "id").unlink()
    script(project.bin / "id", "echo 1000")
    script(project.bin / tool, "exit 1")
    project.lock(python="3.99")
    error = project.fail(3)
    assert "found no Python 3.99, as requirements.txt asks for." in error
    assert hint in error
    assert len(error.splitlines()) == 2


def test_python_option(project: Project, neither: Path, tmp_path: Path) -> None:
    other = claiming(tmp_path / "other/bin/pythön", "3.90.1", neither)
    claiming(project.bin / "python3.90", "3.90.2", neither)
    project.lock(python=">=3.90")
    assert f"{other} has neither" in project.fail(3, "--python", str(other))
    assert f"/.{other} has neither" in project.fail(3, "--python", f".{other}")
    assert "/grep is not a Python 3 that runs" in project.fail(3, "--python", f"{project.bin}/grep")
    assert f"{project.bin}/python3.90 has" in project.fail(3, "--python", "python3.90")
    assert f"{project.bin}/python3.90 has" in project.fail(3, "--python=3.90")
    project.lock(python="3.91")
    for wrong in ("3.90", "python3.90", str(other)):
        error = project.fail(2, "--python", wrong)
        assert f"--python {wrong} is not Python 3.91, as requirements.txt asks for." in error


def test_rebuilds_when_something_changed(project: Project) -> None:
    project.install()
    (project.root / ".venv/mine").touch()
    project.lock(ALPHA, BETA)
    assert "Making" in project.install()
    assert project.has("beta")
    assert not (project.root / ".venv/mine").exists()
    project.python.unlink()
    project.python.symlink_to("/nonexistent/python")
    assert "Making" in project.install()
    moved = project.root.rename(project.root.with_name("moved"))
    again = Project(root=moved, wheels=project.wheels, bin=project.bin, env=project.env)
    assert "Making" in again.install()


def test_runs_from_its_own_activated_environment(project: Project) -> None:
    project.install()
    project.lock(ALPHA, BETA)
    bin_folder = f"{project.root}/.venv/bin"
    path = f"{bin_folder}/:{project.bin}:{bin_folder}"
    said = project.install(env={"VIRTUAL_ENV": f"{project.root}/.venv", "PATH": path})
    assert f"Making .venv with {project.bin}/python3" in said
    assert project.has("beta")


def test_the_callers_settings_do_not_lead_elsewhere(project: Project, tmp_path: Path) -> None:
    (tmp_path / "path/alpha-1.0.dist-info").mkdir(parents=True)
    (tmp_path / "path/alpha-1.0.dist-info/METADATA").write_text(ALPHA.metadata)
    env = {
        "PYTHONPATH": str(tmp_path / "path"), "PYTHONHOME": "/nonexistent", "PIP_USER": "1",
        "PIP_TARGET": str(tmp_path / "target"), "CDPATH": str(tmp_path),
    }  # fmt: skip
    del project.env["HOME"]  # is not needed
    project.install(env=env)
    assert project.has("alpha")


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link", "earlier"])
def test_what_others_made_is_left_alone(project: Project, kind: str) -> None:
    there = project.root / (".venv.previous" if kind == "earlier" else ".venv")
    if kind == "file":
        there.write_text("mine")
    elif kind == "dangling link":
        there.symlink_to("nowhere")
    else:
        there.mkdir()
        (there / "pyvenv.cfg").touch()
    before = there.lstat()
    error = project.fail(2)
    assert f"{there.name} was made neither by envkit nor by this script" in error
    assert f"mv {there.name} {there.name}.mine" in error
    assert there.lstat() == before


@pytest.mark.parametrize("stamped", [True, False], ids=["made by envkit", "empty"])
def test_what_is_nobodys_or_envkits_is_replaced(project: Project, *, stamped: bool) -> None:
    if stamped:
        project.pretend()
    else:
        (project.root / ".venv/.envkit").mkdir(parents=True)
    project.install()
    assert project.has("alpha")


def test_a_failure_brings_the_old_environment_back(project: Project) -> None:
    project.pretend()
    lock = project.root / "requirements.txt"
    lock.write_text(f"{lock.read_text().splitlines()[0]}\nalpha==1.0 --hash=sha256:{DIGEST}\n")
    error = project.fail(4)
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in error
    assert "pip install failed; the last it said is above." in error
    assert error.endswith("The .venv from before is back in its place.\n")
    project.lock(Distribution(name="gamma", files={"gamma.py": ""}, requires=("absent",)))
    error = project.fail(4)
    assert "gamma 1.0 requires absent, which is not installed." in error
    assert "pip check failed" in error
    assert project.is_as_pretended()


def test_unhashed_requirements_are_refused(project: Project) -> None:
    (project.root / "requirements.txt").write_text("alpha==1.0\n")
    assert "Hashes are required in --require-hashes mode" in project.fail(4)
    assert not (project.root / ".venv").exists()


@pytest.mark.parametrize(
    ("shell", "number"),
    [*((shell, signal.SIGTERM) for shell in SHELLS), (SHELLS[1], signal.SIGINT)],
    ids=lambda value: value[0] if isinstance(value, list) else value.name,
)
def test_a_signal_stops_it_at_once_and_restores(
    project: Project, silence: socket.socket, shell: list[str], number: signal.Signals
) -> None:
    project.pretend()
    process, connection = hung(project, silence, shell)
    os.killpg(process.pid, number)
    _, error = process.communicate(timeout=10)
    assert process.returncode == 128 + number
    assert "The .venv from before is back in its place.\n" in error
    until_closed(connection)
    assert project.is_as_pretended()


@pytest.mark.parametrize("first", [True, False], ids=["first install", "a later one"])
def test_a_killed_run_is_put_right_by_the_next(
    project: Project, silence: socket.socket, *, first: bool
) -> None:
    if not first:
        project.install()
        (project.root / ".venv/mine").touch()
    lock = (project.root / "requirements.txt").read_text()
    project.lock(ALPHA, BETA)
    process, connection = hung(project, silence, SHELLS[0])
    process.kill()
    process.communicate()
    assert "another run is making .venv" in project.fail(2)  # its pip outlived it
    silence.close()
    connection.close()
    (project.root / "requirements.txt").write_text(lock)
    deadline = time.monotonic() + 20
    while "another run" in (done := project.run()).stderr and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("already up to date" in done.stdout) is not first
    assert (project.root / ".venv/mine").exists() is not first
    assert project.has("alpha")
    assert not project.has("beta")
    assert project.leftovers() == []


def test_a_kill_after_the_new_one_was_whole(project: Project) -> None:
    project.install()
    shutil.copytree(project.root / ".venv", project.root / ".venv.previous", symlinks=True)
    (project.root / ".venv.discard").mkdir()
    (project.root / ".venv/.envkit/building").touch()
    assert "already up to date" in project.install()
    assert project.leftovers() == []


def editable_project(project: Project, table: str) -> None:
    (project.root / "pyproject.toml").write_text(f"[build-system]\n{table}[project]\nname='x'\n")
    (project.root / "src").mkdir()
    (project.root / "src/mine.py").write_text("HERE = True\n")
    info = project.root / "meta/mine-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(Distribution(name="mine").metadata)


def test_the_project_itself_is_editable(project: Project) -> None:
    editable_project(project, 'requires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n')
    shutil.copy(backend.__file__, project.root / "backend.py")
    project.install(env={"PIP_REQUIRE_HASHES": "1"})
    (project.root / "src/more.py").touch()
    assert project.has("mine, more")
    assert "already" in project.install()
    project.lock(BETA, ALPHA, group="dev")
    project.install("--no-default", "--dev")
    assert not project.has("mine")


def test_a_locked_backend_is_not_fetched_again(project: Project, tmp_path: Path) -> None:
    source = Path(backend.__file__).read_text()
    source += f"\nPath({str(tmp_path / 'ran in')!r}).write_text(sys.prefix)\n"
    project.lock(Distribution(name="backend", files={"backend.py": source}))
    editable_project(project, 'requires = ["backend"]\nbuild-backend = "backend"\n')
    project.install()
    assert project.has("mine")
    assert (tmp_path / "ran in").read_text() == str(project.root / ".venv")


def test_a_backend_that_cannot_be_had(project: Project) -> None:
    editable_project(project, 'requires = ["absent"]\n')
    error = project.fail(4)
    assert "installing the project itself failed" in error
    assert "absent" in error


@pytest.mark.parametrize(
    ("options", "passed"),
    [
        ([], "install"),
        (["--dev", "--no-default"], "install --no-default --group dev"),
        (["--group", "b", "--group=a"], "install --group b --group a"),
        (["--python", "3.12"], "install --python 3.12"),
        (["--python", "venvs/x y"], "install --python /venvs/x y"),
    ],
)
def test_hands_over_to_envkit(project: Project, options: list[str], passed: str) -> None:
    script(project.bin / "envkit", '[ "$1" = --version ] || printf "%s:" "$PWD" "$@"; exit 0')
    said = project.install(*options)
    assert said.split(":")[0] == str(project.root)
    assert " ".join(said.split(":")[1:]).strip() == passed


def test_does_not_hand_over(project: Project) -> None:
    envkit = script(project.bin / "envkit", "echo handed over")
    assert "handed over" not in project.install("--plain")
    shutil.move(envkit, project.root / ".venv/bin/envkit")
    envkit.symlink_to(project.root / ".venv/bin/envkit")
    assert "already up to date" in project.install()
    envkit.unlink()
    assert "already up to date" in project.install(
        env={"PATH": f"{project.root}/.venv/bin:{project.bin}"}
    )
    script(envkit, "echo 'pyenv: envkit: command not found' >&2; exit 127")
    assert "already up to date" in project.install()
