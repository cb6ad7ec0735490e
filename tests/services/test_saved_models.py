"""Models before they are served: what is said of them, what is there, what they can be asked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from envkit.errors import UsageError
from envkit.services.saved_models import Model, config_list, example
from envkit.tables import Layer, Table


def make(folder: Path, *versions: int) -> Path:
    for version in versions:
        (folder / str(version)).mkdir(parents=True)
        (folder / str(version) / "saved_model.pb").touch()
    return folder


def read(root: Path, **values: object) -> Model:
    table = Table([Layer({"path": "half", **values}, root / "envkit.toml", "envkit.toml")])
    return Model.read(table, root)


def test_what_is_there(tmp_path: Path) -> None:
    make(tmp_path / "half", 1, 2, 10)
    (tmp_path / "half" / "notes").mkdir()
    assert read(tmp_path).served() == [10]
    assert read(tmp_path, versions="all").served() == [1, 2, 10]
    model = read(tmp_path, name="other", versions=[2, 1], labels={"stable": 1})
    model.check("x")
    assert (model.name, model.served()) == ("other", (2, 1))
    assert model.lacking_warm_up() == [2, 1]


@pytest.mark.parametrize(
    ("paths", "values", "words"),
    [
        ([], {}, "half is not there"),
        (["half"], {}, "half is no folder"),
        (["half/"], {}, "no folder whose name is the number of a version: it is empty"),
        (["half/v1/saved_model.pb"], {}, "it has v1/"),
        (["half/saved_model.pb"], {}, "it has saved_model.pb"),
        (["half/1"], {}, "no folder whose name is the number of a version: it has 1"),
        (["half/1/model.keras"], {}, "half/1 has no saved_model.pb: it has model.keras"),
        (["half/1/saved_model.pb"], {"versions": [1, 3]}, "half has no version 3"),
        (["half/1/saved_model.pb"], {"labels": {"new": 2}}, "not served: new = 2"),
    ],
)
def test_what_is_there_instead(
    tmp_path: Path, paths: Sequence[str], values: Mapping[str, object], words: str
) -> None:
    for path in paths:
        place = tmp_path / path
        if path.endswith("/"):
            place.mkdir(parents=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
    with pytest.raises(UsageError) as raised:
        read(tmp_path, **values).check("services.models.model")
    assert words in raised.value.message
    assert raised.value.hint


@pytest.mark.parametrize(
    "values",
    [
        {"versions": []},
        {"versions": [1, 1]},
        {"versions": [-1]},
        {"versions": ["1"]},
        {"versions": "newest"},
        {"versions": True},
        {"labels": {"x": "1"}},
        {"labels": ["x"]},
        {"name": "a/b"},
        {"path": 1},
        {"version": 1},
    ],
)
def test_what_is_said_wrongly(tmp_path: Path, values: Mapping[str, object]) -> None:
    with pytest.raises(UsageError):
        read(tmp_path, **values)


def test_the_config_file(tmp_path: Path) -> None:
    make(tmp_path / "half", 1, 2)
    models = {
        "/models/a": read(tmp_path, name="a", versions=[1, 2], labels={"stable": 1}),
        "/models/b": read(tmp_path, name="b", versions="all"),
        "/models/c": read(tmp_path, name="c"),
    }
    text = config_list(models)
    for words in (
        'name: "a"',
        'base_path: "/models/a"',
        "specific { versions: 1 versions: 2 }",
        'version_labels { key: "stable" value: 1 }',
        "{ all {} }",
        "{ latest { num_versions: 1 } }",
    ):
        assert text.count(words) == 1
    assert "config {" not in config_list({})


def tensor(kind: str, *sizes: int) -> dict[str, Any]:
    dimensions = [{"size": str(size), "name": ""} for size in sizes]
    shape = {"dim": dimensions, "unknown_rank": False}
    return {"dtype": kind, "tensor_shape": shape, "name": "x:0"}


def metadata(signatures: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    found = {
        name: {"inputs": inputs, "outputs": {}, "method_name": "tensorflow/serving/predict"}
        for name, inputs in signatures.items()
    }
    return {"metadata": {"signature_def": {"signature_def": found}}}


@pytest.mark.parametrize(
    ("inputs", "body"),
    [
        ({"x": tensor("DT_FLOAT", -1)}, {"instances": [1.0]}),
        ({"x": tensor("DT_FLOAT", -1, 2)}, {"instances": [[1.0, 1.0]]}),
        ({"x": tensor("DT_INT64", -1, -1)}, {"instances": [[1]]}),
        (
            {"x": tensor("DT_BOOL", -1), "y": tensor("DT_STRING", -1, 1)},
            {"instances": [{"x": True, "y": ["text"]}]},
        ),
        ({"x": tensor("DT_FLOAT")}, {"inputs": 1.0}),
        ({"x": tensor("DT_FLOAT", 2, 2)}, {"inputs": [[1.0, 1.0], [1.0, 1.0]]}),
        (
            {"x": tensor("DT_UINT8", 2), "y": tensor("DT_FLOAT", -1)},
            {"inputs": {"x": [1, 1], "y": [1.0]}},
        ),
        (
            {"x": {"dtype": "DT_FLOAT", "tensor_shape": {"unknown_rank": True}}},
            {"instances": [1.0]},
        ),
    ],
)
def test_what_it_can_be_asked(inputs: Mapping[str, Any], body: Mapping[str, Any]) -> None:
    assert example(metadata({"serving_default": inputs, "a": {}})) == body
    assert example(metadata({"other": inputs})) == {"signature_name": "other", **body}


def test_one_that_can_be_asked_nothing() -> None:
    assert example({}) is None
    assert example(metadata({"serving_default": {}})) is None
