"""Models that are served: what is said of them, what is on the disk, and what they can be asked.

Sources: TensorFlow documentation, "Using the SavedModel format"; TensorFlow Serving documentation,
"Configuration" (version policies, version labels) and "RESTful API".
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from envkit.errors import UsageError
from envkit.tables import Table, is_whole

Versions = tuple[int, ...] | Literal["all", "latest"]

_NAME = r"[A-Za-z0-9_.-]+"
_KEYS = ("name", "path", "versions", "labels")

# The file of a SavedModel's graphs, and that of the requests it is warmed up with.
_GRAPHS = ("saved_model.pb", "saved_model.pbtxt")
_WARM_UP = "assets.extra/tf_serving_warmup_requests"

# So many names are told of a folder that is not what it should be.
_FEW = 5


class Model(NamedTuple):
    """A model that is served.

    Attributes:
        name: what it is asked for by.
        folder: the folder of its versions.
        versions: those that are served: numbers, "all", or "latest".
        labels: names of versions, by which they are asked for as well.
    """

    name: str
    folder: Path
    versions: Versions
    labels: Mapping[str, int]

    @classmethod
    def read(cls, table: Table, root: Path) -> Model:
        """Return what is said of a model.

        Args:
            table: the table that says it.
            root: the project's folder.

        Raises:
            UsageError: something is said wrongly.
        """
        table.refuse_unknown(_KEYS)
        path = table.required("path", ".+", "must be the folder of the model's versions")
        versions = table.value("versions", 'must be a list of numbers, "all" or "latest"', _are)
        labels = table.value("labels", "must be a table, as in { stable = 1 }", _are_labels)
        return cls.of(
            table.matching("name", _NAME, "must be letters, digits, '_', '-' and '.'"),
            root / path,
            tuple(versions) if isinstance(versions, list) else versions or "latest",
            labels or {},
        )

    @classmethod
    def of(
        cls,
        name: str | None,
        folder: Path,
        versions: Versions = "latest",
        labels: Mapping[str, int] | None = None,
    ) -> Model:
        """Return a model, which is called as its folder is if nothing else is said."""
        folder = Path(os.path.abspath(folder))
        return cls(name or folder.name, folder, versions, labels or {})

    def check(self, place: str) -> None:
        """Make sure that there is something to be served.

        The server waits for ever where there is not, and says so in a line of its log.

        Args:
            place: what says that it is to be served, for messages.

        Raises:
            UsageError: there is no version, or what is one is no SavedModel.
        """
        there = versions_in(self.folder)
        if not there:
            raise UsageError(f"{place}: {self.folder} {self._instead()}", self._hint())
        if isinstance(self.versions, tuple):
            absent = [str(one) for one in self.versions if one not in there]
            if absent:
                raise UsageError(
                    f"{place}: {self.folder} has no version {', '.join(absent)}",
                    f"It has {', '.join(map(str, there))}.",
                )
        served = self.served()
        for version in served:
            folder = there[version]
            if not any((folder / name).is_file() for name in _GRAPHS):
                raise UsageError(
                    f"{place}: {folder} has no {_GRAPHS[0]}: it {_content(folder)}",
                    "A version is what `tf.saved_model.save` or `model.export` has written there.",
                )
        unserved = [f"{label} = {one}" for label, one in self.labels.items() if one not in served]
        if unserved:
            raise UsageError(
                f"{place}: labels of versions that are not served: {', '.join(unserved)}",
                f"Served: {', '.join(map(str, served))}; see `versions`.",
            )

    def served(self) -> Sequence[int]:
        """Return the versions that there are to be served."""
        there = sorted(versions_in(self.folder))
        if self.versions == "latest":
            return there[-1:]
        return there if self.versions == "all" else self.versions

    def lacking_warm_up(self) -> Sequence[int]:
        """Return the versions that have no requests to be warmed up with."""
        there = versions_in(self.folder)
        return [one for one in self.served() if not (there[one] / _WARM_UP).is_file()]

    def config(self, place: str) -> str:
        """Return its part of a model config file (tensorflow_serving.ModelConfig, as text).

        Args:
            place: where its folder is for the server.
        """
        if isinstance(self.versions, tuple):
            policy = "specific { " + " ".join(f"versions: {one}" for one in self.versions) + " }"
        else:
            policy = {"all": "all {}", "latest": "latest { num_versions: 1 }"}[self.versions]
        labels = "".join(
            f"    version_labels {{ key: {_quoted(label)} value: {version} }}\n"
            for label, version in self.labels.items()
        )
        return (
            "  config {\n"
            f"    name: {_quoted(self.name)}\n"
            f"    base_path: {_quoted(place)}\n"
            '    model_platform: "tensorflow"\n'
            f"    model_version_policy {{ {policy} }}\n"
            f"{labels}  }}\n"
        )

    def _instead(self) -> str:
        if not self.folder.is_dir():
            return "is not there" if not os.path.lexists(self.folder) else "is no folder"
        return f"has no folder whose name is the number of a version: it {_content(self.folder)}"

    def _hint(self) -> str:
        if any((self.folder / name).is_file() for name in _GRAPHS):
            return f"That is a version itself: move what is in it to {self.folder / '1'}."
        return "The server looks for PATH/1/saved_model.pb, PATH/2/saved_model.pb and so on."


def versions_in(folder: Path) -> dict[int, Path]:
    """Return the versions that a model has: number -> folder."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return {
        int(one.name): one for one in found if one.is_dir() and re.fullmatch("[0-9]+", one.name)
    }


def config_list(models: Mapping[str, Model]) -> str:
    """Return a model config file (tensorflow_serving.ModelServerConfig, as text).

    Args:
        models: where the folder of each is for the server -> the model; none lets go of all.
    """
    parts = "".join(model.config(place) for place, model in models.items())
    return f"model_config_list {{\n{parts}}}\n"


def example(metadata: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the body of a request that a model answers, as its own signature has it.

    Args:
        metadata: what the server says of the model (REST API, "Model Metadata").

    Returns:
        A body for `:predict`; None if it has no signature for that.
    """
    signatures = metadata.get("metadata", {}).get("signature_def", {}).get("signature_def", {})
    usable = {
        name: one
        for name, one in signatures.items()
        if one.get("method_name") == "tensorflow/serving/predict" and one.get("inputs")
    }
    if not usable:
        return None
    name = "serving_default" if "serving_default" in usable else min(usable)
    inputs = usable[name]["inputs"]
    shapes = {key: _shape(one) for key, one in inputs.items()}
    said: dict[str, Any] = {} if name == "serving_default" else {"signature_name": name}
    if all(shape is None or (shape and shape[0] < 1) for shape in shapes.values()):
        # Each has a row for each instance.
        row = {key: _value(one, (shapes[key] or ())[1:]) for key, one in inputs.items()}
        return {**said, "instances": [next(iter(row.values())) if len(row) == 1 else row]}
    columns = {key: _value(one, shapes[key] or ()) for key, one in inputs.items()}
    return {**said, "inputs": next(iter(columns.values())) if len(columns) == 1 else columns}


def _shape(tensor: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return the sizes of a tensor's dimensions, -1 being any; None if it may have any number."""
    shape = tensor.get("tensor_shape", {})
    if shape.get("unknown_rank"):
        return None
    return tuple(int(one.get("size", -1)) for one in shape.get("dim", ()))


def _value(tensor: Mapping[str, Any], shape: Sequence[int]) -> Any:
    """Return a value of a tensor's type and shape, one wherever any size will do."""
    if shape:
        return [_value(tensor, shape[1:]) for _ in range(max(shape[0], 1))]
    kind = str(tensor.get("dtype", ""))
    if kind == "DT_STRING":
        return "text"
    if kind == "DT_BOOL":
        return True
    return 1 if "INT" in kind else 1.0


def _content(folder: Path) -> str:
    """Return what there is in a folder, in a few words."""
    names = sorted(one.name + ("/" if one.is_dir() else "") for one in folder.iterdir())
    if not names:
        return "is empty"
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return f"has {', '.join(names[:_FEW])}{more}"


def _quoted(text: str) -> str:
    """Return a text as it stands in a text proto (Protocol Buffers, "Text Format")."""
    return json.dumps(text, ensure_ascii=False)


def _are(value: object) -> bool:
    return value in ("all", "latest") or (
        isinstance(value, list)
        and bool(value)
        and len({*map(str, value)}) == len(value)
        and all(_is_version(one) for one in value)
    )


def _are_labels(value: object) -> bool:
    return isinstance(value, dict) and all(_is_version(one) for one in value.values())


def _is_version(value: object) -> bool:
    return is_whole(value, 0, (1 << 63) - 1)
