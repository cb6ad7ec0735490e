"""Indexes, credentials, certificates, proxies and links: as pip has them, by `lock` and `install`.

The store is empty of distributions each time, so that both commands have to ask the index.
"""

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

import pytest

from tests.support import Distribution, Index, good
from tests.support.authority import Authority
from tests.support.projects import Machine, Project, snapshot
from tests.support.proxy import Proxy

SCRIPT = Path(__file__).parents[1] / "envkit" / "templates" / "install.sh"
ALPHA = good()["alpha-1.0"]
# No digest, in hex, has it in it.
USER = "zoe"
# What has to be quoted in an address, and must be hidden in each of its forms.
PASSWORD = "s3cret:/@%w0rd"
WRONG = "wr0ng:/@%w0rd"
# Resolved by nobody but a proxy of the tests.
NOWHERE = "index.invalid"
# Nothing listens there.
DEAD = "127.0.0.1:9"

# Fills in one of a machine's ways to know a password.
Way: TypeAlias = str


@pytest.fixture
def project(index: Index, bare_store: Path, tmp_path: Path) -> Project:
    """A project that wants alpha, with an index that everybody may ask."""
    return wanting_alpha(index, bare_store, tmp_path)


@pytest.fixture
def guarded(bare_store: Path, tmp_path: Path) -> Iterator[Project]:
    """A project that wants alpha, whose index wants a password that nobody told."""
    with Index(tmp_path / "index", username=USER, password=PASSWORD) as index:
        made = wanting_alpha(index, bare_store, tmp_path)
        made.machine.environ["PIP_INDEX_URL"] = index.url
        yield made


def wanting_alpha(index: Index, bare_store: Path, folder: Path) -> Project:
    machine = Machine(folder, index)
    machine.seed_from(bare_store)
    machine.environ["ENVKIT_COMPILE"] = "off"
    index.add(ALPHA)
    made = machine.project("a project")
    write(made, "alpha\n")
    return made


def write(project: Project, text: str) -> None:
    (project.root / "requirements.in").write_text(text)


def lock_of(project: Project) -> str:
    return (project.root / "requirements.txt").read_text()


def configure(project: Project, **settings: str) -> None:
    """Let a `pip.conf` of the test's own say what no variable says any longer.

    What a machine's own file may say is there too, and empty, since pip adds the files up.
    """
    names = ("index-url", "extra-index-url", "find-links", "cert", "constraint", "proxy")
    lines = dict.fromkeys(names, "")
    for name, value in settings.items():
        project.machine.environ.pop(f"PIP_{name.upper()}", None)
        lines[name.replace("_", "-")] = value
    path = project.machine.folder / "pip.conf"
    path.write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items()))
    project.machine.environ["PIP_CONFIG_FILE"] = str(path)


def with_credentials(url: str, password: str) -> str:
    return url.replace("://", f"://{USER}:{quote(password, safe='')}@")


def hides(text: str) -> bool:
    """Return whether none of the passwords is in a text, in no form."""
    forms = [word for one in (PASSWORD, WRONG) for word in (one, quote(one, safe=""), one[:5])]
    forms += [base64.b64encode(f"{USER}:{one}".encode()).decode() for one in (PASSWORD, WRONG)]
    return not any(form in text for form in forms)


def succeeds(project: Project) -> None:
    """Lock and install, both through the index, and see that nothing but alpha is left of it."""
    for command in ("lock", "install"):
        result = project.envkit("--verbose", command)
        assert result.code == 0, result.text
        assert hides(result.text)
    assert project.installed() == {"alpha": "1.0"}
    text = lock_of(project)
    assert "alpha==1.0" in text
    assert hides(text)
    assert not any(word in text for word in (USER, "://", project.machine.index.host, NOWHERE))
    assert project.machine.leftovers() == []


def fails(project: Project, phrase: str) -> None:
    """Lock and install, which both have to give the same clear error and to change nothing."""
    project.lock()
    project.install()
    project.lock("alpha-1.0")
    before, entries = snapshot(project.root), project.machine.entries()
    for command in ("lock", "install"):
        result = project.envkit("--verbose", command)
        assert result.code == 4, result.text
        assert snapshot(project.root) == before
        assert project.machine.entries() == entries
        assert project.machine.leftovers() == []
        error = result.err[result.err.index("error: ") :].splitlines()
        assert [line.partition(":")[0] for line in error] == ["error", "hint"], result.text
        assert phrase in result.err
        assert hides(result.text)


def tell(project: Project, way: Way, password: str) -> None:
    """Let a machine know a password for its index."""
    machine = project.machine
    url = machine.index.url
    if way == "netrc":
        netrc = machine.folder / "netrc"
        netrc.write_text(f"machine 127.0.0.1 login {USER} password {password}\n")
        machine.environ["NETRC"] = str(netrc)
    elif way == "home":
        del machine.environ["NETRC"]
        netrc = machine.folder / "home" / ".netrc"
        netrc.write_text(f"machine 127.0.0.1 login {USER} password {password}\n")
        netrc.chmod(0o600)
    elif way == "variable":
        machine.environ["PIP_INDEX_URL"] = with_credentials(url, password)
    elif way == "pip.conf":
        configure(project, index_url=with_credentials(url, password))
    elif way == "keyring":
        keyring(project, password)
    else:
        assert way == "keyring and user"
        keyring(project, password)
        machine.environ["PIP_INDEX_URL"] = url.replace("://", f"://{USER}@")


def keyring(project: Project, password: str) -> None:
    """Put a program on the path that answers as `keyring get` does, for this index alone.

    Newer versions of pip ask for JSON, and need not name a user; older ones ask for text.
    """
    machine = project.machine
    program = machine.folder / "bin" / "keyring"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        f"case \"$*\" in *' get {machine.index.host}'*) ;; *) exit 1 ;; esac\n"
        f'answer=\'{{"username": "{USER}", "password": "{password}"}}\'\n'
        f"case $1 in --mode=creds) ;; *) answer='{password}' ;; esac\n"
        "printf '%s\\n' \"$answer\"\n"
    )
    program.chmod(0o755)
    machine.environ["PATH"] = f"{program.parent}:{machine.environ['PATH']}"
    machine.environ["PIP_KEYRING_PROVIDER"] = "subprocess"


@pytest.mark.parametrize(
    "way", ["netrc", "home", "variable", "pip.conf", "keyring", "keyring and user"]
)
def test_a_password(guarded: Project, way: Way) -> None:
    tell(guarded, way, PASSWORD)
    succeeds(guarded)


@pytest.mark.parametrize("way", ["netrc", "variable", "pip.conf", "keyring"])
def test_a_wrong_password(guarded: Project, way: Way) -> None:
    tell(guarded, way, WRONG)
    fails(guarded, "the index refuses access")


def test_no_password(guarded: Project) -> None:
    fails(guarded, "the index refuses access")


@pytest.fixture
def secured(authority: Authority, bare_store: Path, tmp_path: Path) -> Iterator[Project]:
    """A project that wants alpha, whose index speaks https with a certificate not yet trusted."""
    with Index(tmp_path / "index", tls=authority.for_server()) as index:
        yield wanting_alpha(index, bare_store, tmp_path)


@pytest.mark.parametrize("way", ["variable", "pip.conf"])
def test_a_certificate(secured: Project, authority: Authority, way: Way) -> None:
    if way == "variable":
        secured.machine.environ["PIP_CERT"] = str(authority.certificate)
    else:
        configure(secured, cert=str(authority.certificate))
    succeeds(secured)


def test_a_certificate_of_somebody_unknown(secured: Project) -> None:
    fails(secured, "the index cannot be reached\nhint: Check the network, proxy and certificates")


def test_a_certificate_of_the_client(
    authority: Authority, bare_store: Path, tmp_path: Path
) -> None:
    with Index(tmp_path / "index", tls=authority.for_server(of_clients=True)) as index:
        project = wanting_alpha(index, bare_store, tmp_path)
        project.machine.environ["PIP_CERT"] = str(authority.certificate)
        fails(project, "the index cannot be reached")
        project.machine.environ["PIP_CLIENT_CERT"] = str(authority.leaf)
        succeeds(project)


@pytest.mark.parametrize("way", ["PIP_PROXY", "HTTP_PROXY", "pip.conf"])
def test_a_proxy(project: Project, way: Way) -> None:
    machine = project.machine
    machine.environ |= {
        "PIP_INDEX_URL": f"http://{NOWHERE}/simple/",
        "PIP_TRUSTED_HOST": NOWHERE,
    }
    with Proxy({NOWHERE: machine.index.host}) as proxy:
        if way == "pip.conf":
            configure(project, proxy=f"http://{proxy.host}")
        else:
            machine.environ[way] = f"http://{proxy.host}"
        succeeds(project)
        assert [f"GET http://{NOWHERE}{path}" for path in machine.index.requests] == proxy.requests
        assert machine.index.downloads(ALPHA.filename) == 1


def test_a_proxy_before_an_index_over_https(secured: Project, authority: Authority) -> None:
    machine = secured.machine
    machine.environ["PIP_INDEX_URL"] = f"https://{NOWHERE}/simple/"
    machine.environ["PIP_CERT"] = str(authority.certificate)
    with Proxy({NOWHERE: machine.index.host}) as proxy:
        machine.environ["HTTPS_PROXY"] = f"http://{proxy.host}"
        succeeds(secured)
        assert set(proxy.requests) == {f"CONNECT {NOWHERE}:443"}


def test_a_proxy_that_wants_a_password(project: Project) -> None:
    machine = project.machine
    machine.environ |= {
        "PIP_INDEX_URL": f"http://{NOWHERE}/simple/",
        "PIP_TRUSTED_HOST": NOWHERE,
    }
    hosts = {NOWHERE: machine.index.host}
    with Proxy(hosts, credentials=f"{USER}:{PASSWORD}") as proxy:
        url = f"http://{proxy.host}"
        machine.environ["PIP_PROXY"] = with_credentials(url, WRONG)
        fails(project, "refuses access")
        machine.environ["PIP_PROXY"] = with_credentials(url, PASSWORD)
        succeeds(project)


def test_a_proxy_that_is_not_there(project: Project) -> None:
    project.machine.environ["PIP_PROXY"] = with_credentials(f"http://{DEAD}", PASSWORD)
    project.machine.environ["PIP_INDEX_URL"] = f"https://{NOWHERE}/simple/"
    fails(project, "the index cannot be reached\nhint: Check the network, proxy and certificates")


def test_an_index_over_http_that_nobody_trusts(project: Project) -> None:
    project.machine.environ["PIP_INDEX_URL"] = f"http://{NOWHERE}/simple/"
    fails(project, f"pip ignores {NOWHERE}")


def links(project: Project, way: Way) -> str:
    """Return where alpha's wheel can be had without an index: a folder, or a page."""
    if way == "page":
        return f"{project.machine.index.url}alpha/"
    inside = way == "relative folder"
    folder = (project.root if inside else project.machine.folder) / "wheels"
    ALPHA.archive(folder)
    return folder.name if inside else str(folder)


@pytest.mark.parametrize("way", ["folder", "relative folder", "page"])
def test_links_in_the_configuration(project: Project, way: Way) -> None:
    # Nothing is asked of an index, neither one that nobody answers for nor the one there is.
    project.machine.environ["PIP_INDEX_URL"] = f"http://{DEAD}/simple/"
    configure(project, find_links=links(project, way), no_index="true")
    succeeds(project)


@pytest.mark.parametrize("way", ["relative folder", "page"])
def test_links_in_the_requirements(project: Project, way: Way) -> None:
    where = links(project, way)
    project.machine.environ["PIP_INDEX_URL"] = f"http://{DEAD}/simple/"
    write(project, f"--no-index\n--find-links {where}\nalpha\n")
    result = project.envkit("lock")
    assert result.code == 0, result.text
    # The lock does not say where; pip's configuration has to.
    assert where not in lock_of(project)
    result = project.envkit("install")
    assert result.code == 4
    assert "the index cannot be reached" in result.err
    project.machine.environ["PIP_FIND_LINKS"] = where
    project.machine.environ["PIP_NO_INDEX"] = "1"
    succeeds(project)


@pytest.mark.parametrize("way", ["variable", "pip.conf", "requirements"])
def test_another_index_beside_the_first(project: Project, tmp_path: Path, way: Way) -> None:
    machine = project.machine
    with Index(tmp_path / "other") as first:
        machine.environ["PIP_INDEX_URL"] = first.url
        if way == "variable":
            machine.environ["PIP_EXTRA_INDEX_URL"] = machine.index.url
        elif way == "pip.conf":
            configure(project, extra_index_url=machine.index.url)
        else:
            write(project, f"--extra-index-url {machine.index.url}\nalpha\n")
            assert project.envkit("lock").code == 0
            result = project.envkit("install")
            assert result.code == 4
            assert "the index has no usable file for alpha==1.0" in result.err
            assert "`pip config list`" in result.err
            machine.environ["PIP_EXTRA_INDEX_URL"] = machine.index.url
        succeeds(project)
        assert "/simple/alpha/" in first.requests


@pytest.fixture
def in_two_forms(project: Project) -> Project:
    """A project whose index has `formed`, as a wheel and as an sdist that say which they are."""
    index = project.machine.index
    for form in ("wheel", "sdist"):
        files = {"formed.py": f"FORM = {form!r}\n"}
        index.add(Distribution(name="formed", files=files, sdist_only=form == "sdist"))
    return project


def form(project: Project) -> str:
    return project.python("import formed; print(formed.FORM)").strip()


def test_the_form_that_the_requirements_ask_for(in_two_forms: Project) -> None:
    project, machine = in_two_forms, in_two_forms.machine
    control = "--no-binary formed\n"
    for text, wanted in ((f"{control}formed\n", "sdist"), ("formed\n", "wheel")):
        write(project, text)
        entries = machine.entries()
        assert project.envkit("lock").code == 0
        assert (control in lock_of(project)) is (wanted == "sdist")
        project.install()
        assert form(project) == wanted
        assert len(machine.entries() - entries) == 1
        if wanted == "sdist":
            plain = machine.project("with nothing but pip")
            shutil.copy(SCRIPT, plain.root)
            shutil.copy(project.root / "requirements.txt", plain.root)
            result = plain.call(["sh", "install.sh", "--plain"])
            assert result.code == 0, result.text
            assert form(plain) == wanted


@pytest.mark.parametrize("control", ["--only-binary :all:", "--only-binary=x,Sourced"])
def test_a_form_that_there_is_not(project: Project, control: str) -> None:
    project.machine.index.add(good()["sourced-1.0"])
    write(project, f"alpha\n{control}\nsourced\n")
    result = project.envkit("lock")
    assert result.code == 2
    assert result.err == (
        "error: requirements.in:3 wants sourced: there is no wheel of sourced, "
        "and requirements.in:2 allows nothing else\n"
        "hint: Change that line, or choose another version.\n"
    )


def test_a_form_that_the_configuration_forbids(project: Project) -> None:
    project.machine.environ["PIP_NO_BINARY"] = ":all:"
    result = project.envkit("lock")
    assert result.code == 2
    assert result.err == (
        "error: requirements.in:1 wants alpha: what there is of alpha is ruled out "
        "by pip's configuration\n"
        "hint: See no-binary and only-binary in `pip config list`.\n"
    )
