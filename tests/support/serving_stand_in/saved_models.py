"""Makes SavedModels. A program, which runs where TensorFlow is: `saved_models.py FOLDER`.

Below the folder there are then:

- `half_plus`: version 1 answers x/2 + 2 and version 2 answers x/2 + 3; one input `x` and one output
  `y`, float32 of the shape [None].
- `two_inputs`: version 1, with the inputs `features`, float32 [None, 3], and `key`, string [None];
  the outputs are `score`, the sum of the features, and `key`.

Each version has two requests to warm up with. Source: saved_model_warmup.md of tensorflow/serving.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

_WARM_UPS = 2


def main(arguments: Sequence[str]) -> None:
    """Write all models."""
    folder = Path(arguments[1])
    x = tf.TensorSpec([None], tf.float32, name="x")
    for number, added in ((1, 2.0), (2, 3.0)):
        module = tf.Module()
        module.added = tf.Variable(added)
        half_plus = _half_plus(module, x)
        _save(folder / "half_plus" / str(number), module, half_plus, {"x": [1.0, 2.0]})
    features = tf.TensorSpec([None, 3], tf.float32, name="features")
    key = tf.TensorSpec([None], tf.string, name="key")
    module = tf.Module()
    function = tf.function(
        lambda features, key: {"score": tf.reduce_sum(features, axis=1), "key": tf.identity(key)},
        input_signature=[features, key],
    )
    example = {"features": [[1.0, 2.0, 3.0]], "key": ["a"]}
    _save(folder / "two_inputs" / "1", module, function, example)


def _half_plus(module: Any, x: Any) -> Any:
    return tf.function(lambda x: {"y": x * 0.5 + module.added}, input_signature=[x])


def _save(path: Path, module: Any, function: Any, example: Mapping[str, Any]) -> None:
    tf.saved_model.save(module, str(path), signatures={"serving_default": function})
    log = PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = path.parent.name
    request.model_spec.signature_name = "serving_default"
    for name, value in example.items():
        kind = tf.string if name == "key" else tf.float32
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value, dtype=kind))
    extra = path / "assets.extra"
    extra.mkdir()
    with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as writer:
        for _ in range(_WARM_UPS):
            writer.write(log.SerializeToString())


if __name__ == "__main__":
    main(sys.argv)
