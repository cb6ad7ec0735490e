"""The service, asked without a network."""

import pytest

from app import app


@pytest.fixture
def client():
    return app.test_client()


def test_it_is_well(client):
    assert client.get("/health").json == {"status": "ok"}


def test_a_prediction(client):
    answer = client.post("/predict", json={"instances": [1, 2.5]})
    assert answer.json == {"predictions": [3.0, 6.0]}


@pytest.mark.parametrize("body", [None, [], {}, {"instances": "x"}, {"instances": ["x"]}])
def test_what_is_no_question(client, body):
    assert client.post("/predict", json=body).status_code == 400
