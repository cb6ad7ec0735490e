"""A command in a container that is gone afterwards."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from envkit.engines import faults
from envkit.engines.engine import Engine
from envkit.errors import EnvkitError, MissingError, ToolError

# By which containers are known that were left behind by a killed process.
LABEL = "dev.envkit.once"

# How long is waited for a container to appear that was asked for, in seconds, before it is given
# up on that it has to be removed.
_APPEARING = 2.0


class Ended(NamedTuple):
    """A command that ended: its exit code and what it printed."""

    returncode: int
    stdout: str
    stderr: str


class Once(NamedTuple):
    """A command that is to run in an image, without network.

    Attributes:
        image: the image's name or id.
        command: the program and its arguments; the image's entry point is not used.
        files: a tar archive, unpacked at / before the start; none by default.
        environment: variables, beside those of the image.
        user: who runs it; as the image says by default.
        patience: how many seconds it may take.
    """

    image: str
    command: Sequence[str]
    files: bytes = b""
    environment: Mapping[str, str] = {}
    user: str = ""
    patience: float = 600.0


def run_once(engine: Engine, once: Once) -> Ended:
    """Run a command in a container that is removed afterwards, also when this is interrupted.

    Raises:
        MissingError: there is no such image, or no such program in it.
        ToolError: it does not end in time, or the engine fails.
    """
    name = f"envkit-{secrets.token_hex(6)}"
    client, speaking = engine.client, engine.speaking
    what = f"run {once.command[0]!r} in {once.image!r}"
    missing = f"The Docker Engine has no image {once.image!r}"
    try:
        with speaking.translated(what, missing=missing):
            client.create_container_from_config(_config(once), name=name)
    except EnvkitError:
        raise
    except BaseException:
        _remove(engine, name, patience=_APPEARING)
        raise
    try:
        with speaking.translated(what):
            if once.files:
                client.put_archive(name, "/", once.files)
        with _starting(once), speaking.translated(what):
            client.start(name)
        with speaking.translated(what):
            code = _wait(engine, name, once)
            printed = client.logs(name, stdout=True, stderr=False)
            complaint = client.logs(name, stdout=False, stderr=True)
    finally:
        _remove(engine, name)
    return Ended(code, _text(printed), _text(complaint))


def _wait(engine: Engine, name: str, once: Once) -> int:
    try:
        return int(engine.client.wait(name, timeout=once.patience)["StatusCode"])
    except Exception as error:
        if not faults.is_slow(error):
            raise
        program = f"{once.command[0]!r} in {once.image!r}"
        message = f"{program} did not end within {once.patience:.0f} s"
        raise ToolError(message) from None


def _config(once: Once) -> dict[str, Any]:
    return {
        "Image": once.image,
        "Entrypoint": [once.command[0]],
        "Cmd": list(once.command[1:]),
        "Env": [f"{name}={value}" for name, value in once.environment.items()],
        "User": once.user,
        "Labels": {LABEL: ""},
        "NetworkDisabled": True,
        # An engine may be set up to keep no logs, or to send them elsewhere.
        "HostConfig": {"NetworkMode": "none", "LogConfig": {"Type": "json-file"}},
    }


@contextlib.contextmanager
def _starting(once: Once) -> Iterator[None]:
    """Tell a program that the image lacks from an engine that fails."""
    try:
        yield
    except ToolError as error:
        if "executable file not found" in error.message or "no such file" in error.message:
            message = f"The image {once.image!r} has no program {once.command[0]!r}"
            raise MissingError(message) from None
        raise


def _remove(engine: Engine, name: str, *, patience: float = 0) -> None:
    """Remove a container, which may yet appear where the request for it was interrupted.

    An engine that has stopped removes nothing; what went wrong before says more than that.
    """
    last = time.monotonic() + patience
    with contextlib.suppress(EnvkitError):
        while not engine.remove_container(name) and time.monotonic() < last:
            time.sleep(0.1)


def _text(output: bytes) -> str:
    return output.decode("utf-8", "backslashreplace")
