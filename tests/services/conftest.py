"""Flask; TensorFlow, models that it made, and an engine with the stand-in for its server."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from envkit.services import tensorflow_serving
from tests.support import Index
from tests.support.base_images import BaseImages
from tests.support.engines import Engine
from tests.support.makes import UnavailableError
from tests.support.projects import Machine, Project, run
from tests.support.serving import APP, declare, free_port, write
from tests.support.serving_stand_in import environment, image
from tests.support.serving_stand_in.environment import TensorFlow


@pytest.fixture(scope="session")
def tensorflow() -> TensorFlow:
    """TensorFlow, from the package index."""
    try:
        return environment.tensorflow()
    except UnavailableError as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def saved_models(tensorflow: TensorFlow, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the models that `saved_models.py` makes; no test may change it."""
    folder = tmp_path_factory.mktemp("saved-models")
    tensorflow.ask(str(environment.SAVED_MODELS), str(folder), cwd=folder)
    return folder


@pytest.fixture(scope="session")
def serving_stand_in(engine: Engine, base_images: BaseImages, tensorflow: TensorFlow) -> str:
    """The name that the stand-in for TensorFlow Serving's image has in the engine."""
    assert not image.has_real(engine, image.TAG)
    image.load(engine, base_images, tensorflow, tag=image.TAG)
    return f"{image.NAME}:{image.TAG}"


@pytest.fixture(scope="session")
def serving(engine: Engine, request: pytest.FixtureRequest) -> str:
    """The name of TensorFlow Serving's image in the engine: the real one where there is one."""
    if image.bring_real(engine, tensorflow_serving.TAG):
        return f"{image.NAME}:{tensorflow_serving.TAG}"
    name: str = request.getfixturevalue("serving_stand_in")
    return name


@pytest.fixture(scope="session")
def flask(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a `store` that has Flask and gunicorn, from the index, and a `project`."""
    folder = tmp_path_factory.mktemp("flask")
    environ = {**os.environ, "ENVKIT_STORE": str(folder / "store"), "ENVKIT_COMPILE": "now"}
    wanted = ("flask", "gunicorn")
    command = [sys.executable, "-m", "envkit", "init", "project", *wanted, "--python", "3"]
    done = run(command, cwd=folder, env=environ, limit=600)
    assert done.code == 0, done.text
    return folder


@pytest.fixture
def served(published: Index, flask: Path, tmp_path: Path) -> Project:
    """A project whose environment has Flask and gunicorn, on a machine of its own."""
    machine = Machine(tmp_path, published)
    machine.seed_from(flask / "store")
    for name in ("FLASK_APP", "FLASK_DEBUG", "CUDA_VISIBLE_DEVICES"):
        machine.environ.pop(name, None)
    project = machine.project()
    for path in (flask / "project").glob("requirements*"):
        shutil.copy(path, project.root)
    project.install("--offline")
    return project


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def web(served: Project, port: int) -> Project:
    """A project that serves one application."""
    declare(served, {"web": ['kind = "flask"', f"port = {port}", 'health = "/health"']})
    write(served, app=APP)
    return served
