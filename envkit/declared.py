"""What a project declares beside settings: its large files, and what it serves."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import ceil
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

from envkit.errors import UsageError
from envkit.quantities import parse_seconds
from envkit.tables import Layer, Table, is_whole

# How many GPUs.
Count = int | Literal["all"]


class AssetConfig(NamedTuple):
    """One of `[[tool.envkit.assets]]`: a large file that a project needs.

    Attributes:
        url: where it comes from.
        sha256: its digest, in hex.
        path: where it goes, relative to the project's folder, with slashes.
        unpack: whether it is an archive, of which the content goes there, into a folder.
    """

    url: str
    sha256: str
    path: str
    unpack: bool = False

    @property
    def shown_url(self) -> str:
        """Where it comes from, as it can be shown."""
        return shown_url(self.url)

    def document(self) -> Mapping[str, Any]:
        """Return it for programs, with nothing in it that is not to be shown."""
        return {**self._asdict(), "url": self.shown_url}


def names_user(url: str) -> bool:
    """Return whether an address has a user's name in it, and maybe a password."""
    return "@" in url.partition("://")[2].partition("/")[0]


def shown_url(url: str) -> str:
    """Return an address as it can be shown: without a password, or a token in its query."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
    except ValueError:  # as of a host that is none
        return url.partition("?")[0]
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


class ServiceConfig(NamedTuple):
    """One of `[tool.envkit.services.NAME]`, as far as all kinds have it.

    Attributes:
        name: what it is called.
        kind: what kind of service it is.
        host: the address on which it listens.
        port: the port there; None: that of its kind.
        gpus: how many GPUs it takes; None: as many as any run of the project.
        environment: variables that it gets beside those of the caller.
        start_timeout: how many seconds it may take until it is ready.
        stop_timeout: how many seconds it has to end what it does when it is stopped.
        own: what else is said of it, for its kind to read.
    """

    name: str
    kind: str
    host: str
    port: int | None
    gpus: Count | None
    environment: Mapping[str, str]
    start_timeout: int
    stop_timeout: int
    own: Table

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield each key that is said of it, and its value."""
        yield from self.own.items()


# What stands in settings, as far as its form goes.
URL = r"[a-z][a-z0-9+.-]*:\S+"
PATH = r"[^\x00-\x1f\x7f]+"

# As sha256sum(1) prints it.
SHA256 = r"[0-9a-fA-F]{64}"

# Where no file of a project's own can go: what envkit and git keep there.
_RESERVED = {".venv", ".venv.previous", ".venv.discard", ".envkit", ".git"}

# What all kinds of services have.
COMMON = ("kind", "host", "port", "gpus", "environment", "start_timeout", "stop_timeout")

# A name becomes part of those of files and containers.
_NAME = r"[a-z0-9][a-z0-9_-]{0,40}"

# No machine has so many devices.
_MOST = 9_999


def assets(reader: Table) -> tuple[AssetConfig, ...]:
    """Return the large files that a project declares.

    Raises:
        UsageError: an entry lacks something, or two go to one place.
    """
    found: dict[PurePosixPath, AssetConfig] = {}
    above: set[PurePosixPath] = set()
    for table in reader.tables("assets"):
        table.refuse_unknown(AssetConfig._fields)
        asset = AssetConfig(
            url=table.required("url", URL, "must be as in https://example.org/model.bin"),
            sha256=table.required("sha256", SHA256, "must be 64 digits of a hexadecimal number"),
            path=table.required("path", PATH, "must be a path in the project"),
            unpack=table.flag("unpack") or False,
        )
        place = inner_path(asset.path)
        if place is None:
            raise UsageError(f"{table.source('path')}: {asset.path!r} {INNER_PATH_HINT}")
        other = next((one for one in (place, *place.parents) if one in found), None)
        if place in above:
            other = next(one for one in found if place in one.parents)
        if other is not None:
            raise UsageError(
                f"{table.source('path')}: {asset.path!r} is where {str(other)!r} goes as well"
            )
        above.update(place.parents)
        if names_user(asset.url):
            raise UsageError(
                f"{table.place('url')}: has a user's name or a password in it",
                "Put them into ~/.netrc, which is read for http(s).",
            )
        found[place] = asset._replace(path=str(place), sha256=asset.sha256.lower())
    if found:
        reader.sources["assets"] = reader.place("assets")
    return tuple(found.values())


def inner_path(text: str) -> PurePosixPath | None:
    """Return a path below a project's folder; None if it is none, or one of envkit's or git's."""
    path = PurePosixPath(text)
    outer = path.is_absolute() or ".." in path.parts or not path.parts
    return None if outer or path.parts[0] in _RESERVED or "\0" in text else path


INNER_PATH_HINT = "must lead below the project's folder, and not into .venv, .envkit or .git"


def refuse_wrong_assets(table: Mapping[str, Any], file: Path) -> None:
    """Make sure that what settings say of large files can be understood.

    Args:
        table: the settings.
        file: where they stand.

    Raises:
        UsageError: it cannot.
    """
    assets(Table([Layer(table, file, file.name)]))


def services(reader: Table) -> tuple[ServiceConfig, ...]:
    """Return what a project serves.

    Raises:
        UsageError: something is said wrongly of a service, as far as all kinds have it.
    """
    found = []
    tables = reader.table("services")
    for name in tables:
        table = tables.table(name)
        if not re.fullmatch(_NAME, name):
            hint = "Use small letters, digits, '_' and '-', and no more than 41 of them."
            raise UsageError(f"{tables.place(name)}: {name!r} cannot name a service", hint)
        found.append(_service(name, table))
        for key in table:
            reader.sources[f"services.{name}.{key}"] = table.place(key)
    return tuple(found)


def _service(name: str, table: Table) -> ServiceConfig:
    return ServiceConfig(
        name=name,
        kind=table.required("kind", ".+", 'must be as in kind = "flask"'),
        host=table.text("host") or "127.0.0.1",
        port=table.value("port", "must be the number of a port, from 1 to 65535", is_port),
        gpus=table.value("gpus", 'must be a number, or "all"', is_count),
        environment=table.texts("environment"),
        start_timeout=ceil(parse_seconds(table.quantity("start_timeout", parse_seconds, "60s"))),
        stop_timeout=ceil(parse_seconds(table.quantity("stop_timeout", parse_seconds, "30s"))),
        own=table,
    )


def refuse_unknown(config: ServiceConfig, known: tuple[str, ...]) -> None:
    """Make sure that nothing is said of a service that its kind does not know.

    Args:
        config: the service.
        known: the keys that its kind has beside those of all kinds.

    Raises:
        UsageError: there is another key.
    """
    config.own.refuse_unknown((*COMMON, *known))


def is_count(value: object) -> bool:
    """Return whether this is a number of GPUs."""
    return value == "all" or is_number(value)


def is_number(value: object) -> bool:
    """Return whether this can be the number of a device, or how many there are."""
    return is_whole(value, 0, _MOST)


def is_port(value: object) -> bool:
    """Return whether this can be the number of a port."""
    return is_whole(value, 1, 65535)
