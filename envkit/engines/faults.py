"""What can go wrong between this process and an engine, as a user is told of it.

The SDK lets exceptions of four libraries out. Here they all become errors of envkit.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from envkit import refusals
from envkit.engines.endpoint import DEFAULT_ADDRESS, Endpoint
from envkit.errors import EnvkitError, MissingError, RefusedError, ToolError, UsageError

_INSTALL = "install Docker Engine (https://docs.docker.com/engine/install/)"
_UNTOUCHED = "No image was changed."

# What to do where a registry has no such image, or says so to whoever may not see it.
ABSENT_HINT = "See that the name is right; if others may not see it, `docker login` comes first."

# An engine has no codes for these: its own words, from the kernel and from registries, are all.
_FULL = ("no space left on device", "disk quota exceeded", "not enough space")
_UNAUTHORIZED = ("unauthorized", "authentication required", "no basic auth credentials")
_DENIED = ("denied", "forbidden", "insufficient_scope", "insufficient scope")
_UNREACHABLE = (
    *("dial tcp", "no such host", "connection refused", "connection reset", "i/o timeout"),
    *("tls handshake", "network is unreachable", "server gave http response", "x509:"),
    *("unexpected eof", "failed to do request", "broken pipe"),
)

# Who may read and write a socket may use it.
_GROUP_USES = 0o060

_LIMITS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class Speaking:
    """What is known of the conversation with an engine.

    Attributes:
        endpoint: where it is.
        answered: whether it ever did.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.answered = False

    @contextmanager
    def translated(self, what: str, *, missing: str = "", pulled: str = "") -> Iterator[None]:
        """Have whatever the SDK raises become an error of envkit.

        Args:
            what: what is being done: "tag 'app'".
            missing: the error where the engine says that something is not there.
            pulled: the image that a registry is asked for meanwhile, if one is.

        Raises:
            MissingError: there is no engine, it may not be spoken to, or what it should have is
                not there.
            RefusedError: a disk is full.
            ToolError: the engine stopped, does not answer, or refuses.
            UsageError: the user's settings for Docker make no sense.
        """
        try:
            yield
        except EnvkitError:
            raise
        except Exception as error:
            found = self._explained(error, what, missing, pulled)
            if found is None:
                raise
            raise found from None

    def _explained(
        self, error: Exception, what: str, missing: str, pulled: str
    ) -> EnvkitError | None:
        if isinstance(error, OSError) and error.errno:
            return self._no_connection(error, what)
        import docker.credentials
        import docker.errors
        import requests
        import urllib3

        if isinstance(error, docker.errors.APIError):
            return _refusal(error, what, missing, pulled)
        if any(isinstance(one, docker.credentials.StoreError) for one in _causes(error)):
            return _no_credentials(str(error))
        known = (
            docker.errors.DockerException,
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
        )
        return self._no_connection(error, what) if isinstance(error, known) else None

    def _no_connection(self, error: Exception, what: str) -> EnvkitError:
        causes = _causes(error)
        system = next((one for one in causes if isinstance(one, OSError) and one.errno), None)
        if isinstance(system, socket.gaierror):
            return self._absent("its name is not known")
        if system is not None and system.errno in _LIMITS:
            return refusals.explained(system, what=f"Could not {what}") or self.stopped(what)
        # A queue of those who wait to be let in that is full says EAGAIN.
        if system.errno == errno.EAGAIN if system else is_slow(error):
            return ToolError(
                f"The Docker Engine at {self.endpoint} does not answer; could not {what}",
                "It may be overloaded, or hang: see its log (`journalctl -u docker`), restart it,"
                f" then run this again. {_UNTOUCHED}",
            )
        if self.answered:
            return self.stopped(what)
        if system is None:
            return self._unusable(error)
        if system.errno in {errno.EACCES, errno.EPERM}:
            return _not_permitted(self.endpoint)
        return self._absent(os.strerror(system.errno or 0))

    def stopped(self, what: str) -> EnvkitError:
        """Return the error of an engine that ended while it worked."""
        return ToolError(
            f"The Docker Engine at {self.endpoint} stopped while it was to {what}",
            f"Start it and run this again. {_UNTOUCHED}",
        )

    def _absent(self, reason: str) -> EnvkitError:
        path = self.endpoint.socket
        hint = "See that an engine listens there, and that DOCKER_HOST or the context is right."
        if path is not None and self.endpoint.address == DEFAULT_ADDRESS:
            hint = f"Start it ({_start()}), or {_INSTALL}."
            other = _rootless()
            if other:
                hint = f"There is one at {other}: `export DOCKER_HOST=unix://{other}`."
        elif path is not None and path.exists():
            hint = f"The socket is there, but nobody listens on it: start that engine. {hint}"
        return MissingError(f"No Docker Engine at {self.endpoint}: {reason.lower()}", hint)

    def _unusable(self, error: Exception) -> EnvkitError:
        import requests

        if isinstance(error, requests.exceptions.SSLError):
            reason = _last_words(str(error))
            return MissingError(
                f"The Docker Engine at {self.endpoint}: no secure connection: {reason}",
                "See DOCKER_TLS_VERIFY, DOCKER_CERT_PATH and the certificates in it.",
            )
        if isinstance(error, requests.RequestException):
            return self._absent("what answers there is none")
        if self.endpoint.address.startswith("ssh:"):
            return MissingError(
                f"The Docker Engine at {self.endpoint} is reached by ssh, which needs paramiko",
                "Install that library beside envkit (`pip install paramiko`).",
            )
        return UsageError(
            f"The Docker Engine's address {self.endpoint}: {_last_words(str(error))}",
            "An address is unix:///path/to/docker.sock or tcp://host:port.",
        )


def is_slow(error: BaseException) -> bool:
    """Return whether the SDK gave up waiting."""
    import requests
    import urllib3

    slow = (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)
    return any(isinstance(one, slow) for one in _causes(error))


def said_by_engine(text: str, what: str, *, image: str = "") -> EnvkitError | None:
    """Return the error that an engine's words mean wherever they are met; None for no such one.

    Args:
        text: the engine's words.
        what: what it was to do: "push 'host/app'".
        image: the image that it told of a registry's answer about, if it did.
    """
    found = _said_by_registry(text, image, what) if image else None
    if found:
        return found
    low = text.lower()
    if any(words in low for words in _FULL):
        return RefusedError(
            f"The Docker Engine could not {what}: its disk is full: {_one_line(text)}",
            "Make room (`docker system df`, `docker builder prune`), then run this again."
            f" {_UNTOUCHED}",
        )
    return None


def is_unreachable(text: str) -> bool:
    """Return whether an engine's words mean that it could not reach a registry."""
    low = text.lower()
    return any(words in low for words in _UNREACHABLE) or low.endswith("eof")


def registry_of(reference: str) -> str:
    """Return the host of an image's registry; the first part of a name, if it looks like one.

    Source: "Image reference grammar" (distribution/reference).
    """
    first, slash, _ = reference.partition("/")
    is_host = slash and ("." in first or ":" in first or first == "localhost")
    return first if is_host else "docker.io"


def _said_by_registry(text: str, reference: str, what: str) -> EnvkitError | None:
    low, told = text.lower(), _one_line(text)
    host = registry_of(reference)
    if any(words in low for words in _UNAUTHORIZED):
        return ToolError(
            f"Could not {what}: {host} wants to know who you are: {told}",
            f"Log in (`docker login {host}`), then run this again.",
        )
    if any(words in low for words in _DENIED):
        return ToolError(
            f"Could not {what}: {host} refuses it: {told}",
            "See that the name is right, and that the account of"
            f" `docker login {host}` has the right to do it.",
        )
    if is_unreachable(text):
        return ToolError(
            f"Could not {what}: {host} cannot be reached: {told}",
            "See that the name is right and that the engine's machine reaches it, then run this"
            " again.",
        )
    return None


def _refusal(error: Exception, what: str, missing: str, pulled: str) -> EnvkitError:
    """Return the error of a request that the engine answered by refusing it."""
    status = getattr(error, "status_code", None)
    text = str(getattr(error, "explanation", "") or error)
    if status == 404 and missing:
        return MissingError(missing, ABSENT_HINT if pulled else "")
    return said_by_engine(text, what, image=pulled) or ToolError(
        f"The Docker Engine could not {what}: {_one_line(text)}"
    )


def _no_credentials(text: str) -> EnvkitError:
    import re

    # What a helper printed may be anything: only its name is told.
    helper = re.search(r"docker-credential-[\w.-]+", text)
    named = helper[0] if helper else "The program that keeps Docker's passwords"
    return MissingError(
        f"{named} cannot be used, which Docker's config.json names",
        "Install it, or take `credsStore` and `credHelpers` out of that file and log in again.",
    )


def _not_permitted(endpoint: Endpoint) -> EnvkitError:
    import grp
    import pwd

    path = endpoint.socket or Path()
    message = f"No permission to use the Docker Engine's socket {path}"
    try:
        found = path.stat()
    except OSError:
        return MissingError(message, f"See who may enter {path.parent} (`ls -ld {path.parent}`).")
    try:
        group = grp.getgrgid(found.st_gid)
        name, members = group.gr_name, group.gr_mem
    except KeyError:
        name, members = str(found.st_gid), []
    if found.st_mode & _GROUP_USES != _GROUP_USES or found.st_gid == 0:
        hint = f"It is not open to any group you could join: see `ls -l {path}`."
        return MissingError(f"{message}, of the group {name}", hint)
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = ""  # as of whom a container was started with any number
    if user in members and found.st_gid not in os.getgroups():
        hint = f"You joined {name} after you logged in: `newgrp {name}`, or log in again."
    else:
        join = f"`sudo usermod -aG {name} $USER`, then `newgrp {name}` or log in again"
        hint = f"Join the group: {join}. (Whoever is in it can become root.)"
    return MissingError(f"{message}, which is for the group {name}", hint)


def _start() -> str:
    return "Docker Desktop" if sys.platform == "darwin" else "`sudo systemctl start docker`"


def _rootless() -> Path | None:
    """Return the socket of an engine that runs without root, if there is one."""
    path = Path(f"/run/user/{os.getuid()}/docker.sock")
    return path if path.is_socket() else None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and all that led to it; libraries keep that in four different places."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__, getattr(one, "reason", None)]
        waiting += [argument for argument in one.args if isinstance(argument, BaseException)]


def _last_words(text: str) -> str:
    """Return what a chain of errors says last."""
    return _one_line(text).rpartition("Caused by ")[2].strip(" ()'\"")


def _one_line(text: str) -> str:
    return " ".join(text.split())
