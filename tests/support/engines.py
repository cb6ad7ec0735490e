"""Docker Engines of the tests' own, which share as good as nothing with others on the machine.

An engine is the first process of a PID namespace and has a mount namespace to itself: however it
ends, the kernel then ends all that it started, and unmounts all that it mounted (source:
pid_namespaces(7), mount_namespaces(7)). The machine's network is its own, so that it reaches what
listens on loopback; its bridge is a separate one, and it leaves the firewall alone.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from . import bridges, processes
from .bridges import Bridge
from .projects import Result, run

# Seconds within which an engine has to answer, or to end when it is asked to.
_START, _STOP = 60, 15

# What `engine.sh` hides from an engine, for which it has to be there.
_HIDDEN = tuple(map(Path, ("/etc/docker", "/run/containerd", "/opt/containerd")))

_CGROUPS = Path("/sys/fs/cgroup")


class UnavailableError(Exception):
    """No engine can be started here."""


class Make(NamedTuple):
    """Programs that make up an engine: where they are, its command line, and buildx if it has it.

    Folders that come before those of PATH hold dockerd and what it starts.
    """

    name: str
    folders: Sequence[Path]
    docker: Path
    buildx: Path | None


def newest() -> Make:
    """Return the newest engine that `get_engines.sh` has brought.

    Raises:
        UnavailableError: there is none on this machine.
    """
    root = cache() / "engine-26" / "usr"
    if not root.is_dir():
        return distributions()
    folders = (root / "sbin", root / "bin")
    return Make("26", folders, root / "bin" / "docker", _brought_buildx())


def distributions() -> Make:
    """Return the engine that is installed on this machine.

    Raises:
        UnavailableError: there is none.
    """
    folders = (Path("/usr/sbin"), Path("/usr/bin"))
    if not any((folder / "dockerd").is_file() for folder in folders):
        raise UnavailableError("no dockerd: see tests/support/get_engines.sh")
    docker = Path("/usr/bin/docker")
    if not docker.is_file():
        # Debian has it in a package of its own since its release 13.
        docker = cache() / "engine-26" / "usr" / "bin" / "docker"
    return Make("distribution", folders, docker, _brought_buildx())


def cache() -> Path:
    """Return the folder that `get_engines.sh` fills."""
    default = Path.home() / ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or default) / "envkit-tests"


def _brought_buildx() -> Path | None:
    return _buildx(cache() / "engine-26", cache() / "buildx", Path("/"))


def _buildx(*tops: Path) -> Path | None:
    below = ("libexec/docker/cli-plugins", "lib/docker/cli-plugins", "local/lib/docker/cli-plugins")
    found = (top / "usr" / folder / "docker-buildx" for top in tops for folder in below)
    return next((path for path in found if path.is_file()), None)


class Engine:
    """An engine, which runs while it is entered, unless it is stopped or killed.

    Attributes:
        make: the programs that it is made up of.
        folder: all that is its own.
        socket: what it listens on.
        environ: the variables with which commands find it, its command line and buildx.
        bare_environ: the same, for which buildx is as good as not installed.
        bridge: the network that its containers have, by its name on the machine.
        log: what it says of itself.
    """

    def __init__(
        self,
        make: Make,
        *,
        data: Path | None = None,
        settings: Mapping[str, Any] | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        """Prepare an engine.

        Args:
            make: its programs.
            data: a folder for all that it keeps, if that is to be in a filesystem of its own.
            settings: what its `daemon.json` holds.
            flags: what stands behind `dockerd` beside what has to.

        Raises:
            UnavailableError: this user cannot start any.
        """
        allowed = ["unshare", "--mount", "--pid", "--fork", "true"]
        if subprocess.run(allowed, capture_output=True, check=False).returncode:
            raise UnavailableError("only an administrator can start an engine, and not everywhere")
        self.make = make
        # Not below pytest's folder: the path of a socket has at most 107 bytes (unix(7)).
        self.folder = Path(tempfile.mkdtemp(prefix="envkit-", dir="/var/tmp"))
        self.socket = self.folder / "docker.sock"
        self.log = self.folder / "dockerd.log"
        self._data = data or self.folder / "data"
        self._state = self.folder / "exec"
        self._settings = self.folder / "daemon.json"
        self._settings.write_text(json.dumps(settings or {}), encoding="utf-8")
        self._flags = flags
        self._made = [folder for folder in _HIDDEN if not folder.exists()]
        self._process: subprocess.Popen[bytes] | None = None
        self.bridge = ""
        self.environ = self._environ("client", make.buildx)
        self.bare_environ = self._environ("bare-client", None)

    def __enter__(self) -> "Engine":
        try:
            self.bridge = Bridge().name
            self.start()
        except OSError as error:
            self.remove()
            raise UnavailableError(str(error)) from error
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()

    def start(self) -> None:
        """Start it, for the first time or again, and wait until it answers.

        It ends with the thread that started it, which should be the main one.
        """
        assert self._process is None
        # What is in it belongs to processes that have ended, and on whose ids others are now.
        shutil.rmtree(self._state, ignore_errors=True)
        for path in (self.socket, self._pid_file):
            path.unlink(missing_ok=True)
        folders = [*map(str, self.make.folders), os.environ["PATH"], "/usr/sbin", "/sbin"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                env=os.environ | {"PATH": os.pathsep.join(folders)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + _START
        while not self.answers():
            assert self._process.poll() is None, self.log.read_text(encoding="utf-8")[-2000:]
            assert time.monotonic() < until, self.log.read_text(encoding="utf-8")[-2000:]
            time.sleep(0.02)

    def stop(self) -> None:
        """Let it end as it does when the machine is shut down."""
        self._end(signal.SIGTERM, _STOP)

    def kill(self) -> None:
        """Let it, and all that runs in containers, end without another word."""
        self._end(signal.SIGKILL, 0)

    def remove(self) -> None:
        """End it, if it runs, and remove all traces of it."""
        self.kill()
        remove_traces(self.folder, self.bridge)
        for folder in self._made:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def answers(self) -> bool:
        """Return whether it answers. Source: Docker Engine API, `GET /_ping`."""
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(5)
                client.connect(str(self.socket))
                client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return client.makefile("rb").read().endswith(b"OK")
        except OSError:
            return False

    def docker(self, *arguments: str, environ: Mapping[str, str] | None = None) -> Result:
        """Run the docker command line, by default with buildx."""
        command = [str(self.make.docker), *arguments]
        return run(command, cwd=self.folder, env={**os.environ, **(environ or self.environ)})

    def ask(self, *arguments: str) -> str:
        """Run the docker command line, which has to succeed, and return what it printed."""
        result = self.docker(*arguments)
        assert result.code == 0, result.text
        return result.out.strip()

    def containers(self) -> list[str]:
        """Return the names of all containers, running or not."""
        return self.ask("ps", "--all", "--format", "{{.Names}}").split()

    def images(self) -> list[str]:
        """Return the names of all images, as NAME:TAG, and the ids of those without one."""
        form = "{{.Repository}}:{{.Tag}} {{.ID}}"
        lines = self.ask("images", "--no-trunc", "--format", form).splitlines()
        pairs = [line.split() for line in lines]
        return sorted(number if "<none>" in name else name for name, number in pairs)

    def busy(self) -> list[str]:
        """Return the commands of all that it has started and that runs, in containers or not."""
        first = self._first()
        assert first is not None, "it does not run"
        own = ("containerd", "--config")
        commands = map(processes.command, processes.below(first))
        return [" ".join(words) for words in commands if words and (*words[:2],) != own]

    @property
    def _pid_file(self) -> Path:
        return self.folder / "dockerd.pid"

    def _command(self) -> list[str]:
        namespaces = ("--mount", "--propagation", "slave", "--pid", "--fork", "--mount-proc")
        script = Path(__file__).with_name("engine.sh")
        return [
            # Where the tests are killed it goes with them.
            *("setpriv", "--pdeathsig", "KILL"),
            *("unshare", *namespaces, "--kill-child", "sh", str(script)),
            *("dockerd", "--host", f"unix://{self.socket}", "--pidfile", str(self._pid_file)),
            *("--data-root", str(self._data), "--exec-root", str(self._state)),
            *("--config-file", str(self._settings), "--storage-driver", self._storage()),
            *("--cgroup-parent", f"/{self.folder.name}"),
            *("--exec-opt", "native.cgroupdriver=cgroupfs", "--bridge", self.bridge),
            *("--iptables=false", "--ip6tables=false", "--ip-forward=false", *self._flags),
        ]

    def _storage(self) -> str:
        """Return how it keeps layers: an overlay does not lie on every filesystem."""
        snapshotter = "containerd-snapshotter" in self._settings.read_text(encoding="utf-8")
        self._data.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._data) as folder:
            lower, upper, work, merged = (Path(folder, name) for name in "luwm")
            for path in (lower, upper, work, merged):
                path.mkdir()
            options = f"lowerdir={lower},upperdir={upper},workdir={work}"
            command = ["mount", "-t", "overlay", "-o", options, "none", str(merged)]
            if subprocess.run(command, capture_output=True, check=False).returncode:
                return "native" if snapshotter else "vfs"
            command = ["umount", str(merged)]
            subprocess.run(command, check=True)
        return "overlayfs" if snapshotter else "overlay2"

    def _environ(self, name: str, buildx: Path | None) -> Mapping[str, str]:
        folder = self.folder / name
        plugins = folder / "cli-plugins"
        plugins.mkdir(parents=True)
        if buildx is not None:
            (plugins / "docker-buildx").symlink_to(buildx)
        elif _buildx(Path("/")):
            # The whole machine's is not asked where this, which is none, comes before it.
            (plugins / "docker-buildx").touch(mode=0o755)
        programs = folder / "bin"
        programs.mkdir()
        (programs / "docker").symlink_to(self.make.docker)
        return {
            "DOCKER_HOST": f"unix://{self.socket}",
            "DOCKER_CONFIG": str(folder),
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        }

    def _first(self) -> int | None:
        """Return the id of dockerd, which is the first process of its namespace."""
        assert self._process is not None
        return next(iter(processes.children(self._process.pid)), None)

    def _end(self, number: signal.Signals, patience: float) -> None:
        if self._process is None:
            return
        process, first = self._process, self._first()
        if first is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(first, number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            # What it started goes with it: `--kill-child`.
            process.kill()
            process.wait()
        self._process = None


def remove_traces(folder: Path, bridge: str) -> None:
    """Remove what is left of an engine that has ended: its folder, groups and bridge."""
    if bridge:
        bridges.remove(bridge)
    _remove_cgroups(folder.name)
    shutil.rmtree(folder)


def _remove_cgroups(name: str) -> None:
    """Remove the control groups below one, in whatever hierarchies there are of them."""
    until = time.monotonic() + _STOP
    while tops := [*_CGROUPS.glob(name), *_CGROUPS.glob(f"*/{name}")]:
        assert time.monotonic() < until, tops
        for top in tops:
            for folder, _, _ in os.walk(top, topdown=False):
                # One that has a process which was killed is let go of a little later.
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
