"""Where large files come from: over http(s), from this machine, and through fsspec."""

from __future__ import annotations

import http.client
import os
import re
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
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        raise UsageError(f"{shown_url(url)}: is no address that can be asked") from None
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
    # Compressed once more on the way, a file would not have its own digest.
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator:
            headers["If-Range"] = validator
    with _translated(url):
        answer = session.get(url, headers=headers, stream=True, timeout=_TIMEOUT)
    with answer:
        _refuse(url, answer, start)
        if answer.status_code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            # There is no more of it, and the digest has the last word on what there is.
            yield Body(start, start, iter(()))
            return
        total = _number(answer.headers.get("Content-Length", ""))
        if answer.status_code == http.client.PARTIAL_CONTENT:
            start, total = _range(answer.headers.get("Content-Range", ""), start)
        else:
            start = 0
        yield Body(start, total, _chunks(url, answer), _validator(answer))


def _range(said: str, asked: int) -> tuple[int, int | None]:
    """Return the first byte and the total that a server says that it answers with.

    Raises:
        BrokenError: it is another part than was asked for.
    """
    found = re.fullmatch(r"bytes (\d{1,19})-\d{1,19}/(\d{1,19}|\*)", said.strip())
    if not found or int(found[1]) != asked:
        raise BrokenError(f"it was asked for what follows byte {asked}, and answered {said!r}")
    return asked, _number(found[2])


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,19}", text) else None


def _validator(answer: requests.Response) -> str:
    tag = answer.headers.get("ETag", "")
    return "" if tag.startswith("W/") else tag or answer.headers.get("Last-Modified", "")


def _chunks(url: str, answer: requests.Response) -> Iterator[bytes]:
    """Yield what comes as it comes, so that nothing of it is lost where it ends too early."""
    while True:
        with _translated(url):
            chunk = answer.raw.read1(_CHUNK)
        if not chunk:
            return
        yield chunk


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """Tell of what requests and urllib3 raise, in whose own words the whole address stands."""
    import requests
    import urllib3

    try:
        yield
    except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
        if isinstance(
            error, (requests.exceptions.InvalidURL, urllib3.exceptions.LocationParseError)
        ):
            raise UsageError(f"{shown_url(url)}: is no address that can be asked") from None
        raise BrokenError(_innermost(error)) from None
    except requests.TooManyRedirects:
        raise ToolError(
            f"{shown_url(url)}: leads from one address to the next, in a circle"
        ) from None
    except requests.RequestException as error:
        raise ToolError(f"{shown_url(url)}: cannot be asked: {_innermost(error)}") from None
    except (ValueError, UnicodeError) as error:
        raise ToolError(f"{shown_url(url)}: cannot be asked: {type(error).__name__}") from None
    except OSError as error:
        raise BrokenError(_innermost(error)) from None


def _innermost(error: BaseException) -> str:
    """Return what the system or the library says in the end, without the address in it."""
    while True:
        reason = getattr(error, "reason", None)
        inner = next((one for one in error.args if isinstance(one, BaseException)), None)
        below = reason if isinstance(reason, BaseException) else inner or error.__cause__
        if below is None or below is error:
            break
        error = below
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    cause = error.__context__
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    # As in "ReadTimeoutError", "IncompleteRead": said in words.
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__.removesuffix("Error")).lower()


def _refuse(url: str, answer: requests.Response, start: int) -> None:
    """Raise the error that a status means; nothing if it means a file."""
    code = answer.status_code
    if code in (404, 410):
        raise MissingError(f"{shown_url(url)}: there is no such file (HTTP {code})")
    if code == 429 or code >= 500:
        raise BrokenError(f"HTTP {code} {answer.reason}")
    wanted = {200, 206, 416} if start else {200}
    if code not in wanted:
        hint = "See whether it wants a password: ~/.netrc is read." if code in (401, 403) else ""
        what = "refused" if code >= 400 else "answered with no file"
        raise ToolError(f"{shown_url(url)}: {what} (HTTP {code} {answer.reason})", hint)
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise ToolError(
            f"{shown_url(url)}: comes as {encoding}, though it was asked for as it is",
            "So it does not have its own digest; find another address for it.",
        )


@contextmanager
def _from_here(url: str, start: int) -> Iterator[Body]:
    path = unquote(urlsplit(url).path)
    if not os.path.isabs(path):
        raise UsageError(f"{url}: names no file", "As in file:///data/model.bin.")
    try:
        if not os.path.isfile(path) and os.path.exists(path):
            raise UsageError(f"{path}: is no file")
        file = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise MissingError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"{shown_url(url)}: names no file") from None
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
