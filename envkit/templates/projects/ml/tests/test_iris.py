"""The model is trained, and the service asked, without a network."""

import pytest

from app import create_app
from train import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "iris.joblib"
    return path, train(path)


@pytest.fixture
def client(trained):
    path, _ = trained
    return create_app(path).test_client()


def test_the_model_has_learned(trained):
    _, accuracy = trained
    assert accuracy > 0.9


def test_a_prediction(client):
    answer = client.post("/predict", json={"instances": [[5.1, 3.5, 1.4, 0.2]]})
    assert answer.json == {"predictions": ["setosa"]}


@pytest.mark.parametrize("body", [None, {}, {"instances": [[1]]}, {"instances": "x"}])
def test_what_is_no_question(client, body):
    assert client.post("/predict", json=body).status_code == 400
