"""Pushing to a registry, which may refuse, or go."""

import base64
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from envkit.engines.engine import Engine
from envkit.engines.progress import Event, Progress, ignore
from envkit.engines.pushing import Pushing
from envkit.errors import EnvkitError, MissingError, ToolError
from tests.support import engines
from tests.support.registries import PASSWORD, USER, Registry
from tests.support.tiny_images import TINY, archive


@pytest.fixture
def pushed(engine: engines.Engine, registry: Registry) -> Iterator[str]:
    """The name of an image that a registry may get."""
    yield from _named(engine, registry.host)


@pytest.fixture
def locked(engine: engines.Engine, locked_registry: Registry) -> Iterator[str]:
    """The same, of a registry that wants to know who uses it."""
    yield from _named(engine, locked_registry.host)


def _named(engine: engines.Engine, host: str) -> Iterator[str]:
    name = f"{host}/team/app:1"
    with Engine(engine.environ) as ours:
        ours.load([archive(host.encode() * 9000)])
        ours.tag(TINY, name)
        ours.remove(TINY)
        yield name
        ours.remove(name)


def _refused(engine: engines.Engine, name: str, **environ: str) -> EnvkitError:
    with Engine({**engine.environ, **environ}) as ours, pytest.raises(EnvkitError) as raised:
        ours.push(name)
    text = raised.value.message + raised.value.hint
    assert PASSWORD not in text
    assert "\n" not in text
    return raised.value


def _settings(folder: Path, settings: Mapping[str, object]) -> str:
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    return str(folder)


def _auth(registry: Registry, password: str = PASSWORD) -> Mapping[str, object]:
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    return {"auths": {registry.host: {"auth": auth}}}


def test_the_layers_are_told_of(engine: engines.Engine, pushed: str, registry: Registry) -> None:
    progress = Progress()
    with Engine(engine.environ) as ours:
        done = ours.push(pushed, progress)
        (step,) = progress.steps.values()
        assert (step.name[:6], step.state) == ("layer ", "done")
        assert step.transferred[0] > 0
        assert (done.name, done.layers, done.had) == (pushed, 1, 0)
        assert done.sent == step.transferred[0]
        again: list[Event] = []
        once_more = ours.push(pushed, again.append)
    assert (once_more.layers, once_more.had, once_more.sent) == (0, 1, 0)
    assert once_more.digest == done.digest
    assert [getattr(event, "outcome", "") for event in again] == ["", "cached"]
    assert registry.tags("team/app") == ["1"]
    digests = engine.ask("inspect", pushed, "--format", "{{json .RepoDigests}}")
    assert f"{pushed.removesuffix(':1')}@{done.digest}" in json.loads(digests)


def test_nobody_logged_in(engine: engines.Engine, locked: str, locked_registry: Registry) -> None:
    error = _refused(engine, locked)
    assert isinstance(error, ToolError)
    assert f"{locked_registry.host} wants to know who you are" in error.message
    assert f"`docker login {locked_registry.host}`" in error.hint


def test_a_wrong_password(
    engine: engines.Engine, locked: str, locked_registry: Registry, tmp_path: Path
) -> None:
    folder = _settings(tmp_path, _auth(locked_registry, "wr0ng-password"))
    error = _refused(engine, locked, DOCKER_CONFIG=folder)
    assert "wants to know who you are" in error.message
    assert "wr0ng" not in error.message


def test_the_password_of_the_command_line(
    engine: engines.Engine, locked: str, locked_registry: Registry, tmp_path: Path
) -> None:
    folder = _settings(tmp_path, _auth(locked_registry))
    with Engine({**engine.environ, "DOCKER_CONFIG": folder}) as ours:
        assert ours.push(locked).digest.startswith("sha256:")


def test_a_program_that_keeps_the_password(
    engine: engines.Engine,
    locked: str,
    locked_registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = tmp_path / "docker-credential-envkit"
    secret = json.dumps({"Username": USER, "Secret": PASSWORD})
    program.write_text(f"#!/bin/sh\ncat >'{tmp_path}/asked'\necho '{secret}'\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    folder = _settings(tmp_path, {"credHelpers": {locked_registry.host: "envkit"}})
    with Engine({**engine.environ, "DOCKER_CONFIG": folder}) as ours:
        assert ours.push(locked).digest.startswith("sha256:")
    assert (tmp_path / "asked").read_text(encoding="utf-8") == locked_registry.host
    program.write_text(f"#!/bin/sh\necho 'no: {PASSWORD}' >&2\nexit 1\n", encoding="utf-8")
    assert isinstance(_refused(engine, locked, DOCKER_CONFIG=folder), MissingError)


def test_the_program_that_keeps_the_password_is_missing(
    engine: engines.Engine, pushed: str, tmp_path: Path
) -> None:
    folder = _settings(tmp_path, {"credsStore": "envkit-missing"})
    error = _refused(engine, pushed, DOCKER_CONFIG=folder)
    assert isinstance(error, MissingError)
    assert "docker-credential-envkit-missing" in error.message
    assert "`credsStore`" in error.hint


def test_the_registry_is_not_there(engine: engines.Engine, pushed: str, registry: Registry) -> None:
    registry.vanish()
    error = _refused(engine, pushed)
    assert isinstance(error, ToolError)
    assert f"{registry.host} cannot be reached" in error.message
    assert "connection refused" in error.message


def test_the_registry_vanishes(engine: engines.Engine, pushed: str, registry: Registry) -> None:
    registry.vanish_at("/manifests/")
    error = _refused(engine, pushed)
    assert isinstance(error, ToolError)
    assert f"Could not push '{pushed}': {registry.host} cannot be reached" in error.message


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("denied: requested access to the resource is denied", "refuses it: denied"),
        ("error parsing HTTP 403 response body: forbidden", "refuses it"),
        ("unauthorized: authentication required", "wants to know who you are"),
        ("no basic auth credentials", "wants to know who you are"),
        ('Get "https://host/v2/": http: server gave HTTP response to HTTPS client', "be reached"),
        ('Put "http://host/v2/app/blobs/uploads/1": EOF', "be reached"),
        ('Get "https://host/v2/": net/http: TLS handshake timeout', "be reached"),
        ("blob upload invalid", "Could not push 'host:1/app': blob upload invalid"),
    ],
)
@pytest.mark.parametrize("form", ["error", "errorDetail"])
def test_what_a_registry_says(said: str, words: str, form: str) -> None:
    # An engine tries for a minute to have a registry take what it refuses: its words are enough.
    pushing = Pushing("host:1/app", "push 'host:1/app'", ignore)
    pushing.heard({"status": "Retrying in 1 second", "progressDetail": {}, "id": "0a1b"})
    with pytest.raises(ToolError) as raised:
        pushing.heard({form: said if form == "error" else {"message": said}})
    assert words in raised.value.message
    assert said in raised.value.message
