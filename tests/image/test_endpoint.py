"""Where the engine is, decided as Docker's command line decides it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from envkit.engines.endpoint import DEFAULT_ADDRESS, Certificates, find
from envkit.errors import UsageError
from tests.support.engines import Engine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the settings of Docker's command line, and two contexts."""
    _context(tmp_path, "remote", {"Host": "tcp://remote:2376"})
    _context(tmp_path, "other", {"Host": "unix:///other.sock", "SkipTLSVerify": False})
    return tmp_path


def _context(folder: Path, name: str, docker: Mapping[str, object]) -> None:
    digest = hashlib.sha256(name.encode()).hexdigest()
    place = folder / "contexts" / "meta" / digest
    place.mkdir(parents=True)
    said = {"Name": name, "Metadata": {}, "Endpoints": {"docker": docker}}
    (place / "meta.json").write_text(json.dumps(said), encoding="utf-8")
    if name == "remote":
        files = folder / "contexts" / "tls" / digest / "docker"
        files.mkdir(parents=True)
        for file in ("ca.pem", "cert.pem", "key.pem"):
            (files / file).touch()


def _current(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text, encoding="utf-8")


def _address(folder: Path, **environ: str) -> tuple[str, str]:
    found = find({"DOCKER_CONFIG": str(folder), **environ})
    return found.address, found.context


def test_the_order(folder: Path) -> None:
    assert _address(folder) == (DEFAULT_ADDRESS, "default")
    _current(folder, '{"currentContext": "other"}')
    assert _address(folder) == ("unix:///other.sock", "other")
    assert _address(folder, DOCKER_CONTEXT="remote") == ("tcp://remote:2376", "remote")
    assert _address(folder, DOCKER_CONTEXT="default") == (DEFAULT_ADDRESS, "default")
    both = {"DOCKER_CONTEXT": "remote", "DOCKER_HOST": "tcp://host:1"}
    assert _address(folder, **both) == ("tcp://host:1", "default")
    assert _address(folder, DOCKER_HOST="") == ("unix:///other.sock", "other")


def test_the_settings_are_in_the_home_by_default(folder: Path) -> None:
    (folder / "home").mkdir()
    (folder / "home" / ".docker").symlink_to(folder)
    _current(folder, '{"currentContext": "other"}')
    assert find({"HOME": str(folder / "home")}).context == "other"


def test_certificates(folder: Path) -> None:
    assert find({"DOCKER_HOST": "tcp://host:1", "DOCKER_CERT_PATH": "/x"}).certificates is None
    (folder / "ca.pem").touch()
    environ = {"DOCKER_HOST": "tcp://host:1", "DOCKER_CERT_PATH": str(folder)}
    found = find({**environ, "DOCKER_TLS_VERIFY": "1"}).certificates
    assert found == Certificates(str(folder / "ca.pem"), "", "", True)
    found = find({**environ, "DOCKER_TLS": "1"}).certificates
    assert found == Certificates(str(folder / "ca.pem"), "", "", False)
    found = find({"DOCKER_CONFIG": str(folder), "DOCKER_CONTEXT": "remote"}).certificates
    assert found is not None
    assert (found.verify, found.key.endswith("key.pem")) == (True, True)
    assert find({"DOCKER_CONFIG": str(folder), "DOCKER_CONTEXT": "other"}).certificates is None


def test_a_context_that_is_not_there(folder: Path) -> None:
    with pytest.raises(UsageError, match="no context 'gone', which DOCKER_CONTEXT names"):
        _address(folder, DOCKER_CONTEXT="gone")
    _current(folder, '{"currentContext": "gone"}')
    with pytest.raises(UsageError, match=r"'gone', which .*/config\.json names"):
        _address(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"currentContext": 5}', '{"currentContext": ""}'])
def test_settings_that_are_broken(folder: Path, text: str) -> None:
    _current(folder, text)
    if "5" in text:
        with pytest.raises(UsageError, match="no context '5'"):
            _address(folder)
    else:
        assert _address(folder) == (DEFAULT_ADDRESS, "default")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Endpoints": {"docker": 3}}', "[" * 100_000])
def test_a_context_that_is_broken(folder: Path, text: str) -> None:
    digest = hashlib.sha256(b"other").hexdigest()
    path = folder / "contexts" / "meta" / digest / "meta.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="'other' of Docker cannot be read"):
        _address(folder, DOCKER_CONTEXT="other")


def test_it_is_as_the_command_line_has_it(engine: Engine, folder: Path) -> None:
    _current(folder, "{}")
    environ = {**engine.environ, "DOCKER_CONFIG": str(folder)}
    del environ["DOCKER_HOST"]
    make = ("context", "create", "mine", "--docker", f"host=unix://{engine.socket}")
    assert engine.docker(*make, environ=environ).code == 0
    assert engine.docker("context", "use", "mine", environ=environ).code == 0
    assert engine.docker("version", environ=environ).code == 0
    assert _address(folder) == (f"unix://{engine.socket}", "mine")
