"""The connection with a Docker Engine, over the Docker SDK."""

from __future__ import annotations

import base64
import json
import socket
import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from envkit.engines import endpoint, faults, messages
from envkit.engines.endpoint import settings_folder
from envkit.engines.messages import Message, Sending
from envkit.errors import EnvkitError, MissingError, UsageError

if TYPE_CHECKING:
    import docker
    import requests

C = TypeVar("C", bound="Connection")

# The newest version of the API that this speaks; an engine is asked in its own, if that is older.
NEWEST_API = "1.45"

# How long an engine may take to answer what needs no work, in seconds.
_PATIENCE = 30.0
_FIRST_PATIENCE = 10.0


class Connection:
    """A connection with an engine that answers.

    Attributes:
        endpoint: where it is.
        speaking: what turns the SDK's exceptions into errors of envkit.
        client: the SDK's own.
        api_version: the version of the API that is spoken.
        builder_version: the builder that the engine prefers: "2" means BuildKit.
    """

    def __init__(self, environ: Mapping[str, str], *, patience: float = _FIRST_PATIENCE) -> None:
        """Find the engine and ask whether it is there.

        Args:
            environ: the environment, in which DOCKER_HOST and the like say where it is.
            patience: how many seconds it may take to answer that.

        Raises:
            MissingError: there is none, or it may not be used.
            ToolError: it does not answer.
            UsageError: what says where it is makes no sense.
        """
        self._environ = environ
        self.endpoint = endpoint.find(environ)
        self.speaking = faults.Speaking(self.endpoint)
        answer = self._asked("answer at all", NEWEST_API, patience)
        version = answer.headers.get("Api-Version", "")
        if not version:
            raise MissingError(
                f"No Docker Engine at {self.endpoint}: what answers there is none",
                "See that DOCKER_HOST or the context is right.",
            )
        self.speaking.answered = True
        self.api_version = min(version, NEWEST_API, key=_numbers)
        self.builder_version = answer.headers.get("Builder-Version", "")
        with self.speaking.translated("answer in its own version"):
            self.client = self._client(self.api_version)

    def __enter__(self: C) -> C:
        return self

    def __exit__(self, *exception: object) -> None:
        self.client.close()

    def credentials(self, registries: Iterable[str]) -> Mapping[str, str]:
        """Return the HTTP header that lets the engine log in to some registries, as the user did.

        Raises:
            MissingError: the program that keeps a password is not there.
        """
        found = {one: said for one in registries if (said := self.login(one))}
        return {"X-Registry-Config": encoded(found)} if found else {}

    def lost(self, what: str) -> EnvkitError | None:
        """Return the error of an engine that has stopped; None if it still answers.

        Args:
            what: what it was to do.
        """
        try:
            self._asked(what, self.api_version, _FIRST_PATIENCE)
        except EnvkitError as error:
            return error
        return None

    def _asked(self, what: str, version: str, patience: float) -> requests.Response:
        """Ask whether somebody is there, by a connection of its own."""
        where = self.endpoint.socket
        with self.speaking.translated(what):
            if where is not None:
                # Where nobody is, this says so before the SDK, which is large, is imported.
                with socket.socket(socket.AF_UNIX) as trying:
                    trying.settimeout(patience)
                    trying.connect(str(where))
            with closing(self._client(version)) as client:
                answer: requests.Response = client.get(f"{client.base_url}/_ping", timeout=patience)
                answer.raise_for_status()
        return answer

    def stream(
        self,
        path: str,
        what: str,
        *,
        data: Iterable[bytes] = (),
        params: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        missing: str = "",
        pulled: str = "",
    ) -> Generator[Message, None, None]:
        """Send bytes to the engine and yield each message of its answer, as it comes.

        The connection is closed when the iterator is, which calls off what the engine does.

        Args:
            path: what is asked, below the version: "/build".
            what: what the engine is to do, for errors.
            data: the bytes; what this raises comes out as it is.
            params: the query.
            headers: HTTP headers, beside those that are always sent.
            missing: the error where the engine says that something is not there.
            pulled: the image that a registry is asked for meanwhile, if one is.
        """
        sending = Sending(data)
        translated = self.speaking.translated(what, missing=missing, pulled=pulled)
        with self._posted(path, translated, sending, params, headers) as answer:
            yield from messages.parsed(answer.iter_content(None))

    @contextmanager
    def _posted(
        self,
        path: str,
        translated: AbstractContextManager[None],
        sending: Sending,
        params: Mapping[str, str],
        headers: Mapping[str, str] | None,
    ) -> Iterator[requests.Response]:
        import docker.errors
        import requests

        client = self.client
        url = f"{client.base_url}/v{self.api_version}{path}"
        sent = {"Content-Type": "application/x-tar", **(headers or {})}
        try:
            with (
                translated,
                # How long the engine may work is not for this to say.
                client.post(
                    url, data=sending, params=params, headers=sent, stream=True, timeout=None
                ) as answer,
            ):
                try:
                    answer.raise_for_status()
                except requests.HTTPError as error:
                    docker.errors.create_api_error_from_http_exception(error)
                yield answer
        except Exception:
            if sending.failure:
                raise sending.failure from None
            raise

    def _client(self, version: str) -> docker.APIClient:
        import docker

        where, certificates = self.endpoint, self.endpoint.certificates
        tls: Any = False
        try:
            docker.utils.parse_host(where.address, False, bool(certificates))
        except ValueError as error:  # of a port
            raise docker.errors.DockerException(str(error)) from None
        with _understood():
            if certificates:
                pair = (certificates.certificate, certificates.key)
                tls = docker.tls.TLSConfig(
                    client_cert=pair if all(pair) else None,
                    ca_cert=certificates.authority or None,
                    verify=certificates.verify,
                )
            return docker.APIClient(where.address, version=version, tls=tls, timeout=_PATIENCE)

    def login(self, registry: str) -> Mapping[str, str]:
        """Return how the user has logged in to a registry; nothing if that was not done.

        Raises:
            MissingError: the program that keeps the password is not there.
        """
        from docker import auth

        path = settings_folder(self._environ) / "config.json"
        if not path.is_file():
            return {}
        with (
            self.speaking.translated("find out how to log in"),
            _understood(),
            warnings.catch_warnings(),
        ):
            # What the SDK warns of, it raises as well.
            warnings.simplefilter("ignore")
            kept = auth.load_config(str(path), credstore_env=dict(self._environ))
            return auth.resolve_authconfig(kept, registry) or {}


def encoded(value: Mapping[str, object]) -> str:
    """Return an object as headers of the engine's API take it."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


@contextmanager
def _understood() -> Iterator[None]:
    """Tell of settings of Docker's command line that cannot be understood."""
    import docker.errors

    try:
        yield
    except (ValueError, docker.errors.InvalidConfigFile) as error:
        message = f"Docker's config.json cannot be understood ({type(error).__name__})"
        hint = "Mend its `auths`, or take them out and log in again (`docker login`)."
        raise UsageError(message, hint) from None


def _numbers(version: str) -> list[int]:
    return [int(part) if part.isdecimal() else 0 for part in version.split(".")]
