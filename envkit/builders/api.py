"""Builds over the engine's own API: by BuildKit where the engine has it, or the classic builder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing

from envkit.builders import classic, failure, solve, steps, trace
from envkit.builders.build import Build, Built
from envkit.engines import messages
from envkit.engines.engine import Engine
from envkit.engines.faults import registry_of
from envkit.engines.images import Image
from envkit.engines.progress import Event, Progress, Report
from envkit.errors import EnvkitError, MissingError, ToolError, UsageError

# BuildKit is in the engine since this version of the API; one may say that it prefers the other.
_BUILDKIT_SINCE = (1, 39)

_TRACE = "moby.buildkit.trace"

# Engine 26.1 with containerd's image store looks on the network for what it was just sent, where
# its classic builder does as it should.
_NO_CONTEXT = re.compile(r'Get "http://build-context-\w+": dial tcp: lookup')


class Api:
    """The builder in the engine; the classic one if BuildKit does not find what it is sent."""

    def __init__(self, engine: Engine, *, buildkit: bool | None = None) -> None:
        """Choose one.

        Args:
            engine: where it is.
            buildkit: whether it is BuildKit; as the engine prefers by default.
        """
        self._engine = engine
        self._buildkit = has_buildkit(engine) if buildkit is None else buildkit

    @property
    def name(self) -> str:
        return f"the engine's API ({'BuildKit' if self._buildkit else 'classic builder'})"

    @property
    def is_apart(self) -> bool:
        return False

    @property
    def has_own_images(self) -> bool:
        return False

    def build(self, build: Build, report: Report) -> Built:
        steps.check(build.dockerfile, build.dockerfile_name)
        _refuse_what_it_cannot(build)
        try:
            return self._build(build, report)
        except _NoContextError:
            self._buildkit = False
            return self._build(build, report)

    def _build(self, build: Build, report: Report) -> Built:
        progress = Progress()
        telling = _Telling(progress, report, held=self._buildkit)
        reader = _BuildKit(build) if self._buildkit else _Classic(build)
        try:
            said = self._run(build, reader, telling)
        except EnvkitError as error:
            raise _of_request(error, progress, build) from None
        if self._buildkit and _NO_CONTEXT.search(said):
            raise _NoContextError
        telling.heard(reader.ended(said))
        telling.release()
        if said:
            raise self._failure(said, progress, build)
        image = self._checked(reader.built, build)
        for name in build.tags:
            self._engine.tag(image.id, name)
        return Built(image.id, self.name, {})

    def _run(self, build: Build, reader: _BuildKit | _Classic, telling: _Telling) -> str:
        """Let the engine build, and return why it failed; "" if it did not."""
        content = {build.dockerfile_name: build.dockerfile.text.encode()}
        answer = self._engine.stream(
            "/build",
            "build the image",
            data=build.pack(content),
            params=_parameters(build, self._buildkit),
            headers={} if self._buildkit else self._engine.credentials(_registries(build)),
        )
        said = ""
        # Closing the connection is what calls a build off.
        with closing(answer):
            for message in answer:
                said = said or messages.failure_in(message)
                telling.heard(reader.heard(message))
        return said

    def _failure(self, said: str, progress: Progress, build: Build) -> EnvkitError:
        gone = failure.may_be_stopped(said, progress) and self._engine.lost("build the image")
        return gone or failure.explained(said, progress, build)

    def _checked(self, identity: str, build: Build) -> Image:
        """Return the image that was built, if it is what was asked for."""
        if not identity:
            lost = self._engine.lost("build the image")
            raise lost or ToolError("The Docker Engine does not say what it built")
        image = self._engine.require(identity)
        wanted = build.platforms[0].split("/") if build.platforms else []
        if len(wanted) > 1 and wanted[1] != image.architecture:
            raise ToolError(
                f"The Docker Engine built for {image.os}/{image.architecture}, where"
                f" {build.platforms[0]} was asked for",
                "Give base images for that platform, or build with buildx.",
            )
        return image


class _NoContextError(Exception):
    """BuildKit does not find the context that it was sent."""


class _Telling:
    """Tells of events; of those that are held only when another step than the first begins."""

    def __init__(self, progress: Progress, report: Report, *, held: bool) -> None:
        self._progress, self._report = progress, report
        self._held: list[Event] | None = [] if held else None

    def heard(self, events: Iterable[Event]) -> None:
        for event in events:
            self._progress(event)
            if self._held is None:
                self._report(event)
                continue
            self._held.append(event)
            if len(self._progress.steps) > 1:
                self.release()

    def release(self) -> None:
        held, self._held = self._held or [], None
        for event in held:
            self._report(event)


class _BuildKit:
    """What BuildKit says over the API."""

    def __init__(self, build: Build) -> None:
        known = steps.of(build.dockerfile)
        self._solving = solve.Solving(lambda name: steps.line_of(name, known))
        # An engine that has no BuildKit may answer as the classic builder does.
        self._classic = _Classic(build)

    @property
    def built(self) -> str:
        return self._classic.built

    def heard(self, message: messages.Message) -> Iterator[Event]:
        if message.get("id") == _TRACE:
            for told in trace.told(message.get("aux")):
                yield from self._solving.heard(told)
        else:
            yield from self._classic.heard(message)

    def ended(self, error: str) -> Iterator[Event]:
        yield from self._solving.ended()
        yield from self._classic.ended(error)


class _Classic(classic.Reader):
    """What the classic builder says."""

    def __init__(self, build: Build) -> None:
        super().__init__(steps.of(build.dockerfile))


def has_buildkit(engine: Engine) -> bool:
    """Return whether an engine's own builder is BuildKit, unless it prefers the other."""
    version = tuple(int(part) for part in engine.api_version.split(".") if part.isdecimal())
    return engine.builder_version == "2" or (
        engine.builder_version != "1" and version >= _BUILDKIT_SINCE
    )


def _refuse_what_it_cannot(build: Build) -> None:
    """Raise an error for what is not to be had over the API."""
    wanted = {
        "build secrets": build.secrets,
        "several platforms": build.platforms[1:],
        "exporting the build cache": build.cache_to,
        "pushing by the builder": build.push,
    }
    for what, asked in wanted.items():
        if asked:
            raise MissingError(
                f"The engine's API does not offer {what}; buildx does",
                "Install buildx (https://docs.docker.com/build/install-buildx/), or choose it with"
                " --builder buildx.",
            )
    sources = [source for source in build.cache_from if "type=" in source]
    if sources:
        raise UsageError(
            f"The engine's API reads a cache from images only, not from {sources[0]!r}",
            "Name an image, or choose --builder buildx.",
        )


def _parameters(build: Build, buildkit: bool) -> Mapping[str, str]:
    """Return the query of a build. Source: Docker Engine API, "Build an image"."""
    wanted = {
        "dockerfile": build.dockerfile_name,
        "version": "2" if buildkit else "1",
        "rm": "1",
        "forcerm": "1",
        "target": build.target,
        "buildargs": json.dumps(dict(build.arguments)) if build.arguments else "",
        "labels": json.dumps(dict(build.labels)) if build.labels else "",
        "platform": build.platforms[0] if build.platforms else "",
        "nocache": "1" if build.no_cache else "",
        "pull": "1" if build.pull else "",
        "networkmode": build.network,
        "cachefrom": json.dumps(build.cache_from) if build.cache_from else "",
    }
    return {name: value for name, value in wanted.items() if value}


def _registries(build: Build) -> set[str]:
    """Return the registries of the images that a Dockerfile names as bases."""
    bases = build.dockerfile.bases(build.arguments)
    return {registry_of(name) for name in bases}


def _of_request(error: EnvkitError, progress: Progress, build: Build) -> EnvkitError:
    """Return the error of a request that was refused at once, as for a syntax error."""
    said = error.message.partition("could not build the image: ")[2]
    found = failure.explained(said, progress, build) if said else error
    return found if isinstance(found, UsageError) else error
