"""The command line of `tensorflow_model_server`.

Sources: main.cc, server.h, and command_line_flags.cc of TensorFlow. A flag is `--name=value`, that
of a truth also `--name`. What is no flag is complained about, and does not end the server.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Value = bool | int | float | str


def _truth(text: str) -> bool:
    return {"true": True, "false": False}[text]


_KINDS: dict[str, Callable[[str], Value]] = {
    "bool": _truth,
    "float": float,
    "int32": int,
    "int64": int,
    "string": str,
}

# What this server knows the meaning of: name -> kind, what it is by default.
_KNOWN: dict[str, tuple[str, Value]] = {
    "port": ("int32", 8500),
    "rest_api_port": ("int32", 0),
    "rest_api_timeout_in_ms": ("int32", 30000),
    "enable_batching": ("bool", False),
    "allow_version_labels_for_unavailable_models": ("bool", False),
    "batching_parameters_file": ("string", ""),
    "model_config_file": ("string", ""),
    "model_config_file_poll_wait_seconds": ("int32", 0),
    "model_name": ("string", "default"),
    "model_base_path": ("string", ""),
    "max_num_load_retries": ("int32", 5),
    "load_retry_interval_micros": ("int64", 60_000_000),
    "file_system_poll_wait_seconds": ("int32", 1),
    "per_process_gpu_memory_fraction": ("float", 0.0),
    "enable_model_warmup": ("bool", True),
    "monitoring_config_file": ("string", ""),
    "version": ("bool", False),
}

# The real server's others, which this one takes and does nothing about.
_IGNORED = {
    "bool": (
        *("rest_api_enable_cors_support", "enable_per_model_batching_parameters"),
        *("flush_filesystem_caches", "use_alts_credentials", "prefer_tflite_model"),
        *("remove_unused_fields_from_bundle_metagraph", "enable_signature_method_name_check"),
        *("xla_cpu_compilation_enabled", "xla_gpu_compilation_enabled", "enable_profiler"),
        *("skip_initialize_tpu", "enable_grpc_healthcheck_service"),
        "enable_serialization_as_tensor_content",
    ),
    "int32": (
        *("rest_api_num_threads", "num_load_threads", "num_unload_threads", "grpc_max_threads"),
        *("num_request_iterations_for_warmup", "num_tflite_pools"),
        "num_tflite_interpreters_per_pool",
    ),
    "int64": (
        *("tensorflow_session_parallelism", "tensorflow_intra_op_parallelism"),
        "tensorflow_inter_op_parallelism",
    ),
    "string": (
        *("grpc_socket_path", "tensorflow_session_config_file", "ssl_config_file"),
        *("platform_config_file", "saved_model_tags", "grpc_channel_arguments"),
        *("thread_pool_factory_config_file", "mixed_precision"),
    ),
}

_IGNORED_KINDS = {name: kind for kind, names in _IGNORED.items() for name in names}


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """A command line, read.

    Attributes:
        values: what each flag is, those that were not given as well.
        ignored: the flags that the real server does something about and this one does not.
        unknown: what is no flag.
        wrong: what is said of flags whose values are none.
    """

    values: dict[str, Any]
    ignored: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def unusable(self) -> bool:
        """Whether the server says how it is used, and ends."""
        return bool(self.wrong) or self.unknown[:1] == ["--help"]


def read(words: Sequence[str]) -> CommandLine:
    """Read what stands behind the program's name."""
    line = CommandLine(values={name: default for name, (_, default) in _KNOWN.items()})
    for word in words:
        name, equals, text = word.removeprefix("--").partition("=")
        known = name in _KNOWN
        kind = _KNOWN[name][0] if known else _IGNORED_KINDS.get(name)
        if kind is None or not word.startswith("--") or not (equals or kind == "bool"):
            line.unknown.append(word)
            continue
        try:
            value = _KINDS[kind](text if equals else "true")
        except (KeyError, ValueError):
            line.wrong.append(f"Couldn't interpret value {text} for flag {name}.")
            continue
        if known:
            line.values[name] = value
        else:
            line.ignored.append(word)
    return line


def usage(program: str) -> str:
    """Return what is said of the flags."""
    kinds = {name: kind for name, (kind, _) in _KNOWN.items()} | _IGNORED_KINDS
    lines = (f"\t--{name}\t{kind}\n" for name, kind in kinds.items())
    return f"usage: {program}\nFlags:\n{''.join(lines)}"
