"""The model is trained, exported, and asked as the server asks it."""

import pytest
import tensorflow as tf

from train import train


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "1"
    train(folder)
    return folder


def test_what_is_exported_predicts(path):
    predict = tf.saved_model.load(str(path)).signatures["serving_default"]
    found = predict(x=tf.constant([0.0, 2.0]))["y"].numpy()
    assert found == pytest.approx([2.0, 3.0], abs=0.01)
