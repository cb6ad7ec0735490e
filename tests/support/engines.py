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
from typing import Any

from . import bridges, makes, processes
from .bridges import Bridge
from .makes import Make
from .projects import Result, run

# Seconds within which an engine has to answer, or to end when it is asked to.
_START, _STOP = 60, 30

# Gives an engine what it needs beside programs.
_SCRIPT = Path(__file__).with_name("engine.sh")

# With these settings it keeps images as containerd does; engines before 24 do not know that.
CONTAINERDS_STORE: Mapping[str, Any] = {"features": {"containerd-snapshotter": True}}

# What would change what the command line does.
_SETTINGS = ("DOCKER_", "BUILDX_", "BUILDKIT_")


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
            data: a folder for all that it keeps, if that is to be in a filesystem of its own. It
                stays.
            settings: what its `daemon.json` holds.
            flags: what stands behind `dockerd` beside what has to.
        """
        self.make = make
        # Not below pytest's folder: the path of a socket has at most 107 bytes (unix(7)).
        self.folder = Path(tempfile.mkdtemp(prefix="envkit-", dir="/var/tmp"))
        self.socket = self.folder / "docker.sock"
        self.log = self.folder / "dockerd.log"
        self._data = data or self.folder / "data"
        self._state = self.folder / "exec"
        self._settings = settings or {}
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None
        self.bridge = ""
        self.environ = self._environ("client", make.buildx)
        self.bare_environ = self._environ("bare-client", None)

    def __enter__(self) -> "Engine":
        try:
            self.bridge = Bridge().name
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
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
        self._settings_file.write_text(json.dumps(self._settings), encoding="utf-8")
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
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Let it, and all that runs in containers, end without another word."""
        self._end(signal.SIGKILL)

    def remove(self) -> None:
        """End it, if it runs, and remove all traces of it."""
        self.kill()
        remove_traces(self.folder, self.bridge)

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
        kept = {name: text for name, text in os.environ.items() if not name.startswith(_SETTINGS)}
        return run(command, cwd=self.folder, env={**kept, **(environ or self.environ)})

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
        assert self._process is not None
        [first] = processes.children(self._process.pid)
        own = ("containerd", "--config")
        commands = map(processes.command, processes.below(first))
        return [" ".join(words) for words in commands if words and (*words[:2],) != own]

    @property
    def _pid_file(self) -> Path:
        return self.folder / "dockerd.pid"

    @property
    def _settings_file(self) -> Path:
        return self.folder / "daemon.json"

    def _command(self) -> list[str]:
        namespaces = ("--mount", "--propagation", "slave", "--pid", "--fork", "--mount-proc")
        return [
            # Where the tests are killed it goes with them.
            *("setpriv", "--pdeathsig", "KILL"),
            *("unshare", *namespaces, "--kill-child", "sh", str(_SCRIPT)),
            *("dockerd", "--host", f"unix://{self.socket}", "--pidfile", str(self._pid_file)),
            *("--data-root", str(self._data), "--exec-root", str(self._state)),
            *("--config-file", str(self._settings_file), "--storage-driver", self._storage()),
            *("--cgroup-parent", f"/{self.folder.name}"),
            *("--exec-opt", "native.cgroupdriver=cgroupfs", "--bridge", self.bridge),
            *("--iptables=false", "--ip6tables=false", "--ip-forward=false", *self._flags),
        ]

    def _storage(self) -> str:
        """Return how it keeps layers: an overlay does not lie on every filesystem."""
        features = self._settings.get("features", {})
        snapshotter = features.get("containerd-snapshotter", False)
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
        elif makes.buildx(Path("/")):
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

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        for first in processes.children(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(first, number)
        try:
            # That ends when all that was started has ended.
            process.wait(_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def remove_traces(folder: Path, bridge: str) -> None:
    """Remove what is left of an engine that has ended: its folder, groups and bridge."""
    if bridge:
        bridges.remove(bridge)
    _remove_cgroups(folder.name)
    shutil.rmtree(folder)


def _remove_cgroups(name: str) -> None:
    """Remove the control groups of an engine, in whatever hierarchies there are of them."""
    find = ("find", "/sys/fs/cgroup", "-depth", "-type", "d", "-path", f"*/{name}*")
    # Where the machine has mounted none, the engine did, for itself.
    command = ["unshare", "--mount", "sh", str(_SCRIPT), *find, "-print", "-delete"]
    until = time.monotonic() + _STOP
    # The kernel lets go of a process that was killed a little later.
    while found := subprocess.run(command, capture_output=True, check=False).stdout:
        assert time.monotonic() < until, found
