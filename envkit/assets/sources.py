"""Where large files come from: over http(s), from this machine, and through fsspec."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from envkit.declared import shown_url
from envkit.errors import MissingError, ToolError, UsageError

if TYPE_CHECKING:
    import requests

_CHUNK = 1 << 20

# How long a connection may take to come about, and how long nothing may come, in seconds.
_TIMEOUT = (10.0, 30.0)

# Scheme -> the extra of envkit that lets fsspec read it (fsspec documentation, "Built-in
# implementations", "Other known implementations").
_EXTRAS = {"s3": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "hf": "hf"}


class BrokenError(Exception):
    """The connection was cut, or nothing came; asking again may help."""


class Body(NamedTuple):
    """The bytes of a file from some place on.

    Attributes:
        start: that place; 0 where a server does not begin in the middle.
        total: the bytes of the whole file, if that is said.
        chunks: the bytes; a `BrokenError` comes out where they end too early.
        validator: what a server tells this form of the file by; empty if it does not.
    """

    start: int
    total: int | None
    chunks: Iterator[bytes]
    validator: str = ""


@contextmanager
def opened(url: str, start: int, session: requests.Session, validator: str = "") -> Iterator[Body]:
    """Lend the bytes of a file.

    Args:
        url: its address.
        start: how many bytes of it there are already.
        session: for http(s).
        validator: that of the form of the file which they are of; empty if it is not known. A file
            that is another one by now comes from its beginning.

    Raises:
        UsageError: there is no way to read such an address.
        MissingError: there is no such file, or something has to be installed to read it.
        ToolError: the server refuses.
        BrokenError: the connection was cut, or nothing came.
    """
    scheme = urlsplit(url).scheme
    if scheme in ("http", "https"):
        with _over_http(url, start, session, validator) as body:
            yield body
    elif scheme == "file":
        with _from_here(url, start) as body:
            yield body
    elif scheme in _EXTRAS:
        with _through_fsspec(url, scheme, start) as body:
            yield body
    else:
        known = ", ".join(["http", "https", "file", *_EXTRAS])
        raise UsageError(f"{shown_url(url)}: cannot be fetched", f"Known: {known}.")


@contextmanager
def _over_http(url: str, start: int, session: requests.Session, validator: str) -> Iterator[Body]:
    """Lend what a server answers (RFC 9110, "Range Requests", "If-Range")."""
    import requests

    # Compressed once more on the way, a file would not have its own digest.
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator:
            headers["If-Range"] = validator
    try:
        with session.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            _refuse(url, answer)
            total: int | None = None
            if answer.status_code == 416:
                # There is no more of it, and the digest has the last word on what there is.
                yield Body(start, start, iter(()))
                return
            if answer.status_code == 206:
                _, _, said = answer.headers.get("Content-Range", "").partition("/")
                total = int(said) if said.isdecimal() else None
            else:
                start = 0
                said = answer.headers.get("Content-Length", "")
                total = int(said) if said.isdecimal() else None
            yield Body(start, total, _translated(answer), _validator(answer))
    except (requests.ConnectionError, requests.Timeout) as error:
        raise BrokenError(_plain(error)) from None


def _validator(answer: requests.Response) -> str:
    tag = answer.headers.get("ETag", "")
    return "" if tag.startswith("W/") else tag or answer.headers.get("Last-Modified", "")


def _translated(answer: requests.Response) -> Iterator[bytes]:
    """Yield what comes as it comes, so that nothing of it is lost where it ends too early."""
    import urllib3

    try:
        while chunk := answer.raw.read1(_CHUNK):
            yield chunk
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise BrokenError(_plain(error)) from None


def _plain(error: Exception) -> str:
    """Return why a connection failed, without the objects that it went through."""
    reason = getattr(error, "reason", None) or error
    text = str(reason)
    return text.rpartition(": ")[2].strip("')") if ">: " in text else text


def _refuse(url: str, answer: requests.Response) -> None:
    """Raise the error that a status means; nothing if it means none."""
    code = answer.status_code
    if code in (404, 410):
        raise MissingError(f"{shown_url(url)}: there is no such file (HTTP {code})")
    if code == 429 or code >= 500:
        raise BrokenError(f"HTTP {code} {answer.reason}")
    if code >= 400 and code != 416:
        hint = "See whether it wants a password: netrc is read." if code in (401, 403) else ""
        raise ToolError(f"{shown_url(url)}: refused (HTTP {code} {answer.reason})", hint)


@contextmanager
def _from_here(url: str, start: int) -> Iterator[Body]:
    path = unquote(urlsplit(url).path)
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise MissingError(f"{path}: cannot be read: {error.strerror}") from None
    with file:
        total = os.fstat(file.fileno()).st_size
        file.seek(start)
        yield Body(start, total, iter(lambda: file.read(_CHUNK), b""))


@contextmanager
def _through_fsspec(url: str, scheme: str, start: int) -> Iterator[Body]:
    extra = _EXTRAS[scheme]
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(url)
    except ImportError:
        raise MissingError(
            f"{shown_url(url)}: {scheme} is read by envkit's extra {extra}, which is not installed",
            f"Install it: `pipx install --force 'envkit[{extra}]'`.",
        ) from None
    with _understood(url):
        total = system.size(path)
        file = system.open(path, "rb", block_size=4 * _CHUNK)
    with file:
        file.seek(start)
        yield Body(start, total, _read(file, url))


def _read(file: IO[bytes], url: str) -> Iterator[bytes]:
    with _understood(url):
        while chunk := file.read(_CHUNK):
            yield chunk


@contextmanager
def _understood(url: str) -> Iterator[None]:
    """Tell of what libraries raise that read remote files: each has exceptions of its own."""
    try:
        yield
    except FileNotFoundError:
        raise MissingError(f"{shown_url(url)}: there is no such file") from None
    except OSError as error:
        if isinstance(error, PermissionError):
            raise ToolError(f"{shown_url(url)}: refused: {error}") from None
        raise BrokenError(str(error)) from None
    except Exception as error:
        raise ToolError(f"{shown_url(url)}: {str(error) or type(error).__name__}") from None
