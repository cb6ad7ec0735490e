"""The real thing: the README's first command, and what teams use, from the index."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.projects import run

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.network

_NOTEBOOK = """
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel()
reply = client.execute_interactive("assert 6 * 7 == 42", timeout=60)
print(reply["content"]["status"])
client.stop_channels()
manager.shutdown_kernel(now=True)
"""


class Bench:
    """A place with a store of its own, where commands are run with pip's own configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {
            **os.environ,
            "ENVKIT_STORE": str(folder / "store"),
            "ENVKIT_COMPILE": "now",
            "MPLBACKEND": "agg",
        }
        for name in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"):
            self.environ.pop(name, None)

    def run(self, *command: str, cwd: Path | None = None) -> str:
        """Run a command that has to succeed and return what it printed."""
        done = run(command, cwd=cwd or self.folder, env=self.environ, limit=600)
        assert done.code == 0, done.text
        return done.text

    def envkit(self, *arguments: str, cwd: Path | None = None) -> str:
        return self.run(sys.executable, "-m", "envkit", *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("end-to-end"))


def test_first_command_of_the_readme(bench: Bench) -> None:
    (command, *_) = re.findall(
        r"```sh\n(.*?)\n```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    clone = bench.folder / "clone"
    clone.mkdir()
    for name in ("envkit", "pyproject.toml", "README.md", "LICENSE", "install.sh"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, clone)
    for path in ROOT.glob("requirements*"):
        shutil.copy(path, clone)
    said = bench.run("sh", "-c", command, cwd=clone)
    assert re.search(r"Ready: numpy \d\S*, requests \d\S*, flask \d", said), said
    demo = clone / "demo"
    code = "import numpy, requests, flask; print(numpy.__version__)"
    assert bench.envkit("run", "--", "python", "-c", code, cwd=demo).strip()[0].isdigit()
    assert "Flask" in bench.envkit("run", "--", "flask", "--version", cwd=demo)


def test_what_teams_use(bench: Bench) -> None:
    project = bench.folder / "team"
    asked = [
        "numpy",
        "requests",
        "flask",
        "pandas",
        "scikit-learn",
        "matplotlib",
        "jupyterlab",
        "pytest",
    ]
    bench.envkit("init", str(project), *asked)
    python = str(project / ".venv" / "bin" / "python")
    bench.run(python, "-m", "pip", "check", cwd=project)
    modules = "numpy, requests, flask, pandas, sklearn.linear_model, matplotlib.pyplot, jupyterlab"
    bench.run(python, "-c", f"import {modules}, pytest", cwd=project)
    bench.run(python, "-c", "import pandas; assert pandas.DataFrame({'a': [1, 2]}).a.sum() == 3")
    assert "ok" in bench.run(python, "-c", _NOTEBOOK, cwd=project)
    assert bench.run(str(project / ".venv" / "bin" / "pytest"), "--version")
    assert json.loads(bench.envkit("status", "--json", cwd=project))["good"]
    assert "Already up to date" in bench.envkit("install", cwd=project)


def test_a_team_mate_needs_no_network(bench: Bench) -> None:
    theirs = bench.folder / "theirs"
    theirs.mkdir()
    for path in (bench.folder / "team").iterdir():
        if path.is_file():
            shutil.copy(path, theirs)
    said = bench.envkit("install", "--offline", cwd=theirs)
    assert "0 fetched" in said
    first, second = (
        (bench.folder / name / ".venv" / "bin" / "jupyter").resolve() for name in ("team", "theirs")
    )
    assert first.is_file()
    assert second.is_file()
