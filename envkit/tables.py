"""Tables of TOML files: values checked as they are read, each with the place that it came from."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from envkit.errors import UsageError

T = TypeVar("T")


class Layer(NamedTuple):
    """What one file says.

    Attributes:
        table: the table that is read, or what there is of it.
        file: the file, from whose folder relative paths start.
        name: what the file is called in messages.
    """

    table: Mapping[str, Any]
    file: Path
    name: str


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file says.

    Raises:
        UsageError: it cannot be read or is not TOML; the message has the line.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not valid TOML: not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise UsageError(f"{path}: its tables and lists are nested too deeply") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None


class Table:
    """One table as several files have it; what a later file says of a key overrides the earlier.

    Attributes:
        sources: key -> the place its value came from, for the keys that were read and are set.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        variables: Mapping[str, tuple[str, str]] | None = None,
        prefix: str = "",
        sources: dict[str, str] | None = None,
    ) -> None:
        """Begin.

        Args:
            layers: the files.
            variables: the keys that a variable sets, whatever files say: its name and its value.
            prefix: what stands before each key in the files, as in "image.".
            sources: that of the table in which this one stands.
        """
        self._layers = layers
        self._variables = variables or {}
        self._prefix = prefix
        self.sources = {} if sources is None else sources

    def refuse_unknown(self, known: Sequence[str]) -> None:
        """Make sure that no file has another key.

        Raises:
            UsageError: one has.
        """
        for layer in self._layers:
            for key in layer.table:
                if key not in known:
                    import difflib

                    nearest = difflib.get_close_matches(key, known, n=1)
                    hint = f"Did you mean {nearest[0]}?" if nearest else f"Known: {_join(known)}."
                    raise UsageError(f"{self._where(key, layer)}: unknown key", hint)

    def table(self, key: str) -> Table:
        """Return the table of a key, which has whatever the files say of it."""
        layers = []
        for layer in self._layers:
            value = layer.table.get(key, {})
            if not isinstance(value, dict):
                raise UsageError(f"{self._where(key, layer)}: must be a table")
            layers.append(layer._replace(table=value))
        variables = {
            name.removeprefix(f"{key}."): value
            for name, value in self._variables.items()
            if name.startswith(f"{key}.")
        }
        return Table(layers, variables, f"{self._prefix}{key}.", self.sources)

    def tables(self, key: str) -> list[Table]:
        """Return the tables of a list of tables; none if nothing is said.

        What the last of several files says of it counts alone.
        """
        layer = self._layer(key)
        if layer is None:
            return []
        found = layer.table[key]
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise UsageError(f"{self._where(key, layer)}: must be a list of tables, as [[{key}]]")
        return [
            Table([layer._replace(table=one)], prefix=f"{self._prefix}{key}[{number}].")
            for number, one in enumerate(found, 1)
        ]

    def __iter__(self) -> Iterator[str]:
        """Yield the keys that are said, in the order of the files."""
        yield from dict.fromkeys(key for layer in self._layers for key in layer.table)

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield the keys that are said and their values, as they stand there."""
        for key in self:
            layer = self._layer(key)
            assert layer
            yield key, layer.table[key]

    def place(self, key: str) -> str:
        """Return the place in which a key stands, or would have to."""
        return self._where(key, self._layers[0])

    def value(self, key: str, kind: str, is_right: Callable[[Any], bool]) -> Any:
        """Return what is said of a key; None if nothing is.

        Args:
            key: the key.
            kind: what the value must be, for the message.
            is_right: whether it is that.

        Raises:
            UsageError: it is not.
        """
        value = self._find(key)
        if value is None or is_right(value):
            return value
        raise UsageError(f"{self.source(key)}: {kind}")

    def text(self, key: str) -> str | None:
        """Return a text that is not empty; None if nothing is said."""
        text: str | None = self.value(key, "must be text, in quotes, and not empty", _is_text)
        return text

    def matching(self, key: str, pattern: str, complaint: str) -> str | None:
        """Return a text that a pattern matches wholly; None if nothing is said."""
        value = self.text(key)
        if value is None or re.fullmatch(pattern, value):
            return value
        raise UsageError(f"{self.source(key)}: {value!r} {complaint}")

    def required(self, key: str, pattern: str, complaint: str) -> str:
        """Return a text that a pattern matches wholly, which has to be said."""
        value = self.matching(key, pattern, complaint)
        if value is None:
            raise UsageError(f"{self.place(key)}: is missing; it {complaint}")
        return value

    def matches(self, key: str, pattern: str, complaint: str) -> tuple[str, ...]:
        """Return texts that a pattern matches wholly each; none if nothing is said."""
        values = self.names(key, ())
        for value in values:
            if not re.fullmatch(pattern, value):
                raise UsageError(f"{self.source(key)}: {value!r} {complaint}")
        return values

    def texts(self, key: str) -> Mapping[str, str]:
        """Return a table of texts; an empty one if nothing is said."""
        found: Mapping[str, str] | None = self.value(
            key,
            'must be a table of texts, as in { key = "value" }',
            lambda value: (
                isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
            ),
        )
        return found or {}

    def path(self, key: str) -> Path | None:
        """Return a path, one that is relative being so to its file; None if nothing is said."""
        value = self.text(key)
        try:
            return None if value is None else self._folder(key) / Path(value).expanduser()
        except RuntimeError:
            raise UsageError(f"{self.source(key)}: {value}: there is no such home folder") from None

    def quantity(self, key: str, parse: Callable[[str], float], default: str) -> str:
        """Return a text that can be parsed."""
        kind = f'must be text with a unit, in quotes, as in "{default}"'
        value = self.value(key, kind, _is_text)
        if value is None:
            return default
        try:
            parse(value)
        except UsageError as error:
            raise UsageError(f"{self.source(key)}: {error.message}") from None
        return str(value)

    def flag(self, key: str) -> bool | None:
        """Return whether something is to be; None if nothing is said."""
        found: bool | None = self.value(
            key, "must be true or false", lambda value: isinstance(value, bool)
        )
        return found

    def names(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """Return a list of texts."""
        found = self.value(key, 'must be a list, as in ["one", "two"]', _is_list_of_texts)
        return default if found is None else tuple(found)

    def choice(self, key: str, choices: tuple[T, ...]) -> T:
        """Return one of some values; the first if nothing is said."""
        value = self._find(key)
        if value is None:
            return choices[0]
        for choice in choices:
            if value == choice:
                return choice
        raise UsageError(f"{self.source(key)}: {value!r} is not one of {_join(choices)}")

    def source(self, key: str) -> str:
        """Return the place that the value of a key, which is set, came from."""
        return self.sources[self._prefix + key]

    def _find(self, key: str) -> Any:
        if key in self._variables:
            name, value = self._variables[key]
            self.sources[self._prefix + key] = f"${name}"
            return value
        layer = self._layer(key)
        if layer is None:
            return None
        self.sources[self._prefix + key] = self._where(key, layer)
        return layer.table[key]

    def _layer(self, key: str) -> Layer | None:
        return next((layer for layer in reversed(self._layers) if key in layer.table), None)

    def _folder(self, key: str) -> Path:
        """Return the folder that a relative path starts from; a variable's is the project's."""
        layer = None if key in self._variables else self._layer(key)
        return (layer or self._layers[0]).file.parent

    def _where(self, key: str, layer: Layer) -> str:
        tool = "tool.envkit." if layer.file.name == "pyproject.toml" else ""
        return f"{layer.name}: {tool}{self._prefix}{key}"


def is_whole(value: object, least: int, most: int) -> bool:
    """Return whether this is a whole number, and no truth value, within bounds."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value) and "\0" not in value


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _join(names: Sequence[object]) -> str:
    return ", ".join(sorted(map(str, names)))
