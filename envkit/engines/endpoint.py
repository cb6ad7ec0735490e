"""Where the Docker Engine is that this user works with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from envkit.errors import UsageError

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"


class Certificates(NamedTuple):
    """The files with which an engine and its client prove who they are; empty where there is none.

    Attributes:
        authority: who vouches for the engine.
        certificate: the client's.
        key: its private key.
        verify: whether the engine has to prove who it is.
    """

    authority: str
    certificate: str
    key: str
    verify: bool


class Endpoint(NamedTuple):
    """Where an engine listens.

    Attributes:
        address: as in DOCKER_HOST: "unix:///path" or "tcp://host:port".
        origin: what says so, for messages: "DOCKER_HOST", "the context 'remote'", or "" by default.
        certificates: those for TLS; None for none.
        context: the name that the command line has for it.
    """

    address: str
    origin: str = ""
    certificates: Certificates | None = None
    context: str = "default"

    @property
    def socket(self) -> Path | None:
        """The socket's path, if that is what it is."""
        scheme, _, path = self.address.partition("://")
        return Path(path or "/var/run/docker.sock") if scheme == "unix" else None

    def refuse_remote(self, why: str, hint: str) -> None:
        """Make sure that the engine is this machine's.

        Args:
            why: what is here, as in "where the models are".
            hint: what to do.

        Raises:
            UsageError: it is another machine's.
        """
        if self.socket is None:
            raise UsageError(f"The engine at {self} is not this machine's, {why}", hint)

    def __str__(self) -> str:
        return f"{self.address} ({self.origin})" if self.origin else self.address


def find(environ: Mapping[str, str]) -> Endpoint:
    """Return where the engine is, decided as Docker's command line does.

    DOCKER_HOST comes before DOCKER_CONTEXT, that before the context chosen with `docker context
    use`; without any, the socket of this machine. Source: `docker context` (Docker docs), and
    `resolveContextName` of docker/cli.

    Raises:
        UsageError: the context is not there, or cannot be read.
    """
    folder = settings_folder(environ)
    address = environ.get("DOCKER_HOST", "").strip()
    if address:
        return Endpoint(address, "DOCKER_HOST", _from_environment(environ, folder))
    name, origin = environ.get("DOCKER_CONTEXT", ""), "DOCKER_CONTEXT"
    if not name:
        name, origin = _current_context(folder), f"{folder}/config.json"
    if name in {"", "default"}:
        return Endpoint(DEFAULT_ADDRESS)
    return _of_context(name, origin, folder)


def settings_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder in which Docker's command line keeps a user's settings."""
    return Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME", "/"), ".docker"))


def _from_environment(environ: Mapping[str, str], folder: Path) -> Certificates | None:
    verify = bool(environ.get("DOCKER_TLS_VERIFY"))
    if not verify and not environ.get("DOCKER_TLS"):
        return None
    return _certificates(Path(environ.get("DOCKER_CERT_PATH") or folder), verify)


def _certificates(folder: Path, verify: bool) -> Certificates:
    present = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
    authority, certificate, key = (str(path) if path.is_file() else "" for path in present)
    return Certificates(authority, certificate, key, verify)


def _current_context(folder: Path) -> str:
    try:
        settings = json.loads((folder / "config.json").read_bytes())
        return str(settings.get("currentContext") or "")
    except (OSError, ValueError, AttributeError, RecursionError):
        return ""  # the command line, too, warns and goes on


def _of_context(name: str, origin: str, folder: Path) -> Endpoint:
    digest = hashlib.sha256(name.encode()).hexdigest()
    metadata = folder / "contexts" / "meta" / digest / "meta.json"
    hint = "`docker context ls` lists those that there are."
    try:
        said = json.loads(metadata.read_bytes())["Endpoints"]["docker"]
        address = str(said.get("Host") or DEFAULT_ADDRESS)
        skip = bool(said.get("SkipTLSVerify"))
    except FileNotFoundError:
        raise UsageError(f"Docker has no context {name!r}, which {origin} names", hint) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        message = f"{metadata}: the context {name!r} of Docker cannot be read"
        raise UsageError(message, hint) from None
    files = folder / "contexts" / "tls" / digest / "docker"
    certificates = _certificates(files, not skip) if files.is_dir() or skip else None
    if address.startswith("unix:"):
        certificates = None
    return Endpoint(address, f"the context {name!r}", certificates, name)
