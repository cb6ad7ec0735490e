"""`[tool.envkit]` and what overrides it: frozen settings, each with the place it came from."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from envkit.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")

Compile = Literal["background", "now", "off"]
Link = Literal["hardlink", "copy"]


@dataclass(frozen=True, kw_only=True)
class Setting(Generic[T]):
    """A value and the place it came from: a file and key, a variable, an option, `default`."""

    value: T
    source: str


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that can be set.

    Attributes:
        python: a version ("3.12"), a specifier set (">=3.10"), a path; None lets the lock decide.
        groups: the groups that `install` takes when none is named.
        store: the folder of the store; None means the platform's own place.
        link: how files get from the store into an environment.
        compile: when byte-code is made: behind the exchange, before it, or never.
        editable: whether the project itself is installed; None: if it has a build system.
    """

    python: Setting[str | None]
    groups: Setting[tuple[str, ...]]
    store: Setting[Path | None]
    link: Setting[Link]
    compile: Setting[Compile]
    editable: Setting[bool | None]

    def items(self) -> Iterator[tuple[str, Setting[Any]]]:
        """Yield each setting under its name in `[tool.envkit]`."""
        for field in fields(self):
            yield field.name, getattr(self, field.name)


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file says.

    Raises:
        UsageError: it cannot be read or is not TOML; the message has the line.
    """
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not valid TOML: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None


def load(table: Mapping[str, Any], *, file: Path, environ: Mapping[str, str]) -> Config:
    """Return the settings of a project.

    Args:
        table: what `[tool.envkit]`, or the whole of `envkit.toml`, says.
        file: where the table stands, for messages and relative paths.
        environ: the environment; `ENVKIT_PYTHON`, `ENVKIT_STORE`, `ENVKIT_LINK` and
            `ENVKIT_COMPILE` override the file.

    Raises:
        UsageError: an unknown key, a value of the wrong type, or one that is not among the choices.
    """
    reader = _Reader(table, file, environ)
    reader.refuse_unknown({field.name for field in fields(Config)})
    return Config(
        python=reader.text("python"),
        groups=reader.names("groups", ("default",)),
        store=reader.path("store"),
        link=reader.choice("link", ("hardlink", "copy")),
        compile=reader.choice("compile", ("background", "now", "off")),
        editable=reader.flag("editable"),
    )


class _Reader:
    """Reads one table, knowing what each value's source is called in a message."""

    def __init__(self, table: Mapping[str, Any], file: Path, environ: Mapping[str, str]) -> None:
        self._table = table
        self._file = file
        self._environ = environ
        self._prefix = "tool.envkit." if file.name == "pyproject.toml" else ""

    def refuse_unknown(self, known: set[str]) -> None:
        for key in self._table:
            if key not in known:
                import difflib

                nearest = difflib.get_close_matches(key, known, n=1)
                hint = f"Did you mean {nearest[0]}?" if nearest else f"Known: {_join(known)}."
                raise UsageError(f"{self._where(key)}: unknown key", hint)

    def text(self, key: str) -> Setting[str | None]:
        found = self._find(key)
        if found.value is None or (isinstance(found.value, str) and found.value):
            return found
        raise UsageError(f'{found.source}: must be text, as in {key} = "3.12"')

    def path(self, key: str) -> Setting[Path | None]:
        found = self.text(key)
        if found.value is None:
            return Setting(value=None, source=found.source)
        return Setting(
            value=self._file.parent / Path(found.value).expanduser(), source=found.source
        )

    def flag(self, key: str) -> Setting[bool | None]:
        found = self._find(key)
        if found.value is None or isinstance(found.value, bool):
            return found
        raise UsageError(f"{found.source}: must be true or false")

    def names(self, key: str, default: tuple[str, ...]) -> Setting[tuple[str, ...]]:
        found = self._find(key)
        if found.value is None:
            return Setting(value=default, source="default")
        if isinstance(found.value, list) and all(isinstance(item, str) for item in found.value):
            return Setting(value=tuple(found.value), source=found.source)
        raise UsageError(f'{found.source}: must be a list of names, as in ["default", "dev"]')

    def choice(self, key: str, choices: tuple[Any, ...]) -> Setting[Any]:
        found = self._find(key)
        if found.value is None:
            return Setting(value=choices[0], source="default")
        if found.value in choices:
            return found
        raise UsageError(f"{found.source}: {found.value!r} is not one of {_join(choices)}")

    def _find(self, key: str) -> Setting[Any]:
        variable = f"ENVKIT_{key.upper()}"
        if key in ("python", "store", "link", "compile") and self._environ.get(variable):
            return Setting(value=self._environ[variable], source=f"${variable}")
        if key in self._table:
            return Setting(value=self._table[key], source=self._where(key))
        return Setting(value=None, source="default")

    def _where(self, key: str) -> str:
        return f"{self._file.name}: {self._prefix}{key}"


def _join(names: set[str] | tuple[str, ...]) -> str:
    return ", ".join(sorted(names))
