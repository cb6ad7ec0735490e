"""Settings and project files that nobody in their senses would write."""

import contextlib
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from envkit import config, declared, interpreter, project
from envkit.errors import EnvkitError

from .mutations import damaged, texts

PYPROJECT = b"""\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "Demo.Project"
version = "1.0"
requires-python = ">=3.10"
dependencies = ["one>=1.0", 'two ; python_version < "3.13"']

[tool.envkit]
python = "3.12"
groups = ["default", "dev"]
store = "~/store"
link = "copy"
compile = "now"
editable = false

[tool.envkit.image]
name = "team/app"
apt = ["libgomp1"]
user = "1:1"
args = { A = "b" }
"""
OWN = b"""\
python = ">=3.10"
groups = ["default"]
link = "hardlink"
"""

# Text that some functions of Python have no answer to.
awkward = st.sampled_from(["\0", "a\0b", "~nobody-of-that-name/store", "~", ">=", "3.", "=", " "])
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts, awkward),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=5,
)


def look_at(found: project.Project) -> None:
    """Ask a project for all that it says of itself."""
    assert isinstance(found.name, str)
    assert isinstance(found.editable, bool)
    assert all(isinstance(one, str) for one in found.static_dependencies)
    found.python_request("3.12")
    for _, _, source in found.config.items():
        assert isinstance(source, str)
    found.groups()
    found.choose()


@given(damaged(PYPROJECT), st.none() | damaged(OWN))
def test_the_files_of_a_project(pyproject: bytes, own: bytes | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "pyproject.toml").write_bytes(pyproject)
        (root / "requirements.in").touch()
        if own is not None:
            (root / "envkit.toml").write_bytes(own)
        with contextlib.suppress(EnvkitError):
            found = project.read(root, {})
            if found:
                look_at(found)


# What is not a setting, but has some.
_LISTS = {"image", "gpu", "assets", "services"}


@given(st.dictionaries(st.sampled_from([*config.Config._fields, "nonsense"]), values, max_size=4))
def test_values_of_any_type(table: dict[str, Any]) -> None:
    with contextlib.suppress(EnvkitError):
        found = config.load(table, file=Path("/p/envkit.toml"), environ={})
        assert {key for key, _, _ in found.items()} >= table.keys() - _LISTS


@given(st.dictionaries(st.sampled_from([*config.ImageConfig._fields, "nonsense"]), values))
def test_values_of_any_type_for_the_image(table: dict[str, Any]) -> None:
    with contextlib.suppress(EnvkitError):
        found = config.load({"image": table}, file=Path("/p/envkit.toml"), environ={})
        assert {key for key, _, _ in found.items()} >= {f"image.{key}" for key in table}


@given(st.dictionaries(st.sampled_from([*config.GpuConfig._fields, "nonsense"]), values))
def test_values_of_any_type_for_gpus(table: dict[str, Any]) -> None:
    with contextlib.suppress(EnvkitError):
        found = config.load({"gpu": table}, file=Path("/p/envkit.toml"), environ={})
        assert {key for key, _, _ in found.items()} >= {f"gpu.{key}" for key in table}


@given(texts | awkward | st.text("0123456789.<>=!~*, rc", max_size=12))
def test_requests_for_a_python(request: str) -> None:
    with contextlib.suppress(EnvkitError):
        assert interpreter.satisfies("3.12.1", request) in (True, False)


@given(st.dictionaries(st.sampled_from(["PYTHON", "STORE", "LINK", "COMPILE"]), texts | awkward))
def test_values_of_variables(chosen: dict[str, str]) -> None:
    environ = {f"ENVKIT_{name}": value for name, value in chosen.items()}
    with contextlib.suppress(EnvkitError):
        found = config.load({}, file=Path("/p/envkit.toml"), environ=environ)
        assert found.link in ("hardlink", "copy")


# No table has a table `envkit`, so that it is `envkit.toml` that makes a project.
tables = st.dictionaries(
    st.sampled_from(["name", "version", "requires-python", "dependencies"]), values, max_size=4
)


@given(
    st.fixed_dictionaries({}, optional={"project": tables | values, "tool": values}),
    st.none() | st.just({}),
)
def test_tables_of_any_type(pyproject: dict[str, Any], own: dict[str, Any] | None) -> None:
    with contextlib.suppress(EnvkitError):
        found = project.from_tables(Path("/p"), pyproject, own, {})
        assert (found is None) == (own is None)
        if found:
            look_at(found)


@given(st.dictionaries(st.sampled_from([*declared.AssetConfig._fields, "nonsense"]), values))
def test_values_of_any_type_for_large_files(table: dict[str, Any]) -> None:
    with contextlib.suppress(EnvkitError):
        found = config.load({"assets": [table]}, file=Path("/p/envkit.toml"), environ={})
        assert [str(getattr(found.assets[0], key)) for key in table] == [*map(str, table.values())]


@given(st.dictionaries(st.sampled_from([*declared.ServiceConfig._fields, "x"]), values))
def test_values_of_any_type_for_services(table: dict[str, Any]) -> None:
    with contextlib.suppress(EnvkitError):
        tables = {"services": {"web": {"kind": "flask", **table}}}
        found = config.load(tables, file=Path("/p/envkit.toml"), environ={})
        assert {key for key, _, _ in found.items()} >= {f"services.web.{key}" for key in table}
