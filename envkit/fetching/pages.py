"""What an index has of one project: its page, in either of the two forms that there are.

Sources: the simple repository API (PyPA; PEP 503, 629, 691), and PEP 592 for yanked files, which
a pin of exactly this version may name.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator
from html.parser import HTMLParser
from typing import NamedTuple
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

# In the order in which pip asks for them.
ACCEPT = (
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, "
    "text/html; q=0.01"
)


class Link(NamedTuple):
    """A file that an index offers.

    Attributes:
        name: the file's name.
        url: its address: http, https or file.
        sha256: what the index says that its digest is, in hex.
        requires_python: the specifier set of the Pythons that it is for; may be empty.
    """

    name: str
    url: str
    sha256: str
    requires_python: str


def parse(content: bytes, kind: str, url: str, wanted: Container[str]) -> list[Link]:
    """Return the wanted ones of the files on a page.

    Args:
        content: the page.
        kind: what the answer says its type is.
        url: the address that it came from in the end, for links relative to it.
        wanted: the digests, sha256 in hex, of the files that matter; of the thousands that a
            project may have these are few.

    Raises:
        ValueError: it is not such a page.
    """
    if kind.partition(";")[0].strip().endswith("json"):
        return list(_from_json(content, url, wanted))
    reader = _Reader(url, wanted)
    try:
        reader.feed(content.decode("utf-8", "replace"))
    except AssertionError as error:  # how this parser says that it does not know a declaration
        raise ValueError(f"{url}: {error}") from None
    return reader.links


def _from_json(content: bytes, url: str, wanted: Container[str]) -> Iterator[Link]:
    try:
        for file in json.loads(content)["files"]:
            sha256 = file["hashes"].get("sha256")
            if sha256 in wanted:
                name, requires = _text(file["filename"]), _text(file.get("requires-python") or "")
                yield Link(name, urljoin(url, file["url"]), sha256, requires)
    except (KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError(f"{url} is not a page of an index") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


class _Reader(HTMLParser):
    def __init__(self, url: str, wanted: Container[str]) -> None:
        super().__init__()
        self._wanted = wanted
        self._base = url
        self.links: list[Link] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        address = values.get("href")
        if tag == "base" and address:
            self._base = urljoin(self._base, address)
        if tag != "a" or not address:
            return
        sha256 = address.partition("#sha256=")[2]
        if sha256 in self._wanted:
            url = urldefrag(urljoin(self._base, address)).url
            name = unquote(urlsplit(url).path.rpartition("/")[2])
            self.links.append(Link(name, url, sha256, values.get("data-requires-python") or ""))
