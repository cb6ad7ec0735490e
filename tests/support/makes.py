"""Programs that `get_engines.sh` brings, or that are installed on this machine."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class UnavailableError(Exception):
    """What is asked for is not on this machine, or cannot be started."""


class Make(NamedTuple):
    """The programs that make up an engine.

    Attributes:
        folders: what comes before the folders of PATH, to find dockerd and what it starts.
        docker: its command line.
        buildx: the plugin of that, if it is there.
    """

    folders: Sequence[Path]
    docker: Path
    buildx: Path | None


def newest() -> Make:
    """Return the newest engine that `get_engines.sh` has brought.

    Raises:
        UnavailableError: there is none on this machine, or none can be started.
    """
    _make_sure_that_any_starts()
    root = cache() / "engine-26" / "usr"
    if not root.is_dir():
        installed = distributions()
        if installed.buildx is None:
            raise UnavailableError("no buildx: see tests/support/get_engines.sh")
        return installed
    folders = (root / "sbin", root / "bin")
    return Make(folders, root / "bin" / "docker", _brought_buildx())


def distributions() -> Make:
    """Return the engine that is installed on this machine.

    Raises:
        UnavailableError: there is none, or none can be started.
    """
    _make_sure_that_any_starts()
    folders = (Path("/usr/sbin"), Path("/usr/bin"))
    if not any((folder / "dockerd").is_file() for folder in folders):
        raise UnavailableError("no dockerd: see tests/support/get_engines.sh")
    docker = Path("/usr/bin/docker")
    if not docker.is_file():
        # Debian has it in a package of its own since its release 13.
        docker = cache() / "engine-26" / "usr" / "bin" / "docker"
    return Make(folders, docker, _brought_buildx())


def cache() -> Path:
    """Return the folder that `get_engines.sh` fills."""
    default = Path.home() / ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or default) / "envkit-tests"


def _make_sure_that_any_starts() -> None:
    command = ["unshare", "--mount", "--pid", "--fork", "true"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise UnavailableError(f"engines need an administrator of a machine: {done.stderr.strip()}")


def _brought_buildx() -> Path | None:
    return buildx(cache() / "engine-26", cache() / "buildx", Path("/"))


def buildx(*tops: Path) -> Path | None:
    """Return the first buildx below some root folders."""
    below = ("libexec/docker/cli-plugins", "lib/docker/cli-plugins", "local/lib/docker/cli-plugins")
    found = (top / "usr" / folder / "docker-buildx" for top in tops for folder in below)
    return next((path for path in found if path.is_file()), None)
