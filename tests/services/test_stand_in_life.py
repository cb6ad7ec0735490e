"""The stand-in for TensorFlow Serving: how it starts, what keeps it from it, how it goes on."""

import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.engines import Engine
from tests.support.serving_stand_in.containers import Container, mounted
from tests.support.serving_stand_in.server import flags
from tests.support.waiting import wait

pytestmark = pytest.mark.network

_CONFIG = """
model_config_list {
  config {
    name: "half"
    base_path: "/models/half_plus"
    model_platform: "tensorflow"
    @MORE@
  }
}
"""

_BASE_PATH = "--model_base_path=/models/half_plus"
_CONFIG_FILE = "--model_config_file=/configs/told"
_BATCHING_FILE = "--batching_parameters_file=/configs/told"
_LABEL = _CONFIG.replace("@MORE@", 'version_labels { key: "stable" value: 1 }')


@pytest.mark.parametrize(
    ("told", "arguments", "said"),
    [
        (
            _CONFIG.replace("@MORE@", "replicas: 2"),
            (_CONFIG_FILE,),
            "INVALID_ARGUMENT: Invalid protobuf file: '/configs/told'",
        ),
        (
            _CONFIG.replace('"tensorflow"', '""').replace("@MORE@", ""),
            (_CONFIG_FILE,),
            "INVALID_ARGUMENT: Illegal setting neither ModelServerConfig::model_type",
        ),
        (
            _LABEL,
            (_CONFIG_FILE,),
            "FAILED_PRECONDITION: Request to assign label to version 1 of model half, which is "
            "not currently available for inference",
        ),
        (
            "max_batch_sizes { value: 32 }",
            (_BASE_PATH, "--enable_batching", _BATCHING_FILE),
            "INVALID_ARGUMENT: Invalid protobuf file: '/configs/told'",
        ),
        (
            "max_batch_size { value: 32 }",
            (_BASE_PATH, _BATCHING_FILE),
            "batching_parameters_file is set without setting",
        ),
        ("", ("--rest_api_port=web",), "usage: /usr/bin/tensorflow_model_server"),
    ],
)
def test_it_does_not_start(
    engine: Engine,
    serving_stand_in: str,
    saved_models: Path,
    tmp_path: Path,
    told: str,
    arguments: Sequence[str],
    said: str,
) -> None:
    (tmp_path / "told").write_text(told)
    folders = (*mounted(saved_models), *mounted(tmp_path, "/configs"))
    result = engine.docker("run", "--rm", *folders, serving_stand_in, *arguments)
    assert result.code == 255
    assert said in result.out


def test_a_model_that_cannot_be_loaded_ends_it(
    engine: Engine, serving_stand_in: str, tmp_path: Path
) -> None:
    (tmp_path / "model" / "1").mkdir(parents=True)
    retries = "--max_num_load_retries=0"
    result = engine.docker("run", "--rm", *mounted(tmp_path), serving_stand_in, retries)
    assert result.code == 255
    assert "1 servable(s) did not become available: {{{name: model version: 1}" in result.out
    assert "Could not find SavedModel" in result.out


def test_without_a_version_it_waits_and_answers_nobody(
    engine: Engine, serving_stand_in: str, saved_models: Path, tmp_path: Path
) -> None:
    shutil.copytree(saved_models / "half_plus" / "1", tmp_path / "model" / "first")
    missing = (
        "No versions of servable model found under base path /models/model. "
        "Did you forget to name your leaf directory as a number (eg. '/1/')?"
    )
    with Container(engine, serving_stand_in, mounted(tmp_path)) as made:
        wait(lambda: missing in made.log, missing)
        assert made.request("/v1/models/model") == (0, None)
        assert made.running()
        (tmp_path / "model" / "first").rename(tmp_path / "model" / "1")
        made.wait("model", "1")


def test_a_new_version_takes_the_place_of_the_old_one(
    engine: Engine, serving_stand_in: str, saved_models: Path, tmp_path: Path
) -> None:
    shutil.copytree(saved_models / "half_plus" / "1", tmp_path / "model" / "1")
    shutil.copytree(saved_models / "half_plus" / "2", tmp_path / "next")
    options = (*mounted(tmp_path), "--env", "STAND_IN_LOAD_SECONDS=1")
    with Container(engine, serving_stand_in, options) as made:
        made.wait("model", "1")
        (tmp_path / "next").rename(tmp_path / "model" / "2")
        wait(lambda: made.states("model").get("2") == "LOADING", "version 2 loading")
        assert made.states("model")["1"] == "AVAILABLE"
        assert made.request("/v1/models/model:predict", {"instances": [2]})[1]["predictions"] == [3]
        made.wait("model", "2")
        made.wait("model", "1", "END")
        assert made.request("/v1/models/model:predict", {"instances": [2]})[1]["predictions"] == [4]


def test_labels_come_with_a_new_list_of_models(
    engine: Engine, serving_stand_in: str, saved_models: Path, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    told.write_text(_CONFIG.replace("@MORE@", ""))
    arguments = (_CONFIG_FILE, "--model_config_file_poll_wait_seconds=1")
    options = (*mounted(saved_models), *mounted(tmp_path, "/configs"))
    request = {"instances": [2]}
    with Container(engine, serving_stand_in, options, arguments) as made:
        made.wait("half", "2")
        assert made.request("/v1/models/half/labels/stable:predict", request)[0] == 400
        told.write_text(_LABEL)
        refused = "Request to assign label to version 1 of model half"
        wait(lambda: refused in made.log, refused)
        told.write_text(_LABEL.replace("value: 1", "value: 2"))
        wait(
            lambda: made.request("/v1/models/half/labels/stable:predict", request)[0] == 200,
            "the label known",
        )


def test_warming_up_with_what_is_no_request_is_an_error(
    engine: Engine, serving_stand_in: str, saved_models: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model" / "1"
    shutil.copytree(saved_models / "half_plus" / "1", model)
    (model / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"x" * 64)
    retries = "--max_num_load_retries=0"
    result = engine.docker("run", "--rm", *mounted(tmp_path), serving_stand_in, retries)
    assert result.code == 255
    assert "Please verify your warmup data is in TFRecord format." in result.out


def test_it_heeds_no_sigterm_and_goes_on_in_spite_of_unknown_arguments(
    engine: Engine, serving_stand_in: str, saved_models: Path
) -> None:
    options = (*mounted(saved_models), "--env", "MODEL_NAME=half_plus")
    with Container(engine, serving_stand_in, options, ["--replicas=2"]) as made:
        made.wait("half_plus", "2")
        assert "unknown argument: --replicas=2\nusage: " in made.log
        engine.ask("kill", "--signal", "TERM", made.name)
        assert made.request("/v1/models/half_plus/versions/2")[0] == 200
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        address = engine.ask("inspect", "--format", form, made.name)
        with socket.create_connection((address, 8500), timeout=10) as client:
            assert client.recv(1) == b""
        assert "The stand-in speaks no gRPC" in made.log
        engine.ask("stop", "--time", "1", made.name)
        assert engine.ask("inspect", "--format", "{{.State.ExitCode}}", made.name) == "137"


def test_flags() -> None:
    line = flags.read(
        ["--port=1", "--enable_batching", "--enable_model_warmup=false", "--num_load_threads=2"]
    )
    assert (line.values["port"], line.values["rest_api_port"]) == (1, 0)
    assert (line.values["enable_batching"], line.values["enable_model_warmup"]) == (True, False)
    assert line.ignored == ["--num_load_threads=2"]
    assert (line.unknown, line.wrong) == ([], [])
    assert not line.unusable


@pytest.mark.parametrize(
    ("word", "unknown", "unusable"),
    [
        ("--port=x", False, True),
        ("--enable_batching=1", False, True),
        ("--help", True, True),
        ("--replicas=2", True, False),
        ("--port", True, False),
        ("-port=1", True, False),
        ("x", True, False),
    ],
)
def test_flags_that_are_none(word: str, unknown: bool, unusable: bool) -> None:
    line = flags.read([word])
    assert bool(line.unknown) == unknown
    assert line.unusable == unusable
