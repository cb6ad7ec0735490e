"""The stand-in for TensorFlow Serving: what its image has, what it answers and says."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engines import Engine
from tests.support.images import Image
from tests.support.serving_stand_in import image
from tests.support.serving_stand_in.containers import Container, mounted
from tests.support.serving_stand_in.environment import TensorFlow

pytestmark = pytest.mark.network

_MODELS = """
model_config_list {
  config {
    name: "half"
    base_path: "/models/half_plus"
    model_platform: "tensorflow"
    model_version_policy { specific { versions: 1 versions: 2 } }
    version_labels { key: "stable" value: 1 }
    version_labels { key: "canary" value: 2 }
  }
  config { name: "two" base_path: "/models/two_inputs" model_platform: "tensorflow" }
}
"""

_BATCHING = """
max_batch_size { value: 32 }
batch_timeout_micros { value: 1000 }
thread_pool_name { value: "pool" }
allowed_batch_sizes: 32
"""

_MONITORING = 'prometheus_config { enable: true path: "/metrics" }'

_ROW = {"features": [1, 2, 3], "key": "a"}

_UNAVAILABLE = "--allow_version_labels_for_unavailable_models"

# Reads answers as the messages that they have to be, and says what they say: each answer is printed
# as it is when it has been one, and with it the signatures that TensorFlow itself finds in a model.
_READ = """
import json, sys
from google.protobuf import json_format
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis.get_model_metadata_pb2 import SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse
from tensorflow_serving.apis.model_pb2 import ModelSpec

def again(document, message):
    return told(json_format.ParseDict(document, message))

def told(message):
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )

status, metadata = json.load(open(sys.argv[1]))
(graph,) = SavedModel.FromString(open(sys.argv[2], "rb").read()).meta_graphs
print(json.dumps([
    again(status, GetModelStatusResponse()),
    {
        "model_spec": again(metadata["model_spec"], ModelSpec()),
        "metadata": {
            "signature_def": again(metadata["metadata"]["signature_def"], SignatureDefMap())
        },
    },
    told(SignatureDefMap(signature_def=graph.signature_def)),
]))
"""


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all files that the server can be told to read."""
    folder = tmp_path_factory.mktemp("configs")
    (folder / "models.config").write_text(_MODELS)
    (folder / "batching.config").write_text(_BATCHING)
    (folder / "monitoring.config").write_text(_MONITORING)
    return folder


@pytest.fixture(scope="module")
def server(
    engine: Engine, serving_stand_in: str, saved_models: Path, configs: Path
) -> Iterator[Container]:
    """A server of two models, one of which has two versions with labels."""
    options = (
        *mounted(saved_models),
        *mounted(configs, "/configs"),
        *("--env", "TF_FORCE_GPU_ALLOW_GROWTH=true"),
    )
    arguments = (
        "--model_config_file=/configs/models.config",
        "--enable_batching",
        "--batching_parameters_file=/configs/batching.config",
        "--monitoring_config_file=/configs/monitoring.config",
        "--per_process_gpu_memory_fraction=0.5",
        "--rest_api_timeout_in_ms=5000",
        _UNAVAILABLE,
    )
    with Container(engine, serving_stand_in, options, arguments) as made:
        for model, version in (("half", "1"), ("half", "2"), ("two", "1")):
            made.wait(model, version)
        yield made


def test_it_says_what_it_is(engine: Engine, serving_stand_in: str, server: Container) -> None:
    assert "This is a stand-in for TensorFlow Serving" in server.log.splitlines()[0]
    assert image.LABEL in Image(engine, serving_stand_in).labels
    assert not image.has_real(engine, image.TAG)
    engine.ask("tag", f"python:{_python(engine)}", f"{image.NAME}:no-stand-in")
    assert image.has_real(engine, "no-stand-in")
    assert not image.has_real(engine, "absent")


def _python(engine: Engine) -> str:
    (tag,) = (name for name in engine.images() if name.startswith("python:"))
    return tag.partition(":")[2]


def test_the_image_is_laid_out_as_the_real_one(engine: Engine, serving_stand_in: str) -> None:
    config = Image(engine, serving_stand_in).config
    assert config["Entrypoint"] == ["/usr/bin/tf_serving_entrypoint.sh"]
    assert {*config["ExposedPorts"]} == {"8500/tcp", "8501/tcp"}
    assert {"MODEL_BASE_PATH=/models", "MODEL_NAME=model"} <= {*config["Env"]}
    run = ("run", "--rm", "--entrypoint", "sh", serving_stand_in, "-c")
    script = "command -v tensorflow_model_server; ls -d /models; command -v curl wget || true"
    assert engine.ask(*run, script).split() == ["/usr/bin/tensorflow_model_server", "/models"]


def test_answers_are_the_messages_that_they_have_to_be(
    server: Container, tensorflow: TensorFlow, saved_models: Path, tmp_path: Path
) -> None:
    status, metadata = (
        server.request(f"/v1/models/{path}")[1] for path in ("half", "two/metadata")
    )
    (tmp_path / "answers.json").write_text(json.dumps([status, metadata]))
    (tmp_path / "read.py").write_text(_READ)
    model = saved_models / "two_inputs" / "1" / "saved_model.pb"
    words = (str(tmp_path / "read.py"), str(tmp_path / "answers.json"), str(model))
    read_status, read_metadata, signatures = json.loads(tensorflow.ask(*words, cwd=tmp_path))
    assert read_status == status
    assert read_metadata == metadata
    assert metadata["metadata"]["signature_def"] == signatures


def test_status(server: Container) -> None:
    good = {"error_code": "OK", "error_message": ""}
    second, first = (
        {"version": number, "state": "AVAILABLE", "status": good} for number in ("2", "1")
    )
    assert server.request("/v1/models/half")[1] == {"model_version_status": [second, first]}
    one = server.request("/v1/models/half/versions/2")
    assert one == (200, {"model_version_status": [second]})
    # The real server does not look at the label.
    labelled = server.request("/v1/models/half/labels/stable")
    assert labelled == (200, {"model_version_status": [second, first]})


def test_metadata(server: Container) -> None:
    status, told = server.request("/v1/models/half/metadata")
    assert status == 200
    assert told["model_spec"] == {"name": "half", "signature_name": "", "version": "2"}
    signature = told["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    shape = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    assert signature["inputs"] == {
        "x": {"dtype": "DT_FLOAT", "tensor_shape": shape, "name": "serving_default_x:0"}
    }
    one = server.request("/v1/models/half/labels/stable/metadata")[1]
    assert one["model_spec"]["version"] == "1"


@pytest.mark.parametrize(
    ("which", "document", "answer"),
    [
        ("half", {"instances": [1.0, 2, 0.2]}, {"predictions": [3.5, 4.0, 3.1]}),
        ("half/versions/1", {"instances": [1.0]}, {"predictions": [2.5]}),
        ("half/labels/stable", {"inputs": [4.0, 6.0]}, {"outputs": [4.0, 5.0]}),
        ("half/labels/canary", {"inputs": {"x": [4.0]}}, {"outputs": [5.0]}),
        (
            "half",
            {"signature_name": "serving_default", "instances": [{"x": 4.0}]},
            {"predictions": [5.0]},
        ),
        (
            "two",
            {
                "instances": [
                    {"features": [1, 2, 3], "key": "a"},
                    {"features": [0, 0, 1], "key": ""},
                ]
            },
            {"predictions": [{"key": "a", "score": 6.0}, {"key": "", "score": 1.0}]},
        ),
        (
            "two",
            {"inputs": {"features": [[1, 2, 3]], "key": [{"b64": "w6k="}]}},
            {"outputs": {"key": ["é"], "score": [6.0]}},
        ),
    ],
)
def test_predictions(server: Container, which: str, document: object, answer: object) -> None:
    assert server.request(f"/v1/models/{which}:predict", document) == (200, answer)


@pytest.mark.parametrize(
    ("path", "document", "status", "said"),
    [
        ("/v1/models/none", None, 404, "Could not find any versions of model none"),
        ("/v1/models/half/versions/7", None, 404, "Could not find version 7 of model half"),
        ("/v1/models", None, 400, "Missing model name in request."),
        ("/v1/other", None, 400, "Malformed request: GET /v1/other"),
        ("/v1/models/half:other", {}, 400, "Malformed request: POST /v1/models/half:other"),
        (
            "/v1/models/none:predict",
            {"instances": [1]},
            404,
            "Servable not found for request: Latest(none)",
        ),
        (
            "/v1/models/half/versions/7:predict",
            {"instances": [1]},
            404,
            "Servable not found for request: Specific(half, 7)",
        ),
        (
            "/v1/models/half/labels/old:predict",
            {"instances": [1]},
            400,
            "Unrecognized servable version label: old",
        ),
        (
            "/v1/models/half:predict",
            {"instances": [1], "signature_name": "other"},
            400,
            'Serving signature name: "other" not found in signature def',
        ),
        ("/v1/models/half:predict", {"rows": [1]}, 400, "Missing 'inputs' or 'instances' key"),
        ("/v1/models/half:predict", "{instances", 400, "JSON Parse error"),
        ("/v1/models/half:predict", [1], 400, "Is not object"),
        ("/v1/models/half:predict", {"instances": []}, 400, "No values in 'instances' array"),
        ("/v1/models/half:predict", {"instances": ["a"]}, 400, "is not of expected type: float"),
        ("/v1/models/half:predict", {"instances": [[1], [1, 2]]}, 400, "Expecting tensor size: 1"),
        ("/v1/models/two:predict", {"instances": [1]}, 400, "expecting list of objects"),
        (
            "/v1/models/two:predict",
            {"instances": [{"key": "a"}]},
            400,
            "keys must be equal to: features,key",
        ),
        (
            "/v1/models/two:predict",
            {"inputs": {"key": ["a"]}},
            400,
            "Missing named input: features in 'inputs' object.",
        ),
        ("/v1/models/half:classify", {"examples": [{"x": 1}]}, 501, "stand-in"),
    ],
)
def test_errors(server: Container, path: str, document: object, status: int, said: str) -> None:
    code, told = server.request(path, document)
    assert code == status
    assert [*told] == ["error"]
    assert said in told["error"]


def test_what_is_no_part_of_the_api_is_not_found(server: Container) -> None:
    assert server.request("/") == (404, None)


def test_metrics_are_where_they_are_asked_for(server: Container) -> None:
    server.request("/v1/models/absent")
    counted = ':tensorflow:serving:request_count{model_name="absent",status="NOT_FOUND"} 1'
    assert counted in server.text("/metrics").splitlines()
    assert server.request("/monitoring/prometheus/metrics") == (404, None)


def test_it_says_what_it_was_told(server: Container) -> None:
    for said in (
        "TF_FORCE_GPU_ALLOW_GROWTH: true",
        "per_process_gpu_memory_fraction: 0.5",
        "Batching with: max_batch_size { value: 32 }",
        "Running gRPC ModelServer at 0.0.0.0:8500",
        "Exporting HTTP/REST API at:localhost:8501",
        "half_plus/2/assets.extra/tf_serving_warmup_requests. Number of warmup records read: 2.",
    ):
        assert said in server.log
