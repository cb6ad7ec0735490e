"""The stand-in for `tensorflow_model_server`. Sources: main.cc, server.cc."""

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from . import flags
from .statuses import Code, StatusError

_log = logging.getLogger(f"{__package__}.main")

# Seconds that each load takes longer than it needs, so that it is seen.
PAUSE = "STAND_IN_LOAD_SECONDS"
_PAUSE = "0.3"

_METRICS = "/monitoring/prometheus/metrics"
_FAILED = 255


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Serve until the process is ended; return its exit code where it cannot."""
    # As without Python, whose own way is an exception.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _log_to_standard_error()
    _log.warning("This is a stand-in for TensorFlow Serving, made for the tests of envkit.")
    line = flags.read(arguments[1:])
    if line.unusable:
        for wrong in line.wrong:
            _log.error(wrong)
        _say(flags.usage(arguments[0]))
        return _FAILED
    if line.values["version"]:
        _say("TensorFlow ModelServer: none, but a stand-in\n")
        return 0
    if line.unknown:
        _say(f"unknown argument: {line.unknown[0]}\n{flags.usage(arguments[0])}")
    for word in line.ignored:
        _log.warning("The stand-in does nothing about %s", word)
    try:
        _serve(line.values, environ)
    except StatusError as error:
        _say(f"Failed to start server. Error: {error}\n")
        return _FAILED
    return 0


def _serve(values: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    if not values["port"]:
        raise _illegal(
            "At least one of server_options.grpc_port or server_options.grpc_socket_path must be "
            "set."
        )
    if not values["model_base_path"] and not values["model_config_file"]:
        raise _illegal(
            "Both server_options.model_base_path and server_options.model_config_file are empty!"
        )
    # What imports TensorFlow is heavy, and no matter where the command line is wrong.
    from . import configs, rest

    file, port = values["model_config_file"], values["rest_api_port"]
    config = configs.of_models(file) if file else _config_of_one_model(values)
    _tell_of_sessions(values, environ)
    models = _models(values, float(environ.get(PAUSE, _PAUSE)))
    models.configure(config)
    _start(models.poll, max(values["file_system_poll_wait_seconds"], 0.05))
    # As in the real server, nobody is answered before this.
    models.wait()
    if file and values["model_config_file_poll_wait_seconds"] > 0:
        _start(_reconfigure, models, file, values["model_config_file_poll_wait_seconds"])
    _start(_refuse, _listen(values["port"]))
    _log.info("Running gRPC ModelServer at 0.0.0.0:%d ... (the stand-in's)", values["port"])
    if port and port != values["port"]:
        api = rest.Api(models=models, metrics=_place_of_metrics(values))
        server = rest.server(port, api)
        _log.info("Exporting HTTP/REST API at:localhost:%d ...", port)
        server.serve_forever()
    signal.pause()


def _config_of_one_model(values: Mapping[str, Any]) -> Any:
    from . import configs

    name, base_path = values["model_name"], values["model_base_path"]
    _log.info(
        "Building single TensorFlow model file config:  model_name: %s model_base_path: %s",
        *(name, base_path),
    )
    return configs.of_one_model(name, base_path)


def _models(values: Mapping[str, Any], pause: float) -> Any:
    """Return the models, which are not configured yet; each load takes so many seconds longer."""
    from .models import Loading, Models

    loading = Loading(
        pause=pause,
        retries=values["max_num_load_retries"],
        interval=max(values["load_retry_interval_micros"], 0) / 1e6,
        warm_up=values["enable_model_warmup"],
    )
    any_labels = values["allow_version_labels_for_unavailable_models"]
    return Models(loading=loading, any_labels=any_labels)


def _place_of_metrics(values: Mapping[str, Any]) -> str | None:
    """Return the path at which there are metrics, if there are; raises StatusError."""
    from . import configs

    if not values["monitoring_config_file"]:
        return None
    told = configs.of_monitoring(values["monitoring_config_file"]).prometheus_config
    return (told.path or _METRICS) if told.enable else None


def _tell_of_sessions(values: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Say what was asked for that the stand-in does nothing about; raises StatusError."""
    from . import configs

    file = values["batching_parameters_file"]
    if file and not values["enable_batching"]:
        raise _illegal(
            "server_options.batching_parameters_file is set without setting "
            "server_options.enable_batching to true."
        )
    if values["enable_batching"]:
        told = configs.of_batching(file) if file else "the defaults"
        _log.info("Batching with: %s", " ".join(str(told).split()))
    _log.info("per_process_gpu_memory_fraction: %s", values["per_process_gpu_memory_fraction"])
    for name in ("TF_FORCE_GPU_ALLOW_GROWTH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"):
        _log.info("%s: %s", name, environ.get(name, "(not set)"))


def _reconfigure(models: Any, file: str, seconds: float) -> None:
    """Read the list of models again and again, with pauses of so many seconds."""
    from . import configs

    while True:
        time.sleep(seconds)
        try:
            models.configure(configs.of_models(file))
        except StatusError as error:
            _log.error("PollFilesystemAndReloadConfig failed: %s", error.message)


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("", port))
    except OSError as error:
        raise _illegal("Failed to BuildAndStart gRPC server") from error


def _refuse(listening: socket.socket) -> None:
    """Hang up on whoever speaks gRPC."""
    while True:
        client, _ = listening.accept()
        client.close()
        _log.warning("The stand-in speaks no gRPC")


def _illegal(message: str) -> StatusError:
    return StatusError(Code.INVALID_ARGUMENT, message)


def _start(function: Any, *arguments: Any) -> None:
    threading.Thread(target=function, args=arguments, daemon=True).start()


def _log_to_standard_error() -> None:
    handler = logging.StreamHandler()
    form = "%(asctime)s: %(levelname).1s stand-in/%(filename)s] %(message)s"
    handler.setFormatter(logging.Formatter(form))
    logger = logging.getLogger(__package__)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _say(text: str) -> None:
    print(text, end="", flush=True)


if __name__ == "__main__":
    # What TensorFlow says of itself would stand before all else.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    sys.exit(main(sys.argv, os.environ))
