"""What an image says of itself."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from envkit.errors import UsageError
from envkit.git import Source
from envkit.project import Project
from envkit.quantities import utc_text
from envkit.store.digest import sha256_of

# Ours: the sha256 of the lock that the image has the distributions of, of the code in it, and of
# the Dockerfile.
LOCK = "dev.envkit.lock"
CODE = "dev.envkit.code"
DOCKERFILE = "dev.envkit.dockerfile"

# OCI image specification, "Pre-Defined Annotation Keys".
_TITLE = "org.opencontainers.image.title"
_REVISION = "org.opencontainers.image.revision"
_SOURCE = "org.opencontainers.image.source"
_CREATED = "org.opencontainers.image.created"


def of(
    project: Project,
    *,
    source: Source | None,
    lock: str,
    code: str,
    dockerfile: str,
    created: bool,
    added: Mapping[str, str],
    environ: Mapping[str, str],
) -> Mapping[str, str]:
    """Return the labels of a project's image.

    Args:
        project: the project.
        source: where its files are from, if git knows.
        lock: the digest of its lock, as `digest` returns it.
        code: the digest of its build context, in hex.
        dockerfile: the digest of its Dockerfile, as `digest` returns it.
        created: whether it says when it was made, which makes every image another one.
        added: the user's own labels, which override.
        environ: the environment, for SOURCE_DATE_EPOCH (reproducible-builds.org).

    Raises:
        UsageError: that is no time.
    """
    found = {_TITLE: project.name, LOCK: lock, CODE: f"sha256:{code}"}
    found[DOCKERFILE] = dockerfile
    if source:
        found[_REVISION] = source.revision
        if source.url:
            found[_SOURCE] = source.url
    if created:
        found[_CREATED] = _time(environ)
    return {**found, **added}


def differing(theirs: Mapping[str, str], ours: Mapping[str, str]) -> list[str]:
    """Return which of the labels of lock, code and Dockerfile differ, in this order."""
    return [label for label in (LOCK, CODE, DOCKERFILE) if theirs.get(label) != ours[label]]


def digest(file: Path) -> str:
    """Return the digest of a lock or Dockerfile, as an image is labelled with it: "sha256:…".

    Raises:
        UsageError: there is no such file, or it cannot be read.
    """
    try:
        return f"sha256:{sha256_of(file.read_bytes())}"
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from None


def _time(environ: Mapping[str, str]) -> str:
    epoch = environ.get("SOURCE_DATE_EPOCH", "")
    try:
        return utc_text(int(epoch or time.time()))
    except (ValueError, OverflowError, OSError):
        message = f"SOURCE_DATE_EPOCH: {epoch!r} is no time"
        raise UsageError(message, "It is a number of seconds since 1970.") from None
