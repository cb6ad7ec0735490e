"""An environment that has TensorFlow, and the messages that its server speaks with.

envkit makes it from the index that pip is configured for, once on a machine: it takes a gigabyte
and a half.
"""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..makes import UnavailableError, cache
from ..projects import PYTHON, SITE, Result, run

VERSION = "2.21.0"

# The program that makes models; it can be imported where TensorFlow is.
SAVED_MODELS = Path(__file__).with_name("saved_models.py")

_PYTHONS = ("3.10", "3.11", "3.12", "3.13")

# Seconds that fetching it may take.
_LIMIT = 600


@dataclass(frozen=True, kw_only=True)
class TensorFlow:
    """Where TensorFlow is.

    Attributes:
        python: the Python of the environment that has it.
        site: the folder of its modules.
        messages: that of tensorflow-serving-api, which is not in the environment: it would want
            the TensorFlow that has its own CUDA.
    """

    python: Path
    site: Path
    messages: Path

    @property
    def store(self) -> Path:
        """Envkit's store that it was installed from."""
        return self.python.parents[3] / "store"

    def run(self, *words: str, cwd: Path) -> Result:
        """Run its Python, for which there are the messages as well."""
        environ = {**_environ(), "PYTHONPATH": str(self.messages), "TF_CPP_MIN_LOG_LEVEL": "2"}
        return run([str(self.python), *words], cwd=cwd, env=environ)

    def ask(self, *words: str, cwd: Path) -> str:
        """Run its Python, which has to succeed, and return what it printed."""
        result = self.run(*words, cwd=cwd)
        assert result.code == 0, result.text
        return result.out


def tensorflow() -> TensorFlow:
    """Return TensorFlow, which is brought if it is not there.

    Raises:
        UnavailableError: there is none for this Python.
    """
    if PYTHON not in _PYTHONS:
        raise UnavailableError(f"TensorFlow {VERSION} has no wheel for Python {PYTHON}")
    folder = cache() / f"tensorflow-{VERSION}-python{PYTHON}"
    made = TensorFlow(
        python=folder / "environment" / ".venv" / "bin" / "python",
        site=folder / "environment" / ".venv" / SITE,
        messages=folder / "messages",
    )
    folder.mkdir(parents=True, exist_ok=True)
    complete = folder / "complete"
    with _alone(folder / "lock"):
        if not complete.exists():
            _bring(folder, made)
            complete.touch()
    return made


def _bring(folder: Path, made: TensorFlow) -> None:
    environment = folder / "environment"
    for path in (environment, made.messages, folder / "store"):
        shutil.rmtree(path, ignore_errors=True)
    environ = {**_environ(), "ENVKIT_STORE": str(folder / "store"), "ENVKIT_COMPILE": "now"}
    envkit = (sys.executable, "-m", "envkit", "init", "--python", PYTHON)
    pip = (sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(made.messages))
    commands: Sequence[Sequence[str]] = (
        (*envkit, str(environment), f"tensorflow-cpu=={VERSION}"),
        (*pip, f"tensorflow-serving-api=={VERSION}"),
    )
    for command in commands:
        done = run(command, cwd=folder, env=environ, limit=_LIMIT)
        assert done.code == 0, done.text


def _environ() -> Mapping[str, str]:
    dropped = ("ENVKIT_", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "TF_")
    return {name: text for name, text in os.environ.items() if not name.startswith(dropped)}


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Be the only one, of the processes that run tests, who does what stands below it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
