"""Flask applications, run by gunicorn; with `--dev` by Flask's own server, which reloads them.

Sources: Flask documentation, "Command Line Interface", "Application Discovery"; gunicorn
documentation, "Settings", "Signal Handling" (SIGTERM: the requests that run are finished).
"""

from __future__ import annotations

import contextlib
import importlib.resources
import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from envkit.declared import ServiceConfig, refuse_unknown
from envkit.environment import activation
from envkit.errors import UsageError
from envkit.gpu import containers
from envkit.services.listening import Listener, refuse_taken
from envkit.services.service import Grant, Request, Running, ask, end, reached, shown
from envkit.supervised import Supervised
from envkit.tables import is_whole

# Where a service listens if it does not say.
_PORT = 8000

# What gunicorn imports, and where that is in a container.
_MODULE = "envkit_flask_application"
_INNER_FOLDER = "/run/envkit"

# This share of the time that it has to end is for taking those who are connected.
_SHARE = 2 / 3

# So many seconds more than it has to end are left to gunicorn.
_MARGIN = 5

# The first version of gunicorn that listens for commands, at one place for all of a user's.
_CONTROL_SOCKET = [25, 1]

# What gunicorn is told by envkit, and by nobody else.
_TAKEN = re.compile(r"(-b|--bind|-D|--daemon|--pythonpath)\b")

# Threads of one worker that has a GPU, whose memory several workers would take several times.
_THREADS = 8

KEYS = ("app", "workers", "threads", "health", "options")


class Settings(NamedTuple):
    """What is said of a Flask service.

    Attributes:
        app: where the application is, as in "package.module:create_app()"; None lets Flask look.
        workers: how many processes serve it; None: as many as there are processors, up to 4, or
            one where it has a GPU.
        threads: how many threads each has; None: one, or 8 where it has a GPU.
        health: the path that answers with a status below 400 once all is well; None: any answer
            below 500 at / is as good.
        options: more options of gunicorn.
    """

    app: str | None
    workers: int | None
    threads: int | None
    health: str | None
    options: tuple[str, ...]

    @classmethod
    def read(cls, config: ServiceConfig) -> Settings:
        """Return what is said.

        Raises:
            UsageError: something is said wrongly.
        """
        refuse_unknown(config, KEYS)
        own = config.own
        return cls(
            app=own.text("app"),
            workers=own.value("workers", "must be a number from 1 on", _is_positive),
            threads=own.value("threads", "must be a number from 1 on", _is_positive),
            health=own.matching("health", "/[!-~]*", "must be a path, as in /health"),
            options=own.names("options", ()),
        )


def plan(request: Request) -> FlaskService:
    """Return the service.

    Raises:
        UsageError: something is said wrongly, the lock lacks what it needs, or somebody else
            listens there.
    """
    settings = Settings.read(request.config)
    needed = ["flask"] if request.dev else ["flask", "gunicorn"]
    for name in needed:
        if name not in request.locked:
            raise UsageError(
                f"services.{request.config.name} needs {name}, which is not in the lock",
                f"Add the line `{name}` to requirements.in, then run `envkit lock && envkit "
                "install`.",
            )
    for option in settings.options:
        if _TAKEN.match(option):
            raise UsageError(
                f"services.{request.config.name}.options: {option} is not for this to say",
                "Where it listens is said by `host` and `port`.",
            )
    if request.dev and request.image:
        raise UsageError("--dev follows the code here, and --image runs that of the image")
    return FlaskService(request, settings)


class FlaskService:
    """A Flask application that is served."""

    def __init__(self, request: Request, settings: Settings) -> None:
        self._request = request
        self._settings = settings
        self.host = request.config.host
        self.port = request.config.port or _PORT
        self._listener: Listener | None = None
        self._failure = request.folder / "failure"
        self._was_ready = False
        self._status = 0

    @property
    def address(self) -> str:
        """Where it is reached."""
        return f"{shown(self.host)}:{self.port}"

    @property
    def in_container(self) -> bool:
        """Whether it runs in the project's image."""
        return bool(self._request.image)

    def prepare(self) -> None:
        """Listen where it is to be reached, or see that it can be.

        Raises:
            UsageError: somebody else listens there.
            EnvkitError: the engine does not answer.
        """
        if self._request.image:
            from envkit.engines.running import remove_strays

            # One that was left behind has the port.
            remove_strays(self._request.environ, self._request.label)
        if self._request.dev or self._request.image:
            refuse_taken(self._request.config, self.port)
        else:
            self._listener = Listener(self._request.config, self.port)

    def start(self, grant: Grant) -> Running:
        """Start it.

        Raises:
            EnvkitError: that cannot be done.
        """
        request = self._request
        if request.image:
            return self._start_container(grant)
        environ = activation.environment(str(request.project.environment), grant.environ)
        self._failure.unlink(missing_ok=True)
        inherited = [*grant.descriptors]
        if self._listener is None:
            words = ["flask", "run", "--debug", "--host", self.host, "--port", str(self.port)]
        else:
            folder = request.folder
            (folder / f"{_MODULE}.py").write_text(_application(), encoding="utf-8")
            address = f"fd://{self._listener.descriptor}"
            words = self._gunicorn(str(folder), address, has_gpu=_sees_gpu(grant.environ))
            inherited.append(self._listener.descriptor)
        # The interpreter is named, as a script's first line cannot name every path.
        python = f"{request.project.environment}/bin/python"
        environ = {**environ, **self._variables()}
        return Supervised(
            [python, "-m", *words],
            cwd=request.project.root,
            env=environ,
            mark=request.label,
            inherited=inherited,
        )

    def is_ready(self) -> bool:
        """Return whether it answers as it should."""
        self._status, _ = ask(self.host, self.port, self._path)
        self._was_ready = 0 < self._status < self._limit
        return self._was_ready

    def problem(self) -> str:
        """Return why it has ended, or is not ready, as far as it knows."""
        with contextlib.suppress(OSError):
            return self._failure.read_text(encoding="utf-8", errors="replace")
        return f"GET {self._path} answered {self._status}" if self._status else ""

    def stop(self, running: Running, within: float) -> str:
        """End it once it has answered what it was asked.

        Whoever is connected is answered; nobody is let in any more.
        """
        begun = time.monotonic()
        if self._listener and self._was_ready:
            # Those who are connected and ask nothing leave time for those who do.
            self._listener.empty(within * _SHARE, lambda: running.poll() is None)
        return end(running, max(0.0, within - (time.monotonic() - begun)))

    def close(self) -> None:
        """Listen no more."""
        if self._listener:
            self._listener.close()

    def example(self) -> str:
        """Return a command that asks it for something."""
        return f"curl http://{shown(reached(self.host))}:{self.port}{self._path}"

    @property
    def _path(self) -> str:
        return self._settings.health or "/"

    @property
    def _limit(self) -> int:
        """The least status that does not count as an answer."""
        return 500 if self._settings.health is None else 400

    def _gunicorn(self, folder: str, address: str, *, has_gpu: bool) -> list[str]:
        """Return the words behind `python -m` that let gunicorn serve it.

        Args:
            folder: where the module is that finds the application.
            address: where it listens.
            has_gpu: whether it sees a GPU, which no two processes are to share unasked.
        """
        settings = self._settings
        workers = settings.workers or (1 if has_gpu else min(4, os.cpu_count() or 1))
        threads = settings.threads or (_THREADS if has_gpu else 1)
        name = f"services.{self._request.config.name}"
        if has_gpu and "--preload" in settings.options:
            raise UsageError(
                f"{name}.options: --preload and a GPU do not go together",
                "CUDA cannot be used by forks of a process that has used it: leave it out.",
            )
        # Who ends it if it takes too long is envkit, which says so.
        graceful = self._request.config.stop_timeout + _MARGIN
        quiet = ["--no-control-socket"] if self._has_control_socket() else []
        return [
            *("gunicorn", "--bind", address, "--workers", str(workers)),
            *("--threads", str(threads), "--graceful-timeout", str(graceful)),
            *("--pythonpath", f"{folder},.", "--access-logfile", "-"),
            *quiet,
            *settings.options,
            f"{_MODULE}:app",
        ]

    def _has_control_socket(self) -> bool:
        """Return whether this gunicorn has one, which all of a user's would share by its name."""
        version = self._request.locked.get("gunicorn", "")
        found = [int(one) for one in version.split(".")[:2] if one.isdecimal()]
        return found >= _CONTROL_SOCKET

    def _variables(self) -> Mapping[str, str]:
        """Return the variables that it gets beside those of the caller."""
        said = dict(self._request.config.environment)
        if self._settings.app is not None:
            said["FLASK_APP"] = self._settings.app
        if not self._request.image:
            said["ENVKIT_FAILURE"] = str(self._failure)
        return {"PYTHONUNBUFFERED": "1", **said}

    def _start_container(self, grant: Grant) -> Running:
        from envkit.engines.engine import Engine
        from envkit.engines.running import Container
        from envkit.engines.running import Running as RunningContainer

        request = self._request
        engine = Engine(request.environ)
        given = containers.Given.of(grant.gpus, request.project.config.gpu, engine.info())
        inner = f"0.0.0.0:{_PORT}"
        words = self._gunicorn(_INNER_FOLDER, inner, has_gpu=bool(grant.gpus))
        return RunningContainer(
            engine,
            Container(
                image=request.image,
                command=["python", "-m", *words],
                label=request.label,
                ports={_PORT: (self.host, self.port)},
                environment={**given.environment, **self._variables()},
                devices=given.requests(),
                labels=grant.labels,
                entrypoint=[],
                files=_packed(),
                health=_health(self._path, self._limit),
            ),
        )


def _application() -> str:
    """Return the module that finds the application."""
    templates = importlib.resources.files("envkit") / "templates"
    return (templates / "flask_application.py").read_text(encoding="utf-8")


def _packed() -> bytes:
    """Return a tar archive with that module, as it is put into a container."""
    import io
    import tarfile

    content = _application().encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        info = tarfile.TarInfo(f"{_INNER_FOLDER.lstrip('/')}/{_MODULE}.py")
        info.size, info.mode = len(content), 0o644
        archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def _health(path: str, limit: int) -> Sequence[str]:
    """Return the command by which a container finds out whether it is healthy."""
    code = (
        "import http.client as h; c = h.HTTPConnection('127.0.0.1', "
        f"{_PORT}, timeout=2); c.request('GET', {path!r}); "
        f"raise SystemExit(c.getresponse().status >= {limit})"
    )
    return ["python", "-c", code]


def _sees_gpu(environ: Mapping[str, str]) -> bool:
    """Return whether variables say that there are GPUs to be seen."""
    return environ.get("CUDA_VISIBLE_DEVICES", "").strip(" ,") not in ("", "-1", "NoDevFiles")


def _is_positive(value: object) -> bool:
    return is_whole(value, 1, 9_999)
