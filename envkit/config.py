"""`[tool.envkit]` and what overrides it: frozen settings, each with the place it came from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from envkit import declared, overrides
from envkit.declared import AssetConfig, Count, ServiceConfig, is_count, is_number
from envkit.errors import UsageError
from envkit.quantities import parse_bytes, parse_seconds
from envkit.tables import Layer, Table, read_toml

Compile = Literal["background", "now", "off"]
Link = Literal["hardlink", "copy"]
Order = Literal["PCI_BUS_ID", "FASTEST_FIRST"]

_LINKS: tuple[Link, ...] = ("hardlink", "copy")
_COMPILES: tuple[Compile, ...] = ("background", "now", "off")
_ORDERS: tuple[Order, ...] = ("PCI_BUS_ID", "FASTEST_FIRST")


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


class GpuConfig(NamedTuple):
    """`[tool.envkit.gpu]`: which GPUs the project's processes may see, however they are started.

    Attributes:
        count: how many GPUs a run takes, leased for as long as it lasts; None: none is leased.
        devices: which GPUs are meant, by index, UUID or the beginning of one that is unique, or
            UUID of a MIG instance, in the order in which programs are to number them; None: all.
        order: what indices count (CUDA C++ Programming Guide, CUDA_DEVICE_ORDER).
        memory_growth: whether frameworks take memory as they need it, rather than all at once;
            None leaves that to them.
        wait: how long a run waits for GPUs that are taken, such as "2h".
        leases: the folder in which leases are kept; None: the machine's, or else the user's own.
    """

    # A tuple has a method of that name, which nobody needs here.
    count: Count | None = None  # type: ignore[assignment]
    devices: tuple[str, ...] | None = None
    order: Order = "PCI_BUS_ID"
    memory_growth: bool | None = None
    wait: str = "0s"
    leases: Path | None = None

    @property
    def is_set(self) -> bool:
        """Whether anything is said of what processes may see."""
        return self._replace(wait="0s", leases=None) != GpuConfig()

    @property
    def mask(self) -> str | None:
        """What a process without a lease sees, as in CUDA_VISIBLE_DEVICES; None: what it finds."""
        if self.count is not None:
            return ""
        return None if self.devices is None else ",".join(self.devices)


class GpuOptions(NamedTuple):
    """What the command line says of GPUs, above all files.

    Attributes:
        count: how many a run takes; None if it does not say.
        devices: which are meant; None if it does not say.
        wait: how long a run waits for them; None if it does not say.
    """

    count: Count | None = None  # type: ignore[assignment]
    devices: tuple[str, ...] | None = None
    wait: str | None = None

    @classmethod
    def parse(cls, count: str | None, devices: str | None, wait: str | None) -> GpuOptions:
        """Return what the words of the command line mean.

        Raises:
            UsageError: they mean nothing.
        """
        if wait is not None:
            parse_seconds(wait)
        return cls(
            count=None if count is None else _parse_count(count),
            devices=None if devices is None else _parse_devices(devices),
            wait=wait,
        )

    def over(self, config: GpuConfig) -> GpuConfig:
        """Return settings with what is said here above them.

        Where GPUs are on lease, those that are named and not counted are all meant.
        """
        if config.count is not None and self.number != self.count:
            return self._replace(count=self.number).over(config)
        said = {name: value for name, value in self._asdict().items() if value is not None}
        return config._replace(**said)

    @property
    def number(self) -> Count | None:
        """How many GPUs are meant: as many as it says, or names; None if it does neither."""
        if self.count is None and self.devices is not None:
            return len(self.devices)
        return self.count

    @property
    def is_explicit(self) -> bool:
        """Whether it says which GPUs are meant, or how many."""
        return self.number is not None


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
        gpu: which GPUs may be seen.
        assets: the large files that the project needs.
        services: what the project serves, in the order of the file.
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
    gpu: GpuConfig
    assets: tuple[AssetConfig, ...]
    services: tuple[ServiceConfig, ...]
    sources: Mapping[str, str]

    def items(self) -> Iterator[tuple[str, Any, str]]:
        """Yield each setting's name in `[tool.envkit]`, its value, and where that came from."""
        for key in _KEYS:
            if key not in (*_TABLES, "assets", "services"):
                yield key, getattr(self, key), self.source(key)
        for table in _TABLES:
            for key, value in getattr(self, table)._asdict().items():
                yield f"{table}.{key}", value, self.source(f"{table}.{key}")
        for number, asset in enumerate(self.assets, 1):
            yield f"assets[{number}]", f"{asset.path} ({asset.shown_url})", self.source("assets")
        for service in self.services:
            for key, value in service.items():
                name = f"services.{service.name}.{key}"
                yield name, value, self.source(name)

    def source(self, key: str) -> str:
        """Return where the value of a key came from."""
        return self.sources.get(key, "default")

    def override(self, key: str, value: Any, option: str) -> Config:
        """Return the settings with one of them overridden by an option of the command line."""
        sources = {**self.sources, key: option}
        return self._replace(**{key: value, "sources": sources})


# The keys that a variable overrides, and the variable.
_VARIABLES = {
    key: f"ENVKIT_{key.replace('.', '_').upper()}"
    for key in ("python", "store", "link", "compile", "cache_age", "cache_size", "gpu.leases")
}

_KEYS = tuple(key for key in Config._fields if key != "sources")

# The keys whose values are tables of their own.
_TABLES = ("image", "gpu")

# A project cannot know where a machine keeps leases.
_PROJECTS_GPU_KEYS = tuple(key for key in GpuConfig._fields if key != "leases")

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

# As nvidia-smi -L has them, or their beginnings.
_UUID = r"(GPU|MIG)-[0-9a-zA-Z/-]+"
_NUMBER = r"[0-9]{1,4}"

_DEVICES_HINT = (
    'must be a list such as [0, 2] or ["GPU-8932f937"], of one kind, each once, of MIG one instance'
)


def load(table: Mapping[str, Any], *, file: Path, environ: Mapping[str, str]) -> Config:
    """Return the settings of a project, and what a user's and a machine's files say above them.

    Args:
        table: what `[tool.envkit]`, or the whole of `envkit.toml`, says.
        file: where the table stands, for messages and relative paths.
        environ: the environment; `ENVKIT_PYTHON`, `ENVKIT_STORE` and the like override the file.

    Raises:
        UsageError: an unknown key, a value of the wrong type, or one that is not among the choices.
    """
    project = Layer(table, file, file.name)
    files = map(Path, overrides.files(environ))
    above = [Layer(read_toml(one), one, str(one)) for one in files if one.is_file()]
    variables = {
        key: (name, environ[name]) for key, name in _VARIABLES.items() if environ.get(name)
    }
    reader = Table([project], variables)
    reader.refuse_unknown(_KEYS)
    reader.table("gpu").refuse_unknown(_PROJECTS_GPU_KEYS)
    Table(above).refuse_unknown(("gpu",))
    return Config(
        python=reader.text("python"),
        groups=reader.names("groups", ("default",)),
        store=reader.path("store"),
        link=reader.choice("link", _LINKS),
        compile=reader.choice("compile", _COMPILES),
        editable=reader.flag("editable"),
        cache_age=reader.quantity("cache_age", parse_seconds, "30d"),
        cache_size=reader.quantity("cache_size", parse_bytes, "20GB"),
        image=_image(reader.table("image")),
        gpu=_gpu(Table([project, *above], variables, sources=reader.sources).table("gpu")),
        assets=declared.assets(reader),
        services=declared.services(reader),
        sources=reader.sources,
    )


def _image(reader: Table) -> ImageConfig:
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


def _gpu(reader: Table) -> GpuConfig:
    reader.refuse_unknown(GpuConfig._fields)
    devices = reader.value("devices", _DEVICES_HINT, _are_devices)
    return GpuConfig(
        count=reader.value("count", 'must be a number, or "all"', is_count),
        devices=None if devices is None else tuple(map(str, devices)),
        order=reader.choice("order", _ORDERS),
        memory_growth=reader.flag("memory_growth"),
        wait=reader.quantity("wait", parse_seconds, "0s"),
        leases=reader.path("leases"),
    )


def _parse_devices(text: str) -> tuple[str, ...]:
    """Return the devices that a text names, as in "0,2" or "GPU-8932f937"; none if it is empty."""
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    values = [int(word) if re.fullmatch(_NUMBER, word) else word for word in words]
    if not _are_devices(values):
        raise UsageError(
            f"{text!r} is no list of GPUs that a process can see",
            "As in 0,2 or GPU-8932f937,GPU-1be0ab2c; of MIG one instance.",
        )
    return tuple(map(str, values))


def _parse_count(text: str) -> Count:
    """Return the number of GPUs that a text means, as in "2" or "all"."""
    if text != "all" and not re.fullmatch(_NUMBER, text):
        raise UsageError(f"{text!r} is no number of GPUs", 'A number, or "all".')
    return "all" if text == "all" else int(text)


def _are_devices(value: object) -> bool:
    """Return whether this is a list of devices of which programs see all.

    Indices and UUIDs do not mix, one that comes twice hides all, and what stands behind one that
    is no device counts for nothing (CUDA C++ Programming Guide, CUDA_VISIBLE_DEVICES).
    """
    if not isinstance(value, list) or len(set(map(str, value))) != len(value):
        return False
    if all(is_number(one) for one in value):
        return True
    uuids = [re.fullmatch(_UUID, one) if isinstance(one, str) else None for one in value]
    kinds = {one[1] for one in uuids if one}
    # A process sees one MIG instance and no more.
    return all(uuids) and (kinds == {"GPU"} or len(value) == 1)
