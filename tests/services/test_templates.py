"""`envkit init --template`: from nothing to a served prediction."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.support.engines import Engine
from tests.support.projects import run
from tests.support.serving import free_port, get
from tests.support.serving_stand_in.environment import TensorFlow
from tests.support.waiting import wait

pytestmark = pytest.mark.network


class Begun:
    """A project that was begun, with pip's own configuration and a store of its own.

    Attributes:
        root: its folder.
    """

    def __init__(self, folder: Path, template: str, store: Path) -> None:
        self.root = folder / "begun"
        self._environ = {**os.environ, "ENVKIT_STORE": str(store), "ENVKIT_COMPILE": "now"}
        for name in ("VIRTUAL_ENV", "PYTHONPATH", "FLASK_APP", "CUDA_VISIBLE_DEVICES"):
            self._environ.pop(name, None)
        words = ["init", str(self.root), "--template", template]
        self.said = self._run(folder, sys.executable, "-m", "envkit", *words)

    def envkit(self, *words: str, **variables: str) -> str:
        """Run envkit in it, which has to succeed, and return what it printed."""
        self._environ |= variables
        return self._run(self.root, sys.executable, "-m", "envkit", *words)

    def set(self, **lines: str) -> None:
        """Add lines to what is said of its service."""
        with (self.root / "envkit.toml").open("a") as file:
            file.write("".join(f"{key} = {value}\n" for key, value in lines.items()))

    def _run(self, cwd: Path, *command: str) -> str:
        done = run(command, cwd=cwd, env=self._environ, limit=900)
        assert done.code == 0, done.text
        return done.text


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("templates") / "store"


def post(port: int, path: str, body: object) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.load(answer)


FLASK = {
    "flask": ([1, 2], [3.0, 5.0]),
    "ml": ([[5.1, 3.5, 1.4, 0.2]], ["setosa"]),
}


@pytest.mark.parametrize("template", FLASK)
def test_flask(template: str, store: Path, tmp_path: Path) -> None:
    begun = Begun(tmp_path, template, store)
    port = free_port()
    begun.set(port=str(port))
    begun.envkit("install")
    follow(begun, ("envkit serve --detach",))
    asked, answered = FLASK[template]
    assert post(port, "/predict", {"instances": asked}) == {"predictions": answered}
    assert get(port, "/health")[0] == 200
    begun.envkit("stop")
    # Begun once more, nothing is left to do, and nothing of it is changed.
    before = (begun.root / "app.py").read_bytes()
    assert "Nothing to write" in begun.envkit("init", ".", "--template", template)
    assert (begun.root / "app.py").read_bytes() == before


def follow(begun: Begun, last: tuple[str, ...]) -> None:
    """Run what `init` says that comes next, but for the last, which goes on for ever."""
    (line,) = re.findall("Next: (.*)", begun.said)
    _, *steps, serve = line.split(" && ")
    assert serve == "envkit serve"
    for step in (*steps, *last):
        begun.envkit(*step.split()[1:])


def test_tensorflow_serving(
    tensorflow: TensorFlow, engine: Engine, serving: str, tmp_path: Path
) -> None:
    # TensorFlow is in that store already.
    begun = Begun(tmp_path, "tensorflow-serving", tensorflow.store)
    port, tag = free_port(), serving.rpartition(":")[2]
    begun.set(port=str(port), grpc_port=str(free_port()), tag=json.dumps(tag))
    begun.envkit("install", **engine.environ)
    follow(begun, ("envkit serve --detach",))
    found = post(port, "/v1/models/half_plus_two:predict", {"instances": [0.0, 2.0]})
    assert found["predictions"] == pytest.approx([2.0, 3.0], abs=0.01)
    (listed,) = json.loads(begun.envkit("services", "--json"))
    typed = subprocess.run(
        ["/bin/sh", "-c", listed["example"]], capture_output=True, check=True, timeout=60
    )
    assert json.loads(typed.stdout)["predictions"] == pytest.approx([2.5], abs=0.01)
    begun.envkit("stop")


def test_in_its_image(engine: Engine, tmp_path: Path, store: Path) -> None:
    """The very same application, in the image that is deployed: by envkit, and without it."""
    begun = Begun(tmp_path, "flask", store)
    port = free_port()
    begun.set(port=str(port))
    begun.envkit("install", **engine.environ)
    begun.envkit("build", "--tag", "served:1")
    begun.envkit("serve", "--image", "--detach")
    asked = {"instances": [1]}
    assert post(port, "/predict", asked) == {"predictions": [3.0]}
    name = json.loads(begun.envkit("services", "--json"))[0]["process"].removeprefix("container ")
    form = "{{.State.Health.Status}}"
    wait(lambda: engine.ask("inspect", "--format", form, name) == "healthy", "it is healthy")
    assert "web stopped" in begun.envkit("stop")
    assert engine.docker("inspect", name).code != 0
    other = engine.ask("run", "--detach", "--publish", f"127.0.0.1:{port}:8000", "served:1")
    try:
        wait(lambda: get(port, "/health")[0] == 200, "it answers")
        assert post(port, "/predict", asked) == {"predictions": [3.0]}
        wait(lambda: engine.ask("inspect", "--format", form, other) == "healthy", "it is healthy")
        engine.ask("stop", other)
        assert engine.ask("inspect", "--format", "{{.State.ExitCode}}", other) == "0"
    finally:
        engine.ask("rm", "--force", other)
