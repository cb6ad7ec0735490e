"""The engine that an environment names, spoken to by docker's command line."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

REPOSITORY = "envkit-benchmark"

# `envkit build` calls its images of distributions so, and says on them what their layers are of.
_DEPENDENCIES = "localhost/envkit/dependencies"
_LAYERS = "dev.envkit.layers"


class EngineError(Exception):
    """The engine refused something; the message is its own."""


class Engine:
    """An engine, and what is done with it beside what is measured."""

    def __init__(self, docker: str, environ: Mapping[str, str]) -> None:
        """Take the engine that ``environ`` names; ``docker`` is the path of the command line."""
        self.docker, self.environ = docker, environ

    def ask(self, *arguments: str, content: bytes | None = None) -> str:
        """Run docker, with ``content`` on standard input; return what it printed."""
        done = subprocess.run(
            [self.docker, *arguments],
            check=False,
            input=content,
            stdin=subprocess.DEVNULL if content is None else None,
            capture_output=True,
            env=dict(self.environ),
            timeout=900,
        )
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()
            raise EngineError(f"docker {' '.join(arguments[:2])}: {said[-400:]}")
        return done.stdout.decode().strip()

    def version(self) -> str:
        """Return its version and how it keeps layers."""
        return self.ask("info", "--format", "{{.ServerVersion}}, {{.Driver}}")

    def make_base(self, image: str, tag: str) -> tuple[str, ...]:
        """Put a layer that nobody else has on ``image``; return the layers of that.

        What stands on it was never built or loaded before, on whatever engine.
        """
        lines = f"FROM {image}\nRUN echo {tag} > /etc/benchmark\n"
        self.ask("build", "--tag", tag, "-", content=lines.encode())
        return self.layers(tag)

    def copy_to(self, other: Engine, image: str) -> None:
        """Let another engine have an image."""
        save = subprocess.Popen(
            [self.docker, "save", image], stdout=subprocess.PIPE, env=dict(self.environ)
        )
        load = [other.docker, "load", "--quiet"]
        done = subprocess.run(
            load, check=False, stdin=save.stdout, capture_output=True, env=dict(other.environ)
        )
        if save.wait() or done.returncode:
            raise EngineError(f"{image} could not be copied to another engine")

    def layers(self, image: str) -> tuple[str, ...]:
        """Return the digests of an image's layers, the lowest first."""
        return tuple(self._inspect(image)["RootFS"]["Layers"])

    def size(self, image: str) -> int:
        """Return the bytes of an image."""
        return int(self._inspect(image)["Size"])

    def dependency_layers(self, image: str) -> tuple[str, ...]:
        """Return the layers of an image that `envkit build` made of distributions."""
        layers = self.layers(image)
        names = self.ask("images", "--format", "{{.Repository}}:{{.Tag}}", _DEPENDENCIES).split()
        for name in names:
            about = self._inspect(name)
            below = about["RootFS"]["Layers"]
            if layers[: len(below)] == tuple(below):
                count = len(about["Config"]["Labels"][_LAYERS].split())
                return tuple(below[-count:])
        raise EngineError(f"{image} has no layers of distributions")

    def run(self, image: str, *command: str) -> str:
        """Run a command in a container of an image, without a network; return what it printed."""
        return self.ask("run", "--rm", "--network", "none", image, *command)

    @contextlib.contextmanager
    def exported(self, image: str) -> Iterator[IO[bytes]]:
        """Give an image's files, as a tar archive."""
        container = self.ask("create", "--network", "none", image)
        try:
            export = subprocess.Popen(
                [self.docker, "export", container],
                stdout=subprocess.PIPE,
                env=dict(self.environ),
            )
            assert export.stdout is not None
            with export.stdout as stream:
                yield stream
                while stream.read(1 << 20):  # what fills its last record
                    pass
            if export.wait():
                raise EngineError(f"{image} could not be exported")
        finally:
            self.ask("rm", "--force", container)

    def remove_on(self, bases: Iterable[tuple[str, ...]]) -> None:
        """Remove every image that stands on a base of `make_base`, by its layers, and those."""
        known = tuple(bases)
        # Of images that stand on one another the upper ones go first: they have more layers.
        found = []
        for identity in set(self.ask("images", "--quiet", "--no-trunc").split()):
            with contextlib.suppress(EngineError):
                layers = self.layers(identity)
                if any(layers[: len(base)] == base for base in known):
                    found.append((len(layers), identity))
        for _, identity in sorted(found, reverse=True):
            # One that another stands on, without more layers, goes with that, or the next time.
            with contextlib.suppress(EngineError):
                self.ask("rmi", "--force", identity)

    def _inspect(self, image: str) -> Any:
        return json.loads(self.ask("image", "inspect", image))[0]
