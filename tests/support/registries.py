"""Registries of images on this machine alone, which can refuse and vanish."""

import contextlib
import json
import selectors
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from .loopback import answering
from .makes import UnavailableError, cache

# Who may use a registry that wants to know: a name and a password, and what htpasswd(1) makes of
# them with `-B`.
USER, PASSWORD = "ada", "s3cret"
_KNOWN = f"{USER}:$2y$05$abcdefghijklmnopqrstuuLK7U1u6pVRmL7L1BBM2aS35PSZnDXlK\n"

# Seconds within which it has to answer.
_PATIENCE = 20


class Registry:
    """A registry, which serves while it is entered, until it vanishes.

    Engines take those at 127.0.0.0/8 without https (`dockerd --insecure-registry`).

    Attributes:
        host: what stands before the names of its images.
        uploaded: how many bytes it was sent, requests and all.
    """

    def __init__(self, *, locked: bool = False) -> None:
        """Prepare a registry; a locked one only `USER` may use.

        Raises:
            UnavailableError: the program is not on this machine.
        """
        program = cache() / "registry" / "usr" / "bin" / "docker-registry"
        found = str(program) if program.is_file() else shutil.which("docker-registry")
        if found is None:
            raise UnavailableError("no docker-registry: see tests/support/get_engines.sh")
        self.uploaded = 0
        self._program = found
        self._locked = locked
        self._last_words: bytes | None = None
        self._counting, self._closing = threading.Lock(), threading.Lock()
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> "Registry":
        try:
            self._serve(self._start())
        except BaseException:
            self.vanish()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.vanish()

    def vanish(self) -> None:
        """Go, without a word to those that talk with it; nobody is at its address any more."""
        with self._closing:
            self._cleanup.close()

    def vanish_at(self, words: str) -> None:
        """Let it vanish as soon as it is sent these words, as they stand in a request.

        Engines try for a minute to push a layer, and only once to push `/manifests/`.
        """
        self._last_words = words.encode()

    def tags(self, name: str) -> list[str]:
        """Return the tags of an image that it has. Source: OCI distribution specification."""
        with urllib.request.urlopen(f"http://{self.host}/v2/{name}/tags/list") as answer:
            return sorted(json.load(answer)["tags"])

    def admits(self, sent: bytes) -> bool:
        """Count what it was sent; return whether it stays for that."""
        with self._counting:
            self.uploaded += len(sent)
        return self._last_words is None or self._last_words not in sent

    def _start(self) -> Path:
        """Start the program, and return the socket that it listens on."""
        # Not below pytest's folder: the path of a socket has at most 107 bytes (unix(7)).
        made = tempfile.TemporaryDirectory(prefix="envkit-", dir="/var/tmp")
        folder = Path(self._cleanup.enter_context(made))
        address, settings, log = (folder / name for name in ("socket", "settings.yml", "log"))
        settings.write_text(json.dumps(self._settings(folder, address)), encoding="utf-8")
        # Where the tests are killed it goes with them.
        command = ["setpriv", "--pdeathsig", "KILL", self._program, "serve", str(settings)]
        with log.open("wb") as file:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self._cleanup.callback(process.wait)
        self._cleanup.callback(process.kill)
        until = time.monotonic() + _PATIENCE
        while not address.exists():
            if process.poll() is not None or time.monotonic() > until:
                raise UnavailableError(f"docker-registry: {log.read_text(encoding='utf-8')}")
            time.sleep(0.01)
        return address

    def _settings(self, folder: Path, address: Path) -> dict[str, object]:
        """Return the content of its settings file, which is YAML, and so may be JSON."""
        users = folder / "users"
        users.write_text(_KNOWN, encoding="utf-8")
        auth = {"htpasswd": {"realm": "tests", "path": str(users)}}
        return {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(folder / "images")}},
            "http": {"net": "unix", "addr": str(address), "relativeurls": True},
            **({"auth": auth} if self._locked else {}),
        }

    def _serve(self, address: Path) -> None:
        """Stand before the program, so as to count what it is sent."""
        front = self._cleanup.enter_context(answering(_Front(self, address)))
        self.host = f"127.0.0.1:{front.server_address[1]}"


class _Front(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, registry: Registry, address: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.registry = registry
        self.inner = str(address)


class _Connection(socketserver.BaseRequestHandler):
    server: _Front

    def handle(self) -> None:
        # An engine, or a registry, that is gone in mid word is what some tests are about.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as inner:
            inner.connect(self.server.inner)
            self._join(self.request, inner)

    def _join(self, client: socket.socket, inner: socket.socket) -> None:
        """Pass on what either says to the other, until one of them has no more to say."""
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ)
            selector.register(inner, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    source, target = (client, inner) if key.fileobj is client else (inner, client)
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is client and not self.server.registry.admits(data):
                        self.server.registry.vanish()
                        return
                    target.sendall(data)
