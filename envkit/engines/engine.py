"""The Docker Engine, and what it is asked to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any, NamedTuple
from urllib.parse import quote

from envkit.engines import faults, images, messages, pulling
from envkit.engines.connection import Connection, encoded
from envkit.engines.images import Image, Layer, Listed
from envkit.engines.progress import Report, ignore
from envkit.engines.pulling import Pulling
from envkit.engines.pushing import Pushed, Pushing
from envkit.errors import EnvkitError, MissingError, ToolError, UsageError


class Facts(NamedTuple):
    """What an engine says of itself.

    Attributes:
        version: its version, as in "26.1.5".
        api_version: the version of the API that is spoken with it.
        os: the system its containers run on, as OCI names it: "linux".
        architecture: the machine type, as OCI names it: "amd64".
        builder_version: the builder it prefers: "2" means BuildKit, "1" or "" the classic one.
        containerd_images: whether images are in containerd's store.
    """

    version: str
    api_version: str
    os: str
    architecture: str
    builder_version: str
    containerd_images: bool


class Engine(Connection):
    """An engine that answers. What fails ends in an error of envkit, whoever raised it."""

    _facts: Facts | None = None

    def facts(self) -> Facts:
        """Return what the engine says of itself; it is asked once."""
        if self._facts is None:
            self._facts = self._ask_facts()
        return self._facts

    def _ask_facts(self) -> Facts:
        with self.speaking.translated("say what it is"):
            version = self.client.version()
        info = self.info()
        status = {tuple(pair) for pair in info.get("DriverStatus") or ()}
        return Facts(
            version=str(version.get("Version", "")),
            api_version=self.api_version,
            os=str(version.get("Os", "")),
            architecture=images.architecture(version.get("Arch") or info.get("Architecture")),
            builder_version=self.builder_version,
            containerd_images=("driver-type", "io.containerd.snapshotter.v1") in status,
        )

    def info(self) -> Mapping[str, Any]:
        """Return what the engine says of itself (Docker Engine API, "Get system information")."""
        with self.speaking.translated("say what it is"):
            said: Mapping[str, Any] = self.client.info()
        return said

    def inspect(self, reference: str) -> Image | None:
        """Return an image by its name or id; None if the engine has none such."""
        import docker.errors

        with self.speaking.translated(f"look at the image {reference!r}"):
            try:
                said = self.client.inspect_image(reference)
            except docker.errors.NotFound:
                return None
        return images.from_inspection(said)

    def require(self, reference: str) -> Image:
        """Return an image by its name or id.

        Raises:
            MissingError: the engine has none such.
        """
        found = self.inspect(reference)
        if found is None:
            raise _no_image(reference)
        return found

    def history(self, reference: str) -> tuple[Layer, ...]:
        """Return what an image was made by, newest first.

        Raises:
            MissingError: there is no such image.
        """
        missing = _no_image(reference).message
        with self.speaking.translated(f"tell the history of {reference!r}", missing=missing):
            said = self.client.history(reference)
        return tuple(images.from_history(one) for one in said)

    def images(self, *labels: str) -> tuple[Listed, ...]:
        """Return the images that have all of some labels, "name" or "name=value" each."""
        with self.speaking.translated("list images"):
            said = self.client.images(filters={"label": list(labels)})
        return tuple(images.from_list(one) for one in said)

    def load(self, chunks: Iterable[bytes]) -> None:
        """Hand an archive of images to the engine, as `docker load` takes it.

        Args:
            chunks: its bytes; what this raises comes out as it is.
        """
        what = "load an image"
        for message in self.stream("/images/load", what, data=chunks, params={"quiet": "1"}):
            said = messages.failure_in(message)
            if said:
                raise faults.said_by_engine(said, what) or ToolError(
                    f"The Docker Engine could not {what}: {said}"
                )

    def export(self, reference: str) -> Iterator[bytes]:
        """Yield an archive of an image, as `docker save` writes it.

        Raises:
            ToolError: the engine fails.
        """
        with self.speaking.translated(f"export the image {reference!r}"):
            yield from self.client.get_image(reference)

    def tag(self, reference: str, name: str) -> None:
        """Give an image a name more; an image that had it loses it.

        Raises:
            MissingError: there is no such image.
            UsageError: it is no name.
        """
        repository, tag = split(name)
        missing = _no_image(reference).message
        with self.speaking.translated(f"tag {reference!r} as {name!r}", missing=missing):
            self.client.tag(reference, repository, tag)

    def remove(self, reference: str) -> bool:
        """Take an image's name away, and the image with the last one.

        Returns:
            Whether there was one.
        """
        import docker.errors

        with self.speaking.translated(f"remove the image {reference!r}"):
            try:
                self.client.remove_image(reference)
            except docker.errors.NotFound:
                return False
        return True

    def remove_container(self, name: str) -> bool:
        """Remove a container and its anonymous volumes, running or not.

        Returns:
            Whether there was one.
        """
        import docker.errors

        with self.speaking.translated(f"remove the container {name!r}"):
            try:
                self.client.remove_container(name, force=True, v=True)
            except docker.errors.NotFound:
                return False
        return True

    def pull(self, name: str, report: Report = ignore) -> Image:
        """Bring an image from the registry that its name says.

        Args:
            name: "host/app:1"; "latest" by default.
            report: told of each layer.

        Raises:
            MissingError: the registry has none such.
            ToolError: the registry refuses it or cannot be reached.
        """
        what = f"pull {name!r}"
        pull = Pulling(name, what, report)
        # A digest stands in the place of a tag.
        repository, tag = name.split("@") if "@" in name else split(name)
        said = self.stream(
            "/images/create",
            what,
            params={"fromImage": repository, "tag": tag},
            headers={"X-Registry-Auth": encoded(self.login(faults.registry_of(name)))},
            missing=pulling.absent(name).message,
            pulled=name,
        )
        with closing(said):
            for message in said:
                pull.heard(message)
        return self.require(name)

    def push(self, name: str, report: Report = ignore) -> Pushed:
        """Push an image to the registry that its name says.

        Args:
            name: "host/app:1"; "latest" by default.
            report: told of each layer.

        Raises:
            MissingError: there is no such image, or the program that keeps the password.
            ToolError: the registry refuses it or cannot be reached.
        """
        repository, tag = split(name)
        self.require(f"{repository}:{tag}")
        what = f"push {name!r}"
        pushing = Pushing(name, what, report)
        login = self.login(faults.registry_of(name))
        said = self.stream(
            f"/images/{quote(repository, safe='/:')}/push",
            what,
            params={"tag": tag},
            headers={"X-Registry-Auth": encoded(login)},
        )
        with closing(said):
            for message in said:
                pushing.heard(message)
        return pushing.done()


def split(name: str) -> tuple[str, str]:
    """Return the repository and the tag of a name: "host:5000/app", "latest".

    Raises:
        UsageError: it has a digest, which is what a name leads to, or lacks the repository.
    """
    head, slash, last = name.rpartition("/")
    repository, _, tag = last.partition(":")
    if not repository or "@" in name:
        raise UsageError(f"{name!r} is no name for an image", "As in app:1 or host:5000/team/app.")
    return f"{head}{slash}{repository}", tag or "latest"


def _no_image(reference: str) -> EnvkitError:
    return MissingError(f"The Docker Engine has no image {reference!r}")
