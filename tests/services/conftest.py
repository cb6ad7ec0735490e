"""TensorFlow, models that it made, and an engine with the stand-in for its server."""

from pathlib import Path

import pytest

from tests.support.base_images import BaseImages
from tests.support.engines import Engine
from tests.support.makes import UnavailableError
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
