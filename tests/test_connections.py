"""Whom connections to an index trust; and the pip that is there without any."""

import ssl
from pathlib import Path

import pytest
import requests
from virtualenv.seed.wheels.embed import get_embed_wheel

from envkit import interpreter, pip
from envkit.errors import MissingError
from envkit.fetching.connections import Adapter
from envkit.interpreter import Interpreter
from tests.support import good
from tests.support.authority import Authority
from tests.support.index import Index
from tests.support.projects import Machine


@pytest.fixture
def python(tmp_path: Path) -> Interpreter:
    """The interpreter that the tests run on."""
    return interpreter.find("", cache=tmp_path / "interpreters", environ={})


def test_certificates_are_read_once(authority: Authority) -> None:
    adapter = Adapter(2)
    request = requests.Request("GET", "https://index.invalid/simple/").prepare()
    one, two, other = (
        adapter.build_connection_pool_key_attributes(request, verify)[1]["ssl_context"]
        for verify in (str(authority.certificate), str(authority.certificate), True)
    )
    assert one is two
    assert one is not other
    assert (one.verify_mode, one.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(one.get_ca_certs()) == 1


@pytest.mark.parametrize("known", [True, False])
def test_wheels_come_over_https_without_pip(
    authority: Authority, bare_store: Path, tmp_path: Path, known: bool
) -> None:
    with Index(tmp_path / "index", tls=authority.for_server()) as index:
        machine = Machine(tmp_path, index)
        machine.seed_from(bare_store)
        machine.environ |= {"PIP_LOG": str(tmp_path / "log"), "PIP_RETRIES": "0"}
        index.add(good()["alpha-1.0"])
        project = machine.project()
        project.lock("alpha-1.0")
        if known:
            machine.environ["PIP_CERT"] = str(authority.certificate)
            project.install()
            assert not (tmp_path / "log").exists()
        else:
            assert project.envkit("install").code == 4
            assert index.requests == []


@pytest.mark.parametrize("version", ["3.9.0", "3.10.13", "3.12.1", "3.99.0"])
def test_the_pip_that_virtualenv_would_choose(python: Interpreter, version: str) -> None:
    chosen = get_embed_wheel("pip", version.rpartition(".")[0])
    assert chosen is not None
    assert pip.seed_wheel(python._replace(version=version)) == Path(chosen.path)


def test_a_python_that_no_pip_is_carried_for(python: Interpreter) -> None:
    with pytest.raises(MissingError, match=r"There is no pip for Python 3\.2\.0"):
        pip.seed_wheel(python._replace(version="3.2.0"))
