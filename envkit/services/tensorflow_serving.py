"""Models behind TensorFlow Serving, in its own container.

The server has no way of being asked to finish what it does: it pays no heed to SIGTERM
(tensorflow/serving#1853). But it reads its model config file anew while it runs, and lets go of a
model that is not in it any more once the last request to it has been answered
(`ServerCore::ReloadConfig`, `AspiredVersionsManager`). So it is drained, and then killed.

Sources: TensorFlow Serving documentation, "Configuration", "RESTful API", "SavedModel Warmup",
"Batching Configuration"; the flags of `tensorflow_model_server`.
"""

from __future__ import annotations

import http.client
import json
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

from envkit.declared import is_port, refuse_unknown
from envkit.engines import running as containers_running
from envkit.engines.engine import Engine
from envkit.engines.running import Container
from envkit.errors import ToolError, UsageError
from envkit.gpu import containers
from envkit.services import saved_models
from envkit.services.listening import refuse_taken
from envkit.services.saved_models import Model
from envkit.services.service import Grant, Request, Running, ask, reached, shown, wait_for
from envkit.store.layout import write_whole
from envkit.tables import is_whole

# The server's ports, as its documentation has them.
_GRPC, _REST = 8500, 8501

IMAGE, TAG = "tensorflow/serving", "2.19.1"

# Where the server finds its models, and what is written for it.
_MODELS, _CONFIG = "/models", "/config"
_MODEL_FILE, _BATCHING_FILE = "models.config", "batching.config"

# How often the server reads its model config file, in seconds.
_POLL = 1

# How long it goes on to refuse what comes once it is drained, in seconds.
_REFUSING = 0.5

# No answer about a model has so many bytes.
_MOST = 1 << 20

# What an image's tag ends in that has CUDA.
_GPU = "-gpu"

KEYS = ("image", "tag", "model", "models", "grpc_port", "batching", "warmup", "options")

# The parameters of batching: name -> whether it is a number, rather than a flag
# (tensorflow_serving.BatchingParameters).
_BATCHING = {
    "max_batch_size": True,
    "batch_timeout_micros": True,
    "max_enqueued_batches": True,
    "num_batch_threads": True,
    "pad_variable_length_inputs": False,
}


class Settings(NamedTuple):
    """What is said of a TensorFlow Serving service.

    Attributes:
        image: the image, without a tag.
        tag: its tag, without what stands for GPUs.
        models: what is served.
        grpc_port: where it listens for gRPC.
        batching: whether requests are put together, and with which parameters; None for not.
        warmup: how often each request of a model's own is asked before it is ready; None leaves
            that to the server, 0 asks none.
        options: more flags of the server.
    """

    image: str
    tag: str
    models: tuple[Model, ...]
    grpc_port: int
    batching: Mapping[str, int | bool] | None
    warmup: int | None
    options: tuple[str, ...]

    @classmethod
    def read(cls, request: Request) -> Settings:
        """Return what is said.

        Raises:
            UsageError: something is said wrongly, or a model is not there.
        """
        config, root = request.config, request.project.root
        refuse_unknown(config, KEYS)
        own = config.own
        single = own.text("model")
        models = [Model.read(table, root) for table in own.tables("models")]
        if (single is None) == (not models):
            raise UsageError(
                f"{own.place('model')}: one of `model` and `models` has to be there",
                'As in model = "models/half_plus_two".',
            )
        if single is not None:
            models = [Model.of(None, root / single)]
        names = [model.name for model in models]
        if len({*names}) < len(names):
            raise UsageError(f"{own.place('models')}: two models have one name")
        for model in models:
            model.check(own.place("models" if single is None else "model"))
        batching = own.value(
            "batching", f"must be true, or a table of {', '.join(_BATCHING)}", _can
        )
        return cls(
            image=own.text("image") or IMAGE,
            tag=own.matching("tag", r"[\w][\w.-]*", "is no tag of an image") or TAG,
            models=tuple(models),
            grpc_port=own.value("grpc_port", "must be the number of a port", is_port) or _GRPC,
            batching={} if batching is True else batching or None,
            warmup=own.value("warmup", "must be a number of times", _is_count),
            options=own.names("options", ()),
        )


def plan(request: Request) -> ServingService:
    """Return the service.

    Raises:
        UsageError: something is said wrongly, a model is not there, or a port is taken.
        MissingError: there is no engine.
    """
    settings = Settings.read(request)
    if request.image:
        raise UsageError(f"services.{request.config.name} runs in an image of its own, not --image")
    if settings.warmup:
        for model in settings.models:
            lacking = ", ".join(map(str, model.lacking_warm_up()))
            if lacking:
                raise UsageError(
                    f"services.{request.config.name}.warmup: {model.name} has no requests to be "
                    f"warmed up with in version {lacking}",
                    "The server reads assets.extra/tf_serving_warmup_requests of a version.",
                )
    with Engine(request.environ) as engine:
        engine.endpoint.refuse_remote("where the models are", "Use an engine of this machine.")
    return ServingService(request, settings)


class ServingService:
    """Models that are served."""

    def __init__(self, request: Request, settings: Settings) -> None:
        self._request = request
        self._settings = settings
        self.port = request.config.port or _REST

    @property
    def address(self) -> str:
        """Where its REST API is reached."""
        return f"{shown(self._request.config.host)}:{self.port}"

    @property
    def in_container(self) -> bool:
        """Whether it runs in a container, which it does."""
        return True

    def prepare(self) -> None:
        """See that its ports can be had.

        Raises:
            UsageError: somebody else listens there.
            EnvkitError: the engine does not answer.
        """
        # One that was left behind has the ports.
        containers_running.remove_strays(self._request.environ, self._request.label)
        for port in (self.port, self._settings.grpc_port):
            refuse_taken(self._request.config, port)

    def start(self, grant: Grant) -> Running:
        """Start it.

        Raises:
            MissingError: the engine lacks the image.
            EnvkitError: it cannot be started.
        """
        request, settings = self._request, self._settings
        engine = Engine(request.environ)
        tag = settings.tag
        if grant.gpus and not tag.endswith(_GPU):
            tag += _GPU
        image = f"{settings.image}:{tag}"
        containers_running.require_image(engine, image, f"Get it with `docker pull {image}`.")
        self._write_configs(self._places())
        given = containers.Given.of(grant.gpus, request.project.config.gpu, engine.info())
        mounts = {place: str(model.folder) for place, model in self._places().items()}
        return containers_running.Running(
            engine,
            Container(
                image=image,
                command=self._flags(),
                label=request.label,
                ports={
                    _REST: (request.config.host, self.port),
                    _GRPC: (request.config.host, settings.grpc_port),
                },
                mounts={**mounts, _CONFIG: str(request.folder)},
                environment={**given.environment, **request.config.environment},
                devices=given.requests(),
                labels=grant.labels,
            ),
        )

    def is_ready(self) -> bool:
        """Return whether every version of every model that is to be served is available."""
        return all(self._is_available(model) for model in self._settings.models)

    def problem(self) -> str:
        """Return why it is not ready, as far as it knows."""
        found = [
            f"{model.name}, version {version}, is {state}{f' ({error})' if error else ''}"
            for model in self._settings.models
            for version, (state, error) in self._states(model).items()
            if state != "AVAILABLE"
        ]
        return "; ".join(found)

    def stop(self, running: Running, within: float) -> str:
        """Let it answer what it was asked, and end it.

        Every model is taken from it, which waits for the requests that it answers; those that come
        later are refused.
        """
        drained = False
        if running.poll() is None and self._answers():
            self._write_configs({})
            drained = wait_for(lambda: running.poll() is not None or self._is_drained(), within)
            # Who has come meanwhile is told that there is no such model, rather than cut off.
            wait_for(lambda: running.poll() is not None, _REFUSING)
        running.kill()
        wait_for(lambda: running.poll() is not None, within)
        how = "drained, then killed" if drained else "killed before it was drained"
        return f"{how}, as TensorFlow Serving ignores SIGTERM"

    def close(self) -> None:
        """Let go of nothing: the container has its ports."""

    def example(self) -> str:
        """Return a command that asks the first model for a prediction."""
        model = self._settings.models[0]
        status, metadata = self._ask(f"/v1/models/{model.name}/metadata")
        body = saved_models.example(metadata) if status == http.client.OK else None
        host = shown(reached(self._request.config.host))
        url = f"http://{host}:{self.port}/v1/models/{model.name}"
        if body is None:
            return f"curl {shlex.quote(url)}"
        return f"curl -d {shlex.quote(json.dumps(body))} {shlex.quote(f'{url}:predict')}"

    def _places(self) -> dict[str, Model]:
        """Return where the folder of each model is for the server."""
        return {f"{_MODELS}/{model.name}": model for model in self._settings.models}

    def _write_configs(self, models: Mapping[str, Model]) -> None:
        folder, batching = self._request.folder, self._settings.batching
        write_whole(folder / _MODEL_FILE, saved_models.config_list(models))
        if batching is not None:
            lines = (f"{key} {{ value: {_text(one)} }}\n" for key, one in batching.items())
            write_whole(folder / _BATCHING_FILE, "".join(lines))

    def _flags(self) -> list[str]:
        settings = self._settings
        flags = [
            f"--model_config_file={_CONFIG}/{_MODEL_FILE}",
            f"--model_config_file_poll_wait_seconds={_POLL}",
        ]
        if any(model.labels for model in settings.models):
            # Labels are known before the versions that they are of.
            flags.append("--allow_version_labels_for_unavailable_models=true")
        if settings.batching is not None:
            flags.append("--enable_batching=true")
            if settings.batching:
                flags.append(f"--batching_parameters_file={_CONFIG}/{_BATCHING_FILE}")
        if settings.warmup == 0:
            flags.append("--enable_model_warmup=false")
        elif settings.warmup:
            flags.append(f"--num_request_iterations_for_warmup={settings.warmup}")
        return [*flags, *settings.options]

    def _is_available(self, model: Model) -> bool:
        wanted = {str(one) for one in model.served()}
        found = self._states(model)
        for version, (state, error) in found.items():
            if version in wanted and error:
                raise ToolError(f"{model.name}, version {version}, is {state}: {error}")
        return all(found.get(one, ("", ""))[0] == "AVAILABLE" for one in wanted)

    def _is_drained(self) -> bool:
        """Return whether no model has a version any more that answers, or is about to end."""
        return all(
            state in ("END", "UNKNOWN")
            for model in self._settings.models
            for state, _ in self._states(model).values()
        )

    def _states(self, model: Model) -> dict[str, tuple[str, str]]:
        """Return the state of each version of a model, and its error if it has one."""
        status, said = self._ask(f"/v1/models/{model.name}")
        if status != http.client.OK:
            return {}
        return {
            str(one.get("version")): (
                str(one.get("state")),
                str(one.get("status", {}).get("error_message") or ""),
            )
            for one in said.get("model_version_status", ())
        }

    def _answers(self) -> bool:
        return self._ask(f"/v1/models/{self._settings.models[0].name}")[0] != 0

    def _ask(self, path: str) -> tuple[int, Any]:
        """Return the status and the document of an answer; 0 and nothing if there is none."""
        status, content = ask(self._request.config.host, self.port, path, most=_MOST)
        try:
            return status, json.loads(content or b"{}")
        except ValueError:
            return 0, {}


def _text(value: int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _can(value: object) -> bool:
    """Return whether this says how requests are put together."""
    if isinstance(value, bool):
        return True
    return isinstance(value, dict) and all(
        key in _BATCHING and (_is_count(one) if _BATCHING[key] else isinstance(one, bool))
        for key, one in value.items()
    )


def _is_count(value: object) -> bool:
    return is_whole(value, 0, (1 << 31) - 1)
