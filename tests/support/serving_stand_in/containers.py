"""Containers of the stand-in for TensorFlow Serving, and what they answer."""

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..engines import Engine
from ..waiting import wait


def mounted(folder: Path, place: str = "/models") -> Sequence[str]:
    """Return what `docker run` is told for a container to have a folder."""
    return ("--mount", f"type=bind,source={folder},target={place},readonly")


class Container:
    """A container, which runs while it is entered."""

    def __init__(
        self, engine: Engine, image: str, options: Sequence[str], arguments: Sequence[str] = ()
    ) -> None:
        """Prepare it: the image's name, what `docker run` is told, and what the server is."""
        self._engine = engine
        self._words = (*options, "--publish", "127.0.0.1::8501", image, *arguments)
        self.name = ""

    def __enter__(self) -> "Container":
        self.name = self._engine.ask("run", "--detach", *self._words)
        return self

    def __exit__(self, *exception: object) -> None:
        self._engine.ask("rm", "--force", self.name)

    @property
    def log(self) -> str:
        """All that it has said."""
        return self._engine.docker("logs", self.name).text

    @property
    def address(self) -> str:
        """The URL of its REST API, without a path."""
        return f"http://{self._engine.ask('port', self.name, '8501').splitlines()[0]}"

    def running(self) -> bool:
        """Return whether it has not ended."""
        return self._engine.ask("inspect", "--format", "{{.State.Running}}", self.name) == "true"

    def text(self, path: str) -> str:
        """Return what there is at a path, which has to be there."""
        with urllib.request.urlopen(f"{self.address}{path}", timeout=30) as answer:  # noqa: S310
            return str(answer.read(), "utf-8")

    def request(self, path: str, document: object = None) -> tuple[int, Any]:
        """Return the status and the document of an answer; 0 and nothing where there is none.

        Args:
            path: the path.
            document: what is posted; a string is posted as it is. Without it, it is a GET.
        """
        text = document if isinstance(document, str) else json.dumps(document)
        body = None if document is None else text.encode()
        try:
            with urllib.request.urlopen(f"{self.address}{path}", body, timeout=30) as answer:  # noqa: S310
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                content = error.read()
            return error.code, json.loads(content) if content else None
        except OSError:
            return 0, None

    def states(self, model: str) -> dict[str, str]:
        """Return what has become of each version of a model; nothing where that is not told."""
        status, told = self.request(f"/v1/models/{model}")
        if status != 200:
            return {}
        return {one["version"]: one["state"] for one in told["model_version_status"]}

    def wait(self, model: str, version: str, state: str = "AVAILABLE") -> None:
        """Wait until a version of a model is in a state; a failure where that takes too long."""

        def reached() -> bool:
            assert self.running(), self.log
            return self.states(model).get(version) == state

        wait(reached, f"version {version} of {model} {state}")
