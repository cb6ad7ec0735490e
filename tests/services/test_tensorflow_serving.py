"""Models behind the stand-in for TensorFlow Serving, or the real one where the engine has it."""

import json
import os
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from envkit.services import tensorflow_serving
from tests.support.engines import Engine
from tests.support.projects import Machine, Project
from tests.support.serving import Serving, declare, free_port, get, services, state
from tests.support.serving_stand_in import image as stand_in
from tests.support.waiting import wait

pytestmark = pytest.mark.network

HALF = 'model = "models/half_plus"'


@pytest.fixture
def project(
    machine: Machine, engine: Engine, serving: str, saved_models: Path
) -> Iterator[Project]:
    """A project with models, and no environment: none is needed to serve them."""
    made = machine.project()
    shutil.copytree(saved_models, made.root / "models")
    machine.environ |= engine.environ
    machine.environ["TAG"] = serving.rpartition(":")[2]
    yield made
    # A test that fails leaves no container to the next.
    made.envkit("stop")


def serves(project: Project, *lines: str) -> int:
    """Declare the service `model`, and return the port of its REST API."""
    port, tag = free_port(), project.machine.environ["TAG"]
    common = ['kind = "tensorflow-serving"', f'tag = "{tag}"', f"port = {port}"]
    grpc = f"grpc_port = {free_port()}"
    declare(project, {"model": [*common, grpc, 'start_timeout = "120s"', *lines]})
    return port


def predict(port: int, path: str, body: object) -> Any:
    """Return what a model answers."""
    url = f"http://127.0.0.1:{port}/v1/models/{path}:predict"
    data = json.dumps(body).encode()
    with urllib.request.urlopen(url, data, timeout=30) as answer:
        return json.load(answer)


def typed(command: str) -> Any:
    """Return what a command answers that is typed into a shell as it is."""
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=True, timeout=60)
    return json.loads(done.stdout)


def containers(engine: Engine) -> list[str]:
    return [name for name in engine.containers() if name.startswith("envkit-")]


def test_served_and_stopped(project: Project, engine: Engine) -> None:
    port = serves(project, HALF)
    with Serving(project) as serving:
        serving.until_ready("model")
        assert predict(port, "half_plus", {"instances": [1.0, 2.0]}) == {"predictions": [3.5, 4.0]}
        entry = services(project)["model"]
        assert entry["address"] == f"127.0.0.1:{port}"
        assert entry["process"].startswith("container envkit-")
        assert typed(entry["example"]) == {"predictions": [3.5]}
        assert serving.stop() == 0
    assert f"Try model:  {entry['example']}" in serving.err
    assert "model | " in serving.out
    said = "model drained, then killed, as TensorFlow Serving ignores SIGTERM ("
    assert said in serving.err
    assert containers(engine) == []
    assert get(port)[0] == 0
    assert project.machine.processes() == []


def test_what_is_asked_is_answered_before_the_end(project: Project) -> None:
    port = serves(project, HALF)
    found: list[object] = []
    over = threading.Event()

    def client() -> None:
        while not over.is_set():
            try:
                found.append(predict(port, "half_plus", {"instances": [0.0] * 20_000}))
            except urllib.error.HTTPError:
                # Refused, as the model is not there any more: it was told so.
                return
            except OSError as error:
                found.append(error)
                return

    with Serving(project) as serving:
        serving.until_ready("model")
        clients = [threading.Thread(target=client) for _ in range(4)]
        for one in clients:
            one.start()
        wait(lambda: len(found) > 20, "some are answered")
        assert serving.stop() == 0
    over.set()
    for one in clients:
        one.join()
    refused = [one for one in found if isinstance(one, Exception)]
    assert [one for one in refused if not isinstance(one, ConnectionRefusedError)] == []


def test_several_models_versions_and_labels(project: Project) -> None:
    port = serves(
        project,
        "warmup = 2",
        "batching = { max_batch_size = 8, batch_timeout_micros = 1000 }",
        "[[services.model.models]]",
        'path = "models/half_plus"',
        'name = "half"',
        "versions = [1, 2]",
        "labels = { stable = 1, canary = 2 }",
        "[[services.model.models]]",
        'path = "models/two_inputs"',
    )
    with Serving(project) as serving:
        serving.until_ready("model")
        ask = {"instances": [2.0]}
        assert predict(port, "half/labels/stable", ask) == {"predictions": [3.0]}
        assert predict(port, "half/labels/canary", ask) == {"predictions": [4.0]}
        assert predict(port, "half/versions/1", ask) == {"predictions": [3.0]}
        row = {"features": [1.0, 2.0, 3.0], "key": "a"}
        found = predict(port, "two_inputs", {"instances": [row]})
        assert found == {"predictions": [{"score": 6.0, "key": "a"}]}
        assert serving.stop() == 0
    assert "warm" in serving.out.lower()
    assert "max_batch_size" in serving.out


def test_one_that_needs_several_inputs_has_an_example(project: Project) -> None:
    serves(project, 'model = "models/two_inputs"')
    found = project.succeed("serve", "--detach", "--json").json
    assert typed(found[0]["example"]) == {"predictions": [{"score": 3.0, "key": "text"}]}
    assert project.succeed("stop").err.startswith("model drained")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "one of `model` and `models`"),
        ([HALF, "[[services.model.models]]", 'path = "x"'], "one of `model` and `models`"),
        (['model = "models"'], "no folder whose name is the number of a version"),
        (['model = "absent"'], "absent is not there"),
        ([HALF, "batching = 3"], "services.model.batching"),
        ([HALF, "batching = { size = 3 }"], "services.model.batching"),
        ([HALF, "warmup = -1"], "services.model.warmup"),
        ([HALF, 'tag = "a b"'], "services.model.tag"),
        ([HALF, 'health = "/"'], "services.model.health: unknown key"),
    ],
)
def test_what_is_said_wrongly(project: Project, lines: Sequence[str], words: str) -> None:
    own = {line.partition(" ")[0] for line in lines}
    common = ['kind = "tensorflow-serving"', 'tag = "x"']
    declare(project, {"model": [*(c for c in common if c.partition(" ")[0] not in own), *lines]})
    result = project.envkit("serve")
    assert result.code == 2, result.text
    assert words in result.err


def test_without_what_it_needs(project: Project, engine: Engine) -> None:
    serves(project, HALF, "warmup = 1")
    warm = project.root / "models/half_plus/2/assets.extra/tf_serving_warmup_requests"
    warm.unlink()
    result = project.envkit("serve")
    assert result.code == 2
    assert "no requests to be warmed up with in version 2" in result.err
    declare(project, {"model": ['kind = "tensorflow-serving"', HALF, 'tag = "absent"']})
    result = project.envkit("serve")
    assert result.code == 3
    assert "has no image tensorflow/serving:absent" in result.err
    assert "`docker pull tensorflow/serving:absent`" in result.err
    result = project.envkit("serve", env={"DOCKER_HOST": "unix:///absent.sock"})
    assert result.code == 3
    assert "Docker" in result.err
    assert result.err.count("\n") <= 2
    assert containers(engine) == []


def test_a_model_that_cannot_be_loaded(project: Project, engine: Engine) -> None:
    project.root.joinpath("models/half_plus/2/saved_model.pb").write_bytes(b"nonsense")
    serves(project, HALF, 'options = ["--max_num_load_retries=0"]')
    result = project.envkit("serve")
    assert result.code == 4, result.text
    assert "model did not start: it ended with exit code 255" in result.err
    assert containers(engine) == []


def test_one_that_ends_by_itself(project: Project, engine: Engine) -> None:
    serves(project, HALF)
    with Serving(project) as serving:
        serving.until_ready("model")
        (name,) = containers(engine)
        engine.ask("kill", name)
        assert serving.ended() == 4
    assert "model failed: it ended with exit code 137" in serving.err
    assert containers(engine) == []


def test_its_supervisor_is_killed(project: Project, engine: Engine) -> None:
    port = serves(project, HALF)
    with Serving(project) as serving:
        serving.until_ready("model")
        serving.process.kill()
        serving.ended()
    # An engine's containers are not the kernel's to end.
    assert len(containers(engine)) == 1
    assert state(project, "model") == "killed"
    assert "its container was still there, and is removed" in project.succeed("stop").err
    assert containers(engine) == []
    with Serving(project) as serving:
        serving.until_ready("model")
        serving.process.kill()
        serving.ended()
    # Started anew, it takes the place of the one that was left.
    with Serving(project) as serving:
        wait(lambda: state(project, "model") in ("starting", "ready"), "it is started")
        serving.until_ready("model")
        assert predict(port, "half_plus", {"instances": [0.0]}) == {"predictions": [3.0]}
    assert containers(engine) == []


def test_which_one_it_is(engine: Engine, serving: str) -> None:
    """The stand-in says so itself; the real one is taken where there is one."""
    real = stand_in.has_real(engine, serving.rpartition(":")[2])
    assert real == stand_in.bring_real(engine, tensorflow_serving.TAG)


def settings_of(project: Project) -> Mapping[str, Any]:
    """Return what the files say that were written for the server."""
    (folder,) = project.machine.store.glob("spares-v1/*/services/model")
    return {one.name: one.read_text() for one in folder.iterdir()}


def test_the_files_of_the_server(project: Project, tensorflow: Any) -> None:
    """They are what the messages of tensorflow-serving-api read."""
    serves(project, "batching = true", "[[services.model.models]]", 'path = "models/half_plus"')
    with Serving(project) as serving:
        serving.until_ready("model")
        text = settings_of(project)["models.config"]
    code = (
        "import sys\n"
        "from google.protobuf import text_format\n"
        "from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig\n"
        "found = text_format.Parse(sys.argv[1], ModelServerConfig())\n"
        "print(found.model_config_list.config[0].base_path)\n"
    )
    assert tensorflow.ask("-c", code, text, cwd=project.root).strip() == "/models/half_plus"
    assert os.path.isfile(project.root / "models/half_plus/1/saved_model.pb")
