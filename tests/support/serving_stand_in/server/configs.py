"""The files that tell a server what to do: messages written as text.

`ModelServerConfig` is that of tensorflow-serving-api. The others are not in it; here they are made
of their fields. Sources: proto_util.h, session_bundle_config.proto, monitoring_config.proto.
"""

import logging
from pathlib import Path
from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from .statuses import Code, StatusError

_log = logging.getLogger(__name__)

_PACKAGE = "tensorflow.serving"
_INT64, _BOOL, _STRING, _MESSAGE = 3, 8, 9, 11

# Each message: its fields' names, and their numbers, kinds, labels (1: optional, 3: repeated) and
# the names of the messages that they hold.
_MESSAGES: dict[str, dict[str, tuple[int, int, int, str]]] = {
    "BatchingParameters": {
        "max_batch_size": (1, _MESSAGE, 1, "google.protobuf.Int64Value"),
        "batch_timeout_micros": (2, _MESSAGE, 1, "google.protobuf.Int64Value"),
        "max_enqueued_batches": (3, _MESSAGE, 1, "google.protobuf.Int64Value"),
        "num_batch_threads": (4, _MESSAGE, 1, "google.protobuf.Int64Value"),
        "thread_pool_name": (5, _MESSAGE, 1, "google.protobuf.StringValue"),
        "allowed_batch_sizes": (6, _INT64, 3, ""),
        "pad_variable_length_inputs": (7, _BOOL, 1, ""),
        "enable_large_batch_splitting": (8, _MESSAGE, 1, "google.protobuf.BoolValue"),
        "max_execution_batch_size": (9, _MESSAGE, 1, "google.protobuf.Int64Value"),
    },
    "PrometheusConfig": {"enable": (1, _BOOL, 1, ""), "path": (2, _STRING, 1, "")},
    "MonitoringConfig": {
        "prometheus_config": (1, _MESSAGE, 1, f"{_PACKAGE}.PrometheusConfig"),
    },
}


def of_models(path: str) -> Any:
    """Read the file that lists models; raises StatusError where it is none."""
    return _read(path, ModelServerConfig())


def of_one_model(name: str, base_path: str) -> Any:
    """Return what a file would say of one model."""
    config = ModelServerConfig()
    config.model_config_list.config.add(name=name, base_path=base_path, model_platform="tensorflow")
    return config


def of_batching(path: str) -> Any:
    """Read the file that says how requests are gathered; raises StatusError where it is none."""
    return _read(path, _made("BatchingParameters"))


def of_monitoring(path: str) -> Any:
    """Read the file that says where metrics are; raises StatusError where it is none."""
    return _read(path, _made("MonitoringConfig"))


def _read(path: str, message: Any) -> Any:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise StatusError(Code.NOT_FOUND, f"{path}; {error.strerror}") from error
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        name = message.DESCRIPTOR.full_name
        _log.error("Error parsing text-format %s: %s", name, error)
        raise StatusError(Code.INVALID_ARGUMENT, f"Invalid protobuf file: '{path}'") from error


def _made(name: str) -> Any:
    """Return an empty message of a name."""
    pool = descriptor_pool.DescriptorPool()
    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    pool.Add(wrappers)
    file = descriptor_pb2.FileDescriptorProto(
        name="stand-in.proto", package=_PACKAGE, syntax="proto3", dependency=[wrappers.name]
    )
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for field, (number, kind, label, held) in fields.items():
            type_name = f".{held}" if held else None
            described.field.add(
                name=field, number=number, type=kind, label=label, type_name=type_name
            )
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))()
