"""Builds by buildx, Docker's plugin for that."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from envkit import process, refusals
from envkit.builders import rawjson, secret, solve, steps
from envkit.builders.build import Build, Built
from envkit.engines.connecting import Connecting
from envkit.engines.endpoint import settings_folder
from envkit.engines.progress import Event, Finished, Line, Progress, Report
from envkit.errors import EnvkitError, MissingError, ToolError, UsageError
from envkit.store.layout import remove_tree

# Where the command line looks for plugins, after the user's own folder and what is configured.
# Source: cli-plugins/manager of docker/cli.
_FOLDERS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
_PLUGIN = "docker-buildx"

# Attestations are of no use to who asked for none, and make each image another one.
_ENVIRONMENT = {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}


def find(environ: Mapping[str, str]) -> Path | None:
    """Return the plugin that `docker buildx` would run, or None; nothing is started for that.

    As for the command line, the first that bears the name counts, even if it cannot be run.
    """
    own = settings_folder(environ)
    folders = [*_configured(own / "config.json"), own / "cli-plugins", *map(Path, _FOLDERS)]
    for path in (folder / _PLUGIN for folder in folders):
        if os.path.lexists(path):
            return path if _runs(path) else None
    import shutil

    found = shutil.which(_PLUGIN, path=environ.get("PATH", ""))
    return Path(found) if found else None


class Buildx:
    """Buildx, run directly rather than by `docker`, which saves half of its start."""

    def __init__(
        self, connecting: Connecting, environ: Mapping[str, str], builder: str = ""
    ) -> None:
        """Take the plugin that is there.

        Args:
            connecting: how to reach the engine that the image is for.
            environ: the environment, in which it is run.
            builder: one that `docker buildx ls` lists; by default the one in the engine, which has
                the engine's images as bases.

        Raises:
            MissingError: there is no such plugin.
        """
        plugin = find(environ)
        if plugin is None:
            raise MissingError(
                "Docker's plugin buildx is not installed",
                "Install it (https://docs.docker.com/build/install-buildx/), or choose"
                " --builder api.",
            )
        self._plugin, self._connecting, self._environ = plugin, connecting, environ
        self._builder = builder

    @property
    def name(self) -> str:
        return f"buildx:{self._builder}" if self._builder else "buildx"

    @property
    def is_apart(self) -> bool:
        return True

    @property
    def has_own_images(self) -> bool:
        return bool(self._builder)

    def build(self, build: Build, report: Report) -> Built:
        if build.push and not build.tags:
            raise UsageError("What is pushed needs a name", "Give it one with --tag.")
        steps.check(build.dockerfile, build.dockerfile_name)
        secrets = secret.parse(build.secrets, build.root, self._environ)
        hidden = secret.values(secrets, self._environ)
        with _temporary(self._environ) as folder:
            (folder / "Dockerfile").write_text(build.dockerfile.text, encoding="utf-8")
            # Rules beside a Dockerfile come before those of the context.
            (folder / "Dockerfile.dockerignore").write_text(build.ignore, encoding="utf-8")
            options = [*self._options(build, folder), *_secret_options(secrets)]
            self._run(build, options, hidden, report)
            return self._built(build, folder)

    def _run(
        self, build: Build, options: list[str], hidden: tuple[str, ...], report: Report
    ) -> None:
        """Run it to its end, once more in words where it does not know `rawjson`."""
        known = steps.of(build.dockerfile)

        def locate(name: str) -> int | None:
            return steps.line_of(name, known)

        for form in ("rawjson", "plain"):
            reader = _reader(form, locate)
            progress = Progress()
            telling = _Telling(reader, hidden, progress, report)
            completed = process.run(
                [str(self._plugin), "build", f"--progress={form}", *options, str(build.root)],
                env={**_ENVIRONMENT, **self._environ},
                on_line=telling.heard,
                merged=True,
            )
            said = secret.hidden(_last_words(reader.other), hidden)
            if not completed.returncode:
                return
            if form == "plain" or progress.steps or "rawjson" not in said:
                raise self._failure(said, progress, build)

    def _failure(self, said: str, progress: Progress, build: Build) -> EnvkitError:
        from envkit.builders import failure

        gone = failure.may_be_stopped(said, progress) and self._lost()
        if gone:
            return gone
        if self._builder and said.endswith("found") and "no builder" in said:
            hint = "`docker buildx ls` lists those that there are."
            return MissingError(f"buildx has no builder {self._builder!r}", hint)
        return failure.explained(said, progress, build)

    def _lost(self) -> EnvkitError | None:
        """Return the error of an engine that is not there, or has stopped; None if it answers."""
        try:
            return self._connecting.engine.lost("build the image")
        except EnvkitError as error:
            return error

    def _options(self, build: Build, folder: Path) -> list[str]:
        single = {
            "--builder": self._builder or self._connecting.endpoint.context,
            "--file": str(folder / "Dockerfile"),
            "--iidfile": str(folder / "id"),
            "--metadata-file": str(folder / "metadata"),
            "--target": build.target,
            "--network": build.network,
            "--platform": ",".join(build.platforms),
        }
        several = {
            "--tag": build.tags,
            "--build-arg": [f"{name}={value}" for name, value in build.arguments.items()],
            "--label": [f"{name}={value}" for name, value in build.labels.items()],
            "--cache-from": build.cache_from,
            "--cache-to": build.cache_to,
        }
        flags = {"--no-cache": build.no_cache, "--pull": build.pull}
        flags["--push" if build.push else "--load"] = True
        return [
            *(part for name, value in single.items() if value for part in (name, value)),
            *(part for name, values in several.items() for one in values for part in (name, one)),
            *(name for name, wanted in flags.items() if wanted),
        ]

    def _built(self, build: Build, folder: Path) -> Built:
        try:
            metadata: dict[str, Any] = json.loads((folder / "metadata").read_bytes())
            identity = (folder / "id").read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            raise ToolError("buildx does not say what it built") from None
        digest = str(metadata.get("containerimage.digest") or identity)
        if digest != identity and (build.push or self._connecting.engine.inspect(identity) is None):
            # In containerd's image store an image goes by the digest of its manifest.
            identity = digest
        return Built(identity, self.name, metadata)


@contextmanager
def _temporary(environ: Mapping[str, str]) -> Iterator[Path]:
    """Lend a folder that nobody else can read; `tempfile` takes long to import."""
    place = environ.get("TMPDIR", "")
    if not os.path.isdir(place):
        place = "/tmp"  # noqa: S108 -- what is there already is refused, whatever it is
    folder = Path(place, f"envkit-{os.getpid()}-{time.time_ns()}")
    with refusals.naming(folder):
        folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        remove_tree(folder)


class _Reader(Protocol):
    """What reads a form of progress."""

    other: list[str]

    def heard(self, line: str) -> Iterator[Event]: ...


def _reader(form: str, locate: Callable[[str], int | None]) -> _Reader:
    if form == "rawjson":
        return _Objects(locate)
    from envkit.builders import plain

    return plain.Reader(locate)


class _Objects:
    """Reads `rawjson`."""

    def __init__(self, locate: Any) -> None:
        self._reader = rawjson.Reader()
        self._solving = solve.Solving(locate)
        self.other = self._reader.other

    def heard(self, line: str) -> Iterator[Event]:
        for told in self._reader.heard(line):
            yield from self._solving.heard(told)


class _Telling:
    """Tells of what is read, without the secrets in it."""

    def __init__(
        self, reader: _Reader, hidden: tuple[str, ...], progress: Progress, report: Report
    ) -> None:
        self._reader, self._hidden = reader, hidden
        self._progress, self._report = progress, report

    def heard(self, line: str) -> None:
        for event in self._reader.heard(line):
            shown = self._shown(event)
            self._progress(shown)
            self._report(shown)

    def _shown(self, event: Event) -> Event:
        if isinstance(event, Line):
            return event._replace(text=secret.hidden(event.text, self._hidden))
        if isinstance(event, Finished):
            return event._replace(error=secret.hidden(event.error, self._hidden))
        return event


def _secret_options(secrets: tuple[secret.Secret, ...]) -> list[str]:
    return [part for one in secrets for part in ("--secret", one.spec)]


def _last_words(lines: list[str]) -> str:
    """Return the error that stands at the end of what was printed."""
    errors = [at for at, line in enumerate(lines) if line.startswith("ERROR: ")]
    said = lines[errors[-1] :] if errors else lines[-3:]
    return "\n".join(line for line in said if not line.startswith("View build details"))


def _runs(path: Path) -> bool:
    """Return whether this user can run a file; what cannot be looked at is not there."""
    return os.path.isfile(path) and os.access(path, os.X_OK) and path.stat().st_size > 0


def _configured(path: Path) -> list[Path]:
    try:
        folders = json.loads(path.read_bytes()).get("cliPluginsExtraDirs") or []
        return [Path(folder) for folder in folders]
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return []
