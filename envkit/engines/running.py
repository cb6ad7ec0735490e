"""A container that is supervised: read while it runs, and gone when it has ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from envkit.engines.engine import Engine
from envkit.errors import EnvkitError, MissingError

# By which the containers of services are known: its value says whose, and which.
LABEL = "dev.envkit.service"

# An engine is not asked more often than this how a container is, in seconds.
_PERIOD = 0.2


class Container(NamedTuple):
    """What is to run in a container.

    Attributes:
        image: the image's name or id.
        command: what is run; the arguments of the image's entry point, where it has one.
        label: the value of its label, from which its name comes.
        ports: the ports that are reached from outside: one in it -> address and port of this
            machine.
        mounts: the folders of this machine that can be read in it: its path -> this machine's.
        environment: variables beside those of the image.
        devices: device requests (Docker Engine API, "DeviceRequest").
        labels: more labels.
        entrypoint: what stands in the place of the image's entry point; None leaves that.
        files: a tar archive that is unpacked at / before the start; none by default.
        health: a command that says whether it is healthy; the image's by default.
        init: whether something stands above it that hands on signals.
    """

    image: str
    command: Sequence[str]
    label: str
    ports: Mapping[int, tuple[str, int]] = {}
    mounts: Mapping[str, str] = {}
    environment: Mapping[str, str] = {}
    devices: Sequence[Mapping[str, Any]] = ()
    labels: Mapping[str, str] = {}
    entrypoint: Sequence[str] | None = None
    files: bytes = b""
    health: Sequence[str] = ()
    init: bool = True

    @property
    def name(self) -> str:
        """What it is called; one that has that name already is removed."""
        return f"envkit-{self.label.replace('/', '-')}"


class Running:
    """A container that runs."""

    def __init__(self, engine: Engine, container: Container) -> None:
        """Start it.

        Args:
            engine: the engine; nothing else may use this connection meanwhile.
            container: what is run.

        Raises:
            MissingError: there is no such image.
            ToolError: the engine cannot start it, as where a port is taken.
        """
        self._engine = engine
        self._name = container.name
        self._code: int | None = None
        self._looked = 0.0
        client, speaking = engine.client, engine.speaking
        what = f"start {container.name!r}"
        engine.remove_container(self._name)
        try:
            with speaking.translated(what, missing=f"No image {container.image!r}"):
                client.create_container_from_config(_config(container), name=self._name)
            with speaking.translated(what):
                if container.files:
                    client.put_archive(self._name, "/", container.files)
                client.start(self._name)
        except BaseException:
            self.close()
            raise

    @property
    def identity(self) -> str:
        """What others know it by."""
        return f"container {self._name}"

    def chunks(self) -> Iterator[bytes]:
        """Yield what it prints, to its end; for one thread."""
        # Where the engine ends, so does what it can be heard of.
        with contextlib.suppress(EnvkitError), self._engine.speaking.translated("read a log"):
            yield from self._engine.client.logs(self._name, stream=True, follow=True)

    def poll(self) -> int | None:
        """Return its exit code; None while it runs.

        Raises:
            EnvkitError: the engine does not answer.
        """
        import docker.errors

        if self._code is None and time.monotonic() - self._looked > _PERIOD:
            self._looked = time.monotonic()
            with self._engine.speaking.translated("look at a container"):
                try:
                    state = self._engine.client.inspect_container(self._name)["State"]
                except docker.errors.NotFound:
                    # Somebody else has removed it.
                    state = {"Status": "exited", "ExitCode": 137}
            if state["Status"] in ("exited", "dead"):
                self._code = int(state["ExitCode"])
        return self._code

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal("SIGTERM")

    def kill(self) -> None:
        """End it."""
        self._signal("SIGKILL")

    def close(self) -> None:
        """Let nothing of it be left."""
        # An engine that has stopped removes nothing, and runs nothing.
        with contextlib.suppress(EnvkitError):
            self._engine.remove_container(self._name)
        self._engine.client.close()

    def _signal(self, number: str) -> None:
        import docker.errors

        # One that has ended needs no signal; an engine that has stopped runs nothing.
        what = self._engine.speaking.translated(f"stop {self._name!r}")
        with contextlib.suppress(EnvkitError, docker.errors.APIError), what:
            self._engine.client.kill(self._name, number)


def remove_strays(environ: Mapping[str, str], label: str) -> int:
    """Remove the containers of a service whose supervisor was killed; return how many there were.

    Args:
        environ: the variables that tell of the engine.
        label: the value of their label.

    Raises:
        EnvkitError: there is no engine, or it fails.
    """
    with Engine(environ) as engine:
        with engine.speaking.translated("list containers"):
            filters = {"label": [f"{LABEL}={label}"]}
            found = engine.client.containers(all=True, filters=filters)
        return sum(engine.remove_container(one["Id"]) for one in found)


def _config(container: Container) -> dict[str, Any]:
    """Return it as the API takes it (Docker Engine API, "Create a container")."""
    config: dict[str, Any] = {
        "Image": container.image,
        "Cmd": list(container.command),
        "Env": [f"{name}={value}" for name, value in container.environment.items()],
        "Labels": {LABEL: container.label, **container.labels},
        "ExposedPorts": {f"{port}/tcp": {} for port in container.ports},
        "HostConfig": {
            "Init": container.init,
            # An engine may be set up to keep no logs, or to send them elsewhere.
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m"}},
            "PortBindings": {
                f"{port}/tcp": [{"HostIp": host, "HostPort": str(outer)}]
                for port, (host, outer) in container.ports.items()
            },
            "Mounts": [
                {"Type": "bind", "Source": source, "Target": target, "ReadOnly": True}
                for target, source in container.mounts.items()
            ],
            "DeviceRequests": [dict(one) for one in container.devices],
        },
    }
    if container.entrypoint is not None:
        config["Entrypoint"] = list(container.entrypoint)
    if container.health:
        config["Healthcheck"] = {
            "Test": ["CMD", *container.health],
            # In nanoseconds.
            "Interval": 5_000_000_000,
            "Timeout": 3_000_000_000,
            "Retries": 3,
        }
    return config


def require_image(engine: Engine, name: str, hint: str) -> None:
    """Make sure that an engine has an image.

    Raises:
        MissingError: it has not.
    """
    if engine.inspect(name) is None:
        raise MissingError(f"The Docker Engine has no image {name}", hint)
