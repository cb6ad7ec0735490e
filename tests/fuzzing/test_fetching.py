"""Pages of indexes, and configurations of pip, that nobody in their senses would write."""

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from envkit.fetching import pages, selection, sources
from envkit.fetching.pages import Link
from envkit.interpreter import Interpreter
from envkit.locks.lock import Pin
from tests.support import simple

from .mutations import damaged, texts

DIGEST = "a0" * 32
PIN = Pin("one", "1.0", (), "", "", frozenset({DIGEST}))
PYTHON = Interpreter("/p/python", (0, 0), "3.12.1", "", "", "", {"python_version": "3.12"})
RANKED = {"py3-none-any": 0, "cp312-cp312-linux_x86_64": 1}

HTML = f"""\
<!DOCTYPE html><html><head><base href="../files/"></head><body>
<a href="one-1.0-py3-none-any.whl#sha256={DIGEST}" data-requires-python="&gt;=3.8">one</a>
<a href="http://[::1]:80/one-1.0-2a-cp312-cp312-linux_x86_64.whl#sha256={DIGEST}">one</a>
<a href="one-1.0.tar.gz#md5=00" data-yanked="broken">one</a><br>
</body></html>
""".encode()
JSON = f"""\
{{"meta": {{"api-version": "1.0"}}, "name": "one", "files": [
{{"filename": "one-1.0-py3-none-any.whl", "url": "one-1.0-py3-none-any.whl",
"hashes": {{"sha256": "{DIGEST}"}}, "requires-python": ">=3.8", "yanked": false}},
{{"filename": "one-1.0.tar.gz", "url": "https://a.invalid/x", "hashes": {{}}}}]}}
""".encode()


BROKEN = b"<![nonsense]>" + HTML


@given(damaged(HTML, JSON, BROKEN), st.sampled_from([simple.HTML, simple.JSON, "text/html", ""]))
def test_a_page(content: bytes, kind: str) -> None:
    # What a page is worth is decided by those who ask pip next, and who expect this one error.
    with contextlib.suppress(ValueError):
        found = pages.parse(content, kind, "https://a.invalid/simple/one/", PIN.hashes)
        assert all(link.sha256 == DIGEST for link in found)
        chosen = selection.best(PIN, found, RANKED, PYTHON)
        assert chosen is None or chosen in found


wheel_names = st.lists(
    st.sampled_from(
        ["one", "1.0", "1", "2a", "py3", "none", "any", "cp312", "linux_x86_64", "", "."]
    )
    | texts,
    max_size=7,
).map("-".join)


@given(wheel_names, texts | st.sampled_from([">=3.8", ">=3.6.*", "<3", "3", "!=3.*", "~=3"]))
def test_a_link(name: str, requires: str) -> None:
    link = Link(f"{name}.whl", "https://a.invalid/", DIGEST, requires)
    assert selection.best(PIN, [link], RANKED, PYTHON) in (None, link)


CONFIGURATION = b"""\
[global]
index-url = https://a.invalid/simple
extra-index-url =
    https://b.invalid/simple/
    http://127.0.0.1:8080/simple
find-links = ~/wheels /more
timeout = 20
trusted-host = a.invalid b.invalid:80
cert = ~/bundle.pem

[download]
no-index = false
proxy = http://proxy.invalid:3128
"""


def default() -> str:
    return "https://default.invalid/simple"


def read(variables: Mapping[str, str], configuration: bytes) -> sources.Sources | None:
    """Return the sources of a user who has a configuration file."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pip.conf").write_bytes(configuration)
        environ = {
            "HOME": folder,
            "XDG_CONFIG_DIRS": folder,
            "PIP_CONFIG_FILE": f"{folder}/pip.conf",
            **variables,
        }
        return sources.read(environ, Path("/work"), Path(folder), default)


def check(found: sources.Sources | None) -> None:
    assert found is None or (
        all(one.startswith(("https:", "http:", "file:")) for one in map(str.lower, found.indexes))
        and 0 < found.timeout < 1e9
    )


def test_the_configuration_itself_is_good() -> None:
    found = read({}, CONFIGURATION)
    assert found
    assert len(found.indexes) == 3


@given(damaged(CONFIGURATION))
def test_a_configuration(content: bytes) -> None:
    check(read({}, content))


@given(
    st.dictionaries(
        st.sampled_from(["INDEX_URL", "EXTRA_INDEX_URL", "TIMEOUT", "CERT", "FIND_LINKS", "PROXY"]),
        texts
        | st.sampled_from(
            ["https://[a", "http://[::1]/s", "nan", "inf", "1e999", "-1", "0", "~x/y"]
        ),
        max_size=3,
    )
)
def test_variables(chosen: dict[str, str]) -> None:
    check(read({f"PIP_{name}": value for name, value in chosen.items()}, b""))
