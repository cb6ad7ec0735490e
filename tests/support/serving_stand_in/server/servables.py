"""SavedModels in memory. Sources: saved_model_warmup_util.cc, predict_util.cc, reader.cc."""

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from .statuses import Code, StatusError

_log = logging.getLogger(__name__)

_DEFAULT = "serving_default"
_TAGS = ["serve"]


class Servable:
    """A version of a model, which answers requests.

    Attributes:
        signatures: by their names, what the SavedModel says of each: SignatureDef.
    """

    def __init__(self, path: str) -> None:
        """Load it from a folder; raises StatusError where there is none in it."""
        with _said_by_tensorflow():
            self.signatures = dict(_meta_graph(path).signature_def)
            self._model = tf.saved_model.load(path, tags=_TAGS)
        self._path = path

    def warm_up(self) -> None:
        """Answer the requests that lie beside the model, if any do; raises StatusError."""
        path = Path(self._path, "assets.extra", "tf_serving_warmup_requests")
        if not path.exists():
            _log.info("No warmup data file found at %s", path)
            return
        _log.info("Starting to read warmup data for model at %s", path)
        began = time.monotonic()
        try:
            with _said_by_tensorflow():
                records = [*tf.data.TFRecordDataset(str(path)).as_numpy_iterator()]
        except StatusError as error:
            hint = "Please verify your warmup data is in TFRecord format."
            raise StatusError(error.code, f"{error.message}. {hint}") from error
        replayed = 0
        for record in records:
            self._replay(PredictionLog.FromString(record))
            replayed += 1
        _log.info(
            "Finished reading warmup data for model at %s. Number of warmup records read: %d. "
            "Elapsed time (microseconds): %d.",
            path,
            replayed,
            (time.monotonic() - began) * 1e6,
        )

    def signature(self, name: str) -> Any:
        """Return a signature, that without a name being the default; raises StatusError."""
        name = name or _DEFAULT
        if name not in self.signatures:
            raise StatusError(
                Code.INVALID_ARGUMENT,
                f'Serving signature name: "{name}" not found in signature def',
            )
        return self.signatures[name]

    def predict(self, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outputs of a signature for inputs, both arrays by name; raises StatusError."""
        wanted, sent = {*self.signature(name).inputs}, {*inputs}
        if sent != wanted:
            lists = [",".join(sorted(one)) for one in (sent, wanted, sent - wanted, wanted - sent)]
            raise StatusError(
                Code.INVALID_ARGUMENT,
                f"input size does not match signature: {len(sent)}!={len(wanted)} "
                "len({{{}}}) != len({{{}}}). Sent extra: {{{}}}. Missing but required: {{{}}}."
                "".format(*lists),
            )
        with _said_by_tensorflow():
            called = self._model.signatures[name or _DEFAULT]
            tensors = {key: tf.constant(value) for key, value in inputs.items()}
            return {key: tensor.numpy() for key, tensor in called(**tensors).items()}

    def _replay(self, log: Any) -> None:
        if log.WhichOneof("log_type") != "predict_log":
            raise StatusError(Code.UNIMPLEMENTED, "the stand-in replays predictions only")
        request = log.predict_log.request
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        self.predict(request.model_spec.signature_name, inputs)


def _meta_graph(path: str) -> Any:
    file = Path(path, "saved_model.pb")
    if not file.is_file():
        raise StatusError(
            Code.NOT_FOUND,
            "Could not find SavedModel .pb or .pbtxt at supplied export directory path: "
            f"{path}. Check that the directory exists and that you have the right permissions "
            "for accessing it.",
        )
    for found in SavedModel.FromString(file.read_bytes()).meta_graphs:
        if [*found.meta_info_def.tags] == _TAGS:
            return found
    raise StatusError(
        Code.NOT_FOUND,
        f"Could not find meta graph def matching supplied tags: {{ {' '.join(_TAGS)} }}.",
    )


@contextlib.contextmanager
def _said_by_tensorflow() -> Iterator[None]:
    """Let what TensorFlow raises be a StatusError."""
    try:
        yield
    except tf.errors.OpError as error:
        raise StatusError(error.error_code, error.message) from error
    except StatusError:
        raise
    # Whatever a model does, and a file that is none: the server goes on.
    except Exception as error:
        raise StatusError(Code.INVALID_ARGUMENT, f"{type(error).__name__}: {error}") from error
