"""Projects whose install script is quick to run, and interpreters that lack what it needs."""

import shutil
from pathlib import Path

import pytest

from tests.support.scripted import ALPHA, SCRIPT, Project, script, stand_in

# All that the script may use beside Python: nothing else is on PATH in these tests.
TOOLS = ["cat", "dirname", "env", "grep", "id", "mkdir", "mv"]
TOOLS += ["readlink", "rm", "rmdir", "sed", "tail"]


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
