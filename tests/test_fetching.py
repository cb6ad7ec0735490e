"""Where wheels are looked for and which is taken: as pip does it, without pip."""

import http.server
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envkit import interpreter, pip
from envkit.fetching import pages, selection, sources
from envkit.fetching.direct import Fetcher
from envkit.fetching.pages import Link
from envkit.interpreter import Interpreter
from envkit.locks.lock import Pin
from envkit.store import digest
from tests.support import Distribution, good, simple
from tests.support.loopback import answering
from tests.support.projects import Machine

DEFAULT = "https://default.invalid/simple"
HERE = "/work"


def read(
    tmp_path: Path, variables: Mapping[str, str], files: Mapping[str, str]
) -> sources.Sources | None:
    """Return the sources of a user with some configuration files below a home."""
    home = tmp_path / "home"
    for name, text in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    environ = {"HOME": str(home), "XDG_CONFIG_DIRS": str(home / "xdg"), **variables}
    for name, value in environ.items():
        environ[name] = value.replace("~", str(home))
    return sources.read(environ, Path(HERE), home / "prefix", lambda: DEFAULT)


def indexes(
    tmp_path: Path, variables: Mapping[str, str], files: Mapping[str, str] | None = None
) -> tuple[str, ...] | None:
    found = read(tmp_path, {"PIP_CONFIG_FILE": os.devnull, **variables}, files or {})
    return found.indexes if found else None


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, (DEFAULT,)),
        ({"PIP_INDEX_URL": "https://a.invalid/simple/"}, ("https://a.invalid/simple",)),
        (
            {"PIP_EXTRA_INDEX_URL": "https://b.invalid/s file:///c"},
            (DEFAULT, "https://b.invalid/s", "file:///c"),
        ),
        ({"PIP_NO_INDEX": "1"}, ()),
        ({"PIP_NO_INDEX": "false"}, (DEFAULT,)),
        ({"PIP_INDEX_URL": "http://127.0.0.1:1/simple"}, ("http://127.0.0.1:1/simple",)),
        (
            {"PIP_INDEX_URL": "http://a.invalid/s", "PIP_TRUSTED_HOST": "a.invalid"},
            ("http://a.invalid/s",),
        ),
        # From here on, what only pip knows how to do.
        ({"PIP_INDEX_URL": "http://a.invalid/simple"}, None),
        ({"PIP_INDEX_URL": "https://user:secret@a.invalid/simple"}, None),
        ({"PIP_KEYRING_PROVIDER": "subprocess"}, None),
        ({"PIP_CLIENT_CERT": "/some/file"}, None),
        ({"PIP_FIND_LINKS": "https://a.invalid/links"}, None),
        ({"PIP_NO_BINARY": "numpy"}, None),
        ({"PIP_USE_FEATURE": "something-new"}, None),
        ({"PIP_TIMEOUT": "soon"}, None),
    ],
)
def test_variables(
    tmp_path: Path, variables: Mapping[str, str], expected: tuple[str, ...] | None
) -> None:
    assert indexes(tmp_path, variables) == expected


def test_files_and_their_order(tmp_path: Path) -> None:
    """A section of the command counts more than `[global]`, a later file more than an earlier."""
    index = "[{}]\nindex-url = https://{}.invalid/s\n"
    files = {
        "xdg/pip/pip.conf": index.format("global", "machine") + "proxy = p:1\n",
        ".config/pip/pip.conf": index.format("global", "user")
        + "cert = bundle\nfind_links = here\n  /there\n",
        "prefix/pip.conf": index.format("install", "other-command") + "[global]\ntimeout = 3\n",
    }
    found = read(tmp_path, {}, files)
    assert found == sources.Sources(
        indexes=("https://user.invalid/s",),
        folders=(f"{HERE}/here", "/there"),
        certificates=f"{HERE}/bundle",
        proxy="p:1",
        timeout=3.0,
    )
    files = {"xdg/pip/pip.conf": index.format("download", "machine")}
    found = read(tmp_path, {}, files)
    assert found
    assert found.indexes == ("https://machine.invalid/s",)
    named = {"PIP_CONFIG_FILE": "~/mine.conf"}
    found = read(tmp_path, named, {"mine.conf": index.format("download", "mine")})
    assert found
    assert found.indexes == ("https://mine.invalid/s",)


@pytest.mark.parametrize("text", ["[global\n", "no section\n", "[global]\nnew-thing = 1\n"])
def test_a_file_that_only_pip_may_understand(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, {}, {".config/pip/pip.conf": text}) is None


def test_a_page_says_the_same_in_both_forms(tmp_path: Path) -> None:
    found = [
        simple.describe(good()[key].archive(tmp_path), yanked=None)
        for key in ("alpha-1.0", "alpha-1.1", "sourced-1.0")
    ]
    url = "https://a.invalid/simple/alpha/"
    wanted = {entry.sha256 for entry in found[1:]}
    forms = {
        kind: pages.parse(simple.project_page("alpha", found, kind), kind, url, wanted)
        for kind in (simple.HTML, simple.JSON, "text/html")
    }
    assert forms[simple.HTML] == forms[simple.JSON] == forms["text/html"]
    assert [(link.name, link.sha256) for link in forms[simple.HTML]] == [
        (entry.filename, entry.sha256) for entry in found[1:]
    ]
    assert all(link.url.startswith("https://a.invalid/files/") for link in forms[simple.HTML])


@given(st.binary(), st.sampled_from([simple.HTML, simple.JSON, "text/html; charset=x", ""]))
def test_no_page_is_worse_than_an_error(content: bytes, kind: str) -> None:
    try:
        found = pages.parse(content, kind, "https://a.invalid/", {"a" * 64})
    except ValueError:
        return
    assert all(isinstance(link, Link) for link in found)


@pytest.mark.parametrize(
    "content",
    [
        *(b"[]", b"{}", b'{"files": 1}', b'{"files": [{}]}', b'{"files": [{"hashes": 1}]}'),
        b'{"files": [{"hashes": {"sha256": "a"}, "filename": 1, "url": "x"}]}',
        b"[" * 100_000,
    ],
)
def test_no_page_of_an_index(content: bytes) -> None:
    with pytest.raises(ValueError, match="is not a page of an index"):
        pages.parse(content, simple.JSON, "https://a.invalid/", {"a"})


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    cache = tmp_path_factory.mktemp("interpreters")
    return interpreter.find("", cache=cache, environ=os.environ)


def test_the_wheel_that_pip_would_take(
    python: Interpreter, fresh_machine: Machine, tmp_path: Path
) -> None:
    """Of all wheels of a version, against what pip itself downloads; then without that one."""
    ranked = selection.ranks(python, tmp_path)
    listed = sorted(ranked, key=lambda tag: ranked[tag])
    chosen = [listed[0], listed[7], listed[-1], "cp27-cp27m-win32"]
    names = [f"many-1.0-{tag}.whl" for tag in chosen]
    names += [f"many-1.0-2a-{listed[7]}.whl", f"many-1.0-10-{listed[7]}.whl"]
    names.append("many-1.0-py2.py3-none-any.whl")
    folder = tmp_path / "wheels"
    for number, name in enumerate(names):
        one = Distribution(name="many", files={"many.py": f"NUMBER = {number}\n"})
        made = one.wheel(tmp_path / "made" / str(number))
        folder.mkdir(exist_ok=True)
        made.rename(folder / name)
    pin = Pin("many", "1.0", (), "", "", frozenset())
    while links := selection.in_folder(str(folder), pin):
        allowed = pin._replace(hashes=frozenset(link.sha256 for link in links))
        ours = selection.best(allowed, links, ranked, python)
        theirs = download(fresh_machine, python, folder, tmp_path / str(len(links)))
        assert (ours.name if ours else None) == theirs
        if ours is None:
            break
        (folder / ours.name).unlink()
    assert [link.name for link in links] == ["many-1.0-cp27-cp27m-win32.whl"]


def download(machine: Machine, python: Interpreter, folder: Path, target: Path) -> str | None:
    """Return the name of the file that pip takes out of a folder."""
    arguments = ["download", "--no-deps", "--no-index", "--find-links", str(folder)]
    pip.run(python, [*arguments, "--dest", str(target), "many==1.0"], environ=machine.environ)
    return next((path.name for path in target.glob("*")), None)


def test_what_a_pin_does_not_allow(python: Interpreter) -> None:
    link = Link("one-1.0-py3-none-any.whl", "https://a.invalid/", "a" * 64, "")
    pin = Pin("one", "1.0", (), "", "", frozenset({"a" * 64}))
    ranked = {"py3-none-any": 0}

    def best(pin: Pin, link: Link) -> Link | None:
        return selection.best(pin, [link], ranked, python)

    assert best(pin, link) == link
    assert best(pin._replace(form="wheel"), link) == link
    assert best(pin._replace(form="sdist"), link) is None
    assert best(pin, link._replace(sha256="b" * 64)) is None
    assert best(pin, link._replace(requires_python=">=3.99")) is None
    assert best(pin, link._replace(name="one-1.0.tar.gz")) is None
    assert best(pin, link._replace(name="one.whl")) is None
    assert best(pin, link._replace(name="one-1.1-py3-none-any.whl")) is None


@pytest.mark.parametrize(
    ("version", "file", "taken"),
    [
        ("1.0", "1", True),
        ("1.0+gpu.1", "1.0+gpu_1", True),
        ("1.0", "1.0+gpu", True),
        ("1.0+cpu", "1.0+gpu", False),
        ("1.0+cpu", "1.0", False),
        ("1.0rc1", "1.0c1", True),
        ("2004d", "2004d", True),
        ("2004d", "2004e", False),
        ("1.0", "", False),
    ],
)
def test_a_file_of_another_version(
    python: Interpreter, version: str, file: str, taken: bool
) -> None:
    link = Link(f"one-{file}-py3-none-any.whl", "https://a.invalid/", "a" * 64, "")
    pin = Pin("one", version, (), "", "", frozenset({"a" * 64}))
    assert bool(selection.best(pin, [link], {"py3-none-any": 0}, python)) == taken


@pytest.mark.parametrize("requires", [">=3.6.*", "nonsense", ">=3,", "", " >=3.6", ">=3.6, <4"])
def test_a_requirement_on_python_that_pip_ignores_or_meets(
    python: Interpreter, requires: str
) -> None:
    link = Link("one-1.0-py3-none-any.whl", "https://a.invalid/", "a" * 64, requires)
    pin = Pin("one", "1.0", (), "", "", frozenset({"a" * 64}))
    assert selection.best(pin, [link], {"py3-none-any": 0}, python) == link


@pytest.fixture
def log(fresh_machine: Machine, tmp_path: Path) -> Path:
    """The file in which each pip that is run says what it does."""
    fresh_machine.environ["PIP_LOG"] = str(tmp_path / "log")
    return tmp_path / "log"


def installed(machine: Machine, keys: Iterable[str]) -> None:
    machine.index.add(*(good()[key] for key in keys))
    project = machine.project()
    project.lock(*keys)
    project.install()


def test_wheels_come_without_pip(fresh_machine: Machine, log: Path) -> None:
    keys = ("alpha-1.0", "commands-1.0", "schemes-1.0")
    installed(fresh_machine, keys)
    names = [key.partition("-")[0] for key in keys]
    assert not log.exists()
    assert sorted(fresh_machine.index.requests) == sorted(
        [f"/simple/{name}/" for name in names] + [f"/files/{good()[key].filename}" for key in keys]
    )


def test_what_is_not_plain_comes_by_pip(fresh_machine: Machine, log: Path) -> None:
    installed(fresh_machine, ("alpha-1.0", "sourced-1.0"))
    assert "sourced" in log.read_text()
    assert "alpha" not in log.read_text()


@pytest.mark.parametrize("fault", ["status", "cut", "replaced"])
def test_what_fails_is_asked_for_by_pip(fresh_machine: Machine, log: Path, fault: str) -> None:
    index = fresh_machine.index
    one, other = good()["alpha-1.0"], good()["commands-1.0"]
    index.add(one, other)
    project = fresh_machine.project()
    project.lock("alpha-1.0", "commands-1.0")
    if fault == "status":
        index.status(one.filename, 503)
    elif fault == "cut":
        index.cut_after(one.filename, 100)
    else:
        index.replace_bytes(one.filename, b"something else")
    result = project.envkit("install")
    assert result.code == 4
    assert "alpha" in result.err
    assert "alpha" in log.read_text()
    assert "commands-1.0" not in log.read_text()
    index.heal(one.filename)
    project.install()
    assert project.installed() == {"alpha": "1.0", "commands": "1.0"}


def test_a_page_from_elsewhere_opens_no_files_of_this_machine(
    python: Interpreter, tmp_path: Path
) -> None:
    wheel = good()["alpha-1.0"].wheel(tmp_path)
    sha256 = digest.sha256(wheel)
    page = f'<a href="{wheel.as_uri()}#sha256={sha256}">{wheel.name}</a>'.encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *arguments: object) -> None:
            pass

    pin = Pin("alpha", "1.0", (), "", "", frozenset({sha256}))

    def fetched(index: str, target: Path) -> Path | None:
        target.mkdir()
        known = sources.Sources((index,), (), "", "", 5.0)
        fetcher = Fetcher(known, python, {"py3-none-any": 0}, target, lambda _: None)
        (one,) = fetcher.fetch([pin])
        return one.path

    with answering(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        assert fetched(f"http://127.0.0.1:{server.server_port}/simple", tmp_path / "a") is None
    local = tmp_path / "simple" / "alpha"
    local.mkdir(parents=True)
    (local / "index.html").write_bytes(page)
    found = fetched((tmp_path / "simple").as_uri(), tmp_path / "b")
    assert found
    assert digest.sha256(found) == sha256


def test_a_fetcher_that_fails_in_an_unforeseen_way(python: Interpreter, tmp_path: Path) -> None:
    def fail(_: int) -> None:
        raise LookupError

    wheel = good()["alpha-1.0"].wheel(tmp_path / "wheels")
    pin = Pin("alpha", "1.0", (), "", "", frozenset({digest.sha256(wheel)}))
    known = sources.Sources((), (str(wheel.parent),), "", "", 5.0)
    fetcher = Fetcher(known, python, {"py3-none-any": 0}, tmp_path, fail)
    assert [one.path for one in fetcher.fetch([pin])] == [None]


def test_the_index_that_pip_asks_by_default(python: Interpreter, tmp_path: Path) -> None:
    found = pip.default_index(tmp_path)
    said = pip.run(python, ["download", "--help"], environ=os.environ).stdout
    assert f"(default {found})" in " ".join(said.split())
    assert pip.default_index(tmp_path) == found
