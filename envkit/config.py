"""`[tool.envkit]` and what overrides it: frozen settings, each with the place it came from."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from envkit.errors import UsageError
from envkit.quantities import parse_bytes, parse_seconds

T = TypeVar("T")

Compile = Literal["background", "now", "off"]
Link = Literal["hardlink", "copy"]

_LINKS: tuple[Link, ...] = ("hardlink", "copy")
_COMPILES: tuple[Compile, ...] = ("background", "now", "off")


class ImageConfig(NamedTuple):
    """`[tool.envkit.image]`: what the image is built as, where it is not the Dockerfile that says.

    Attributes:
        name: what the image is called, without a tag; None: what the project is called.
        base: the image that it begins with; None: the Dockerfile's own.
        apt: the Debian packages that it has beside those of its base.
        user: who runs in it, as "UID:GID" or a name that its base has; None: the Dockerfile's own.
        platforms: what it is built for, as in "linux/amd64"; the engine's own if there is none.
        labels: labels that it gets beside envkit's own.
        secrets: secrets of the build, as in "id=token,env=TOKEN".
        args: more build arguments.
    """

    name: str | None = None
    base: str | None = None
    apt: tuple[str, ...] = ()
    user: str | None = None
    platforms: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}
    secrets: tuple[str, ...] = ()
    args: Mapping[str, str] = {}


class Config(NamedTuple):
    """Everything that can be set.

    Attributes:
        python: a version ("3.12"), a specifier set (">=3.10"), a path; None lets the lock decide.
        groups: the groups that `install` takes when none is named.
        store: the folder of the store; None means the platform's own place.
        link: how files get from the store into an environment.
        compile: when byte-code is made: behind the exchange, before it, or never.
        editable: whether the project itself is installed; None: if it has a build system.
        cache_age: how long the store keeps what no project uses any more, such as "30d".
        cache_size: the size of the store above which that goes sooner, such as "20GB".
        image: how the image is built.
        sources: where the value of each key came from: a file and key, a variable, an option;
            keys that have their default are not there.
    """

    python: str | None
    groups: tuple[str, ...]
    store: Path | None
    link: Link
    compile: Compile
    editable: bool | None
    cache_age: str
    cache_size: str
    image: ImageConfig
    sources: Mapping[str, str]

    def items(self) -> Iterator[tuple[str, Any, str]]:
        """Yield each setting's name in `[tool.envkit]`, its value, and where that came from."""
        for key in _KEYS:
            if key != _IMAGE:
                yield key, getattr(self, key), self.source(key)
        for key, value in self.image._asdict().items():
            yield f"{_IMAGE}.{key}", value, self.source(f"{_IMAGE}.{key}")

    def source(self, key: str) -> str:
        """Return where the value of a key came from."""
        return self.sources.get(key, "default")

    def override(self, key: str, value: Any, option: str) -> Config:
        """Return the settings with one of them overridden by an option of the command line."""
        sources = {**self.sources, key: option}
        return self._replace(**{key: value, "sources": sources})


# The keys that a variable overrides.
_VARIABLES = ("python", "store", "link", "compile", "cache_age", "cache_size")

_KEYS = tuple(key for key in Config._fields if key != "sources")

# The key whose value is a table of its own.
_IMAGE = "image"

# What images are called, without a tag: a registry's host perhaps, then components ("Image
# reference grammar", distribution/reference).
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
IMAGE_NAME = (
    r"(?:(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?/)?"
    rf"{_COMPONENT}(?:/{_COMPONENT})*"
)
_IMAGE_NAME_HINT = "must be small letters, digits and . _ - / (a tag is given with --tag)"

# An operating system, a machine type, perhaps a variant of it (OCI image specification, "Image
# Index").
PLATFORM = r"[a-z0-9]+/[a-z0-9_]+(/[a-z0-9.]+)?"

# Debian Policy, "Package" and "Version"; a version follows as apt-get takes it.
_APT = r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?(=[A-Za-z0-9.+:~-]+)?"
_USER = r"[0-9]+(:[0-9]+)?|[a-z_][a-z0-9_-]*"


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


def load(table: Mapping[str, Any], *, file: Path, environ: Mapping[str, str]) -> Config:
    """Return the settings of a project.

    Args:
        table: what `[tool.envkit]`, or the whole of `envkit.toml`, says.
        file: where the table stands, for messages and relative paths.
        environ: the environment; `ENVKIT_PYTHON`, `ENVKIT_STORE` and the like override the file.

    Raises:
        UsageError: an unknown key, a value of the wrong type, or one that is not among the choices.
    """
    reader = _Reader(table, file, environ)
    reader.refuse_unknown(_KEYS)
    return Config(
        python=reader.text("python"),
        groups=reader.names("groups", ("default",)),
        store=reader.path("store"),
        link=reader.choice("link", _LINKS),
        compile=reader.choice("compile", _COMPILES),
        editable=reader.flag("editable"),
        cache_age=reader.quantity("cache_age", parse_seconds, "30d"),
        cache_size=reader.quantity("cache_size", parse_bytes, "20GB"),
        image=_image(reader.table(_IMAGE)),
        sources=reader.sources,
    )


def _image(reader: _Reader) -> ImageConfig:
    reader.refuse_unknown(ImageConfig._fields)
    return ImageConfig(
        name=reader.matching("name", IMAGE_NAME, _IMAGE_NAME_HINT),
        base=reader.text("base"),
        apt=reader.matches("apt", _APT, "must be names of Debian packages"),
        user=reader.matching("user", _USER, 'must be as in user = "10001:10001"'),
        platforms=reader.matches("platforms", PLATFORM, "must be as in linux/amd64"),
        labels=reader.texts("labels"),
        secrets=reader.names("secrets", ()),
        args=reader.texts("args"),
    )


class _Reader:
    """Reads one table, keeping where each value was found.

    Attributes:
        sources: key -> the place its value came from.
    """

    def __init__(
        self,
        table: Mapping[str, Any],
        file: Path,
        environ: Mapping[str, str],
        prefix: str = "",
        sources: dict[str, str] | None = None,
    ) -> None:
        self._table = table
        self._file = file
        self._environ = environ
        self._prefix = prefix
        self.sources = {} if sources is None else sources

    def refuse_unknown(self, known: tuple[str, ...]) -> None:
        for key in self._table:
            if key not in known:
                import difflib

                nearest = difflib.get_close_matches(key, known, n=1)
                hint = f"Did you mean {nearest[0]}?" if nearest else f"Known: {_join(known)}."
                raise UsageError(f"{self._where(key)}: unknown key", hint)

    def table(self, key: str) -> _Reader:
        value = self._find(key)
        if value is not None and not isinstance(value, dict):
            raise UsageError(f"{self._where(key)}: must be a table")
        return _Reader(value or {}, self._file, self._environ, f"{key}.", self.sources)

    def text(self, key: str) -> str | None:
        value = self._find(key)
        if value is None or (isinstance(value, str) and value and "\0" not in value):
            return value
        raise UsageError(f"{self._source(key)}: must be text, in quotes")

    def matching(self, key: str, pattern: str, complaint: str) -> str | None:
        value = self.text(key)
        if value is None or re.fullmatch(pattern, value):
            return value
        raise UsageError(f"{self._source(key)}: {value!r} {complaint}")

    def matches(self, key: str, pattern: str, complaint: str) -> tuple[str, ...]:
        values = self.names(key, ())
        for value in values:
            if not re.fullmatch(pattern, value):
                raise UsageError(f"{self._source(key)}: {value!r} {complaint}")
        return values

    def texts(self, key: str) -> Mapping[str, str]:
        value = self._find(key)
        if value is None:
            return {}
        if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
            return value
        raise UsageError(
            f'{self._source(key)}: must be a table of texts, as in {{ key = "value" }}'
        )

    def path(self, key: str) -> Path | None:
        value = self.text(key)
        try:
            return None if value is None else self._file.parent / Path(value).expanduser()
        except RuntimeError:
            raise UsageError(
                f"{self._source(key)}: {value}: there is no such home folder"
            ) from None

    def quantity(self, key: str, parse: Callable[[str], int], default: str) -> str:
        value = self.text(key)
        if value is None:
            return default
        try:
            parse(value)
        except UsageError as error:
            raise UsageError(f"{self._source(key)}: {error.message}") from None
        return value

    def flag(self, key: str) -> bool | None:
        value = self._find(key)
        if value is None or isinstance(value, bool):
            return value
        raise UsageError(f"{self._source(key)}: must be true or false")

    def names(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        value = self._find(key)
        if value is None:
            return default
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise UsageError(f'{self._source(key)}: must be a list, as in ["one", "two"]')

    def choice(self, key: str, choices: tuple[T, ...]) -> T:
        value = self._find(key)
        if value is None:
            return choices[0]
        for choice in choices:
            if value == choice:
                return choice
        raise UsageError(f"{self._source(key)}: {value!r} is not one of {_join(choices)}")

    def _find(self, key: str) -> Any:
        variable = f"ENVKIT_{key.upper()}"
        if not self._prefix and key in _VARIABLES and self._environ.get(variable):
            self.sources[key] = f"${variable}"
            return self._environ[variable]
        if key in self._table:
            self.sources[self._prefix + key] = self._where(key)
            return self._table[key]
        return None

    def _source(self, key: str) -> str:
        return self.sources[self._prefix + key]

    def _where(self, key: str) -> str:
        tool = "tool.envkit." if self._file.name == "pyproject.toml" else ""
        return f"{self._file.name}: {tool}{self._prefix}{key}"


def _join(names: tuple[object, ...]) -> str:
    return ", ".join(sorted(map(str, names)))
