"""What a build starts from, decided before any engine is asked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from envkit import __version__, git, refusals
from envkit import dockerfile as dockerfiles
from envkit.beside import Beside
from envkit.config import IMAGE_NAME, PLATFORM
from envkit.contexts import context as contexts
from envkit.contexts.context import Context
from envkit.dockerfile import Dockerfile, Stage
from envkit.environment.home import Home
from envkit.errors import UsageError
from envkit.image import labels
from envkit.installation.request import Request
from envkit.locks import inputs, lock
from envkit.locks.lock import Lock
from envkit.project import Project
from envkit.store.digest import sha256_of_json

Dependencies = Literal["auto", "store", "pip"]

DOCKERFILE = "Dockerfile"

# The build argument that says where the last stage has its environment from.
DEPENDENCIES = "DEPS"

# The build arguments that hand settings in.
_ARGUMENTS = {"base": "BASE", "apt": "APT", "user": "APP_USER"}

# Arguments that need no ARG ("Predefined ARGs", Dockerfile reference).
_PREDEFINED = (
    *("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY", "BUILDKIT_"),
    *("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy", "SOURCE_DATE_EPOCH"),
)

# A name can have no more characters than this, and a tag is this ("Image reference grammar",
# distribution/reference).
_LONGEST_NAME = 200
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"


class Options(NamedTuple):
    """What was asked for on the command line.

    Attributes:
        tags: the image's names; one that is only ":TAG" is put behind the configured name.
        push: whether it is pushed.
        dependencies: where its distributions come from.
        builder: what builds it: "auto", "buildx", "buildx:NAME", "api", "classic".
        platforms: what it is built for, instead of what is configured.
        arguments: build arguments, beside the configured ones.
        labels: labels, beside the configured ones.
        secrets: secrets, beside the configured ones.
        cache_from: where a cache is read from, as buildx takes it.
        cache_to: where one is written to.
        no_cache: whether nothing is taken from a cache.
        pull: whether base images are asked for anew.
        network: that of RUN; the builder's default if empty.
        created: whether the image says when it was made.
    """

    tags: tuple[str, ...] = ()
    push: bool = False
    dependencies: Dependencies = "auto"
    builder: str = "auto"
    platforms: tuple[str, ...] = ()
    arguments: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    secrets: tuple[str, ...] = ()
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    no_cache: bool = False
    pull: bool = False
    network: str = ""
    created: bool = False


class Plan(NamedTuple):
    """What a build starts from.

    Attributes:
        request: the project, and the group whose lock is meant.
        options: what was asked for.
        home: where this machine keeps what it knows of the project.
        dockerfile: the Dockerfile.
        arguments: the build arguments.
        labels: the image's labels.
        tags: its names.
        platforms: what it is built for; the engine's own if there is none.
        secrets: the secrets of the build.
        context: what of the project's folder it is made from.
        locks: its locks.
        lock: the digest of the first, which is the one that the Dockerfile has.
        foundation: what its distributions stand on: a stage, or the name of an image; empty where
            the Dockerfile has no place for distributions that are handed in.
        images: the images that the Dockerfile names.
    """

    request: Request
    options: Options
    home: Home
    dockerfile: Dockerfile
    arguments: Mapping[str, str]
    labels: Mapping[str, str]
    tags: tuple[str, ...]
    platforms: tuple[str, ...]
    secrets: tuple[str, ...]
    context: Context
    locks: tuple[Lock, ...]
    lock: str
    foundation: str
    images: tuple[str, ...]

    @property
    def stage(self) -> Stage | None:
        """The stage that the distributions stand on; None if it is an image."""
        return self.dockerfile.stage(self.foundation)

    @property
    def is_several(self) -> bool:
        """Whether it is for several platforms: one name for several images, kept by a registry."""
        return len(self.platforms) > 1

    @property
    def latest(self) -> int | None:
        """The latest time that a packed file has ($SOURCE_DATE_EPOCH), if there is one."""
        epoch = self.request.environ.get("SOURCE_DATE_EPOCH", "")
        return int(epoch) if epoch.isdecimal() else None

    def inputs(self, ids: Mapping[str, str]) -> str:
        """Return the digest, in hex, of all that decides the image.

        Args:
            ids: the ids of the images that the Dockerfile names.
        """
        labels = sorted(self.labels.items())
        return sha256_of_json(
            [self.beneath(ids), self.context.digest, labels, sorted(self.secrets)]
        )

    def beneath(self, ids: Mapping[str, str]) -> str:
        """Return the digest, in hex, of all that decides what the image stands on.

        Args:
            ids: the ids of the images that the Dockerfile names.
        """
        stages = self.dockerfile.beneath(self.foundation) if self.foundation else ()
        code = self.context.digest if any(stage.reads_context for stage in stages) else ""
        decided = [__version__, self.dockerfile.text, self.lock, code]
        options = self.options
        asked = [options.dependencies, options.network, options.builder, self.platforms]
        return sha256_of_json([decided, asked, sorted(self.arguments.items()), sorted(ids.items())])


def make(request: Request, options: Options) -> Plan:
    """Return what a build starts from.

    Args:
        request: the project, and the group whose lock is meant.
        options: what was asked for.

    Raises:
        UsageError: the lock is missing or stale, there is no Dockerfile, or it lacks an argument
            that a setting needs; something of the context cannot be packed.
        RefusedError: the system refuses.
    """
    project = request.project
    settings = project.config.image
    asking = Beside(lambda: git.source(project.root))
    locks = tuple(lock.read(group.lock) for group in request.groups)
    for group, one in zip(request.groups, locks, strict=True):
        inputs.check_fresh(project, group, one)
    dockerfile = dockerfiles.parse(_read(project.root / DOCKERFILE))
    arguments = _arguments(project, dockerfile, options)
    home = Home(project.root, request.store)
    context = scan(project, home)
    lock_digest = labels.digest(request.groups[0].lock)
    platforms = options.platforms or settings.platforms
    for platform in options.platforms:
        if not re.fullmatch(PLATFORM, platform):
            raise UsageError(f"--platform {platform}: must be as in linux/amd64")
    if len(platforms) > 1 and not options.push:
        raise UsageError(
            f"An image for several platforms ({', '.join(platforms)}) is kept by a registry",
            "Add --push, or choose one with --platform.",
        )
    return Plan(
        request=request,
        options=options,
        home=home,
        dockerfile=dockerfile,
        arguments=arguments,
        labels=labels.of(
            project,
            source=asking.result(),
            lock=lock_digest,
            code=context.digest,
            dockerfile=labels.digest(project.root / DOCKERFILE),
            created=options.created,
            added={**settings.labels, **options.labels},
            environ=request.environ,
        ),
        tags=_tags(project, options.tags),
        platforms=platforms,
        secrets=(*settings.secrets, *options.secrets),
        context=context,
        locks=locks,
        lock=lock_digest,
        foundation=_foundation(dockerfile, arguments),
        images=dockerfile.images(arguments),
    )


def scan(project: Project, home: Home) -> Context:
    """Return what of a project's folder its image is made from.

    Raises:
        UsageError: something of it cannot be packed.
        RefusedError: the system refuses.
    """
    return contexts.scan(
        project.root,
        environment=project.environment.name,
        dockerfile=DOCKERFILE,
        memory=Path(home.context),
    )


def name(project: Project) -> str:
    """Return what a project's image is called, without a tag."""
    if project.config.image.name:
        return project.config.image.name
    # Components of names are small letters and digits, with separators between them.
    words = re.findall(r"[a-z0-9]+", project.name.lower())
    return "-".join(words)[:_LONGEST_NAME].strip("-") or "app"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist", "`envkit init` writes one.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8") from None
    except OSError as error:
        what = f"{path}: cannot be read"
        raise refusals.explained(error, what=what) or UsageError(
            f"{what}: {error.strerror}"
        ) from None


def _arguments(project: Project, dockerfile: Dockerfile, options: Options) -> dict[str, str]:
    """Return the build arguments: of settings, and of the command line, which come before them.

    Raises:
        UsageError: one would have no effect, or two settings stand for the same.
    """
    settings = _settings(project, dockerfile)
    own = project.config.image.args
    source = project.config.source("image.args")
    for name in (*own, *options.arguments):
        where = f"{source}: {name}" if name in own else f"--build-arg {name}"
        if name == DEPENDENCIES:
            raise UsageError(f"{where}: envkit hands this in itself", "Choose a way with --deps.")
        if name in own and name in settings:
            raise UsageError(f"{where}: another setting of the image stands for this already")
        if name not in dockerfile.declared and not name.startswith(_PREDEFINED):
            raise UsageError(f"{where}: {DOCKERFILE} has no ARG {name}, so it has no effect")
    return {**settings, **own, **options.arguments}


def _settings(project: Project, dockerfile: Dockerfile) -> dict[str, str]:
    """Return the build arguments that hand settings in.

    Raises:
        UsageError: the Dockerfile does not declare one, so that it would have no effect.
    """
    settings = project.config.image
    values = {"base": settings.base, "apt": " ".join(settings.apt), "user": settings.user}
    found = {}
    for key, value in values.items():
        if value:
            argument = _ARGUMENTS[key]
            if argument not in dockerfile.declared:
                raise UsageError(
                    f"{project.config.source(f'image.{key}')} is set, but {DOCKERFILE} has no "
                    f"ARG {argument} to hand it in with",
                    f"Add one, as the {DOCKERFILE} of `envkit init` has it, or take the setting "
                    "away.",
                )
            found[argument] = value
    return found


def _tags(project: Project, asked: Sequence[str]) -> tuple[str, ...]:
    """Return the image's names, each with its tag.

    Raises:
        UsageError: one is no name for an image.
    """
    known = name(project)
    found = []
    for tag in asked or (f"{known}:latest",):
        whole = f"{known}{tag}" if tag.startswith(":") else tag
        repository, colon, last = whole.rpartition(":")
        if not colon or "/" in last:
            repository, last = whole, "latest"
        if not re.fullmatch(IMAGE_NAME, repository) or not re.fullmatch(_TAG, last):
            raise UsageError(
                f"{tag!r} is no name for an image",
                "Small letters, as in app:1.2, host:5000/team/app:1.2, or :1.2 for this project's.",
            )
        found.append(f"{repository}:{last}")
    return tuple(dict.fromkeys(found))


def _foundation(dockerfile: Dockerfile, arguments: Mapping[str, str]) -> str:
    """Return what the distributions stand on, if they can be handed in and are not already."""
    values = dockerfile.values(arguments)
    place = dockerfile.stage(values.get(DEPENDENCIES, ""))
    if place is None or DEPENDENCIES in arguments:
        return ""
    return dockerfiles.substitute(place.parent, values)
