"""Wheels fetched from the index at once, several at a time.

pip does the same one after another, and looks at every file that each project ever had: for a
hundred distributions that takes several seconds of a processor. What is not plain is left to pip,
whose answer is the one that counts: another form than a wheel, a password, a hash that the index
does not state, anything that fails.
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import requests

from envkit import __version__, refusals
from envkit.fetching import pages, selection
from envkit.fetching.connections import Adapter
from envkit.fetching.pages import Link
from envkit.fetching.sources import Sources
from envkit.interpreter import Interpreter
from envkit.locks.lock import Pin

# More at a time make no network quicker, and an index has others to serve.
_THREADS = 8
_CHUNK = 1 << 18

# How long a connection may take to come about, in seconds; pip, which is asked next, is patient.
_CONNECT = 5.0


class Fetched(NamedTuple):
    """A pin and its wheel, whose digest is one of the pin's; no path where it is left to pip."""

    pin: Pin
    path: Path | None
    sha256: str = ""


class Fetcher:
    """Fetches wheels in threads of its own, which end with the process at the latest."""

    def __init__(
        self,
        sources: Sources,
        python: Interpreter,
        ranked: Mapping[str, int],
        folder: Path,
        on_bytes: Callable[[int], None],
    ) -> None:
        """Prepare to fetch.

        Args:
            sources: where to look.
            python: the interpreter that it is for.
            ranked: the tags of the wheels that it can use, with their ranks.
            folder: an empty folder for what comes.
            on_bytes: called with the number of bytes that have come, from any thread.
        """
        self._sources = sources
        self._python = python
        self._ranked = ranked
        self._folder = folder
        self._on_bytes = on_bytes
        self._given_up = threading.Event()

    def fetch(self, pins: Sequence[Pin]) -> Iterator[Fetched]:
        """Yield each pin as soon as it is known what becomes of it.

        Raises:
            OSError: the disk refuses, as it would refuse pip.
        """
        waiting: queue.SimpleQueue[Pin] = queue.SimpleQueue()
        for pin in pins:
            waiting.put(pin)
        done: queue.SimpleQueue[Fetched | OSError] = queue.SimpleQueue()
        adapter = Adapter(_THREADS)
        for _ in range(min(_THREADS, len(pins))):
            threading.Thread(target=self._work, args=(adapter, waiting, done), daemon=True).start()
        try:
            for _ in pins:
                found = done.get()
                if isinstance(found, OSError):
                    raise found
                yield found
        finally:
            self._given_up.set()
            adapter.close()

    def _work(
        self,
        adapter: Adapter,
        waiting: queue.SimpleQueue[Pin],
        done: queue.SimpleQueue[Fetched | OSError],
    ) -> None:
        session = requests.Session()
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        session.headers["User-Agent"] = f"envkit/{__version__}"
        if self._sources.certificates:
            session.verify = self._sources.certificates
        if self._sources.proxy:
            session.proxies = {"http": self._sources.proxy, "https": self._sources.proxy}
        while True:
            try:
                pin = waiting.get_nowait()
            except queue.Empty:
                return
            fetched: Fetched | OSError = Fetched(pin, None)
            try:
                if not self._given_up.is_set():
                    fetched = self._bring(session, pin)
            except (requests.ConnectionError, requests.Timeout):
                # Whoever cannot be reached once need not be asked for all the others.
                self._given_up.set()
            except OSError as error:
                # What pip would meet as well, and could not explain as well.
                if refusals.is_known(error) and self._is_ours(error.filename):
                    fetched = error
            except Exception:
                # Whatever an index brings about here, it is pip's word on it that counts; and
                # somebody waits for an answer about each pin.
                fetched = Fetched(pin, None)
            done.put(fetched)

    def _bring(self, session: requests.Session, pin: Pin) -> Fetched:
        links = [] if pin.url else list(self._links(session, pin))
        link = selection.best(pin, links, self._ranked, self._python)
        if link is None:
            return Fetched(pin, None)
        folder = self._folder / pin.name
        folder.mkdir()
        path = folder / os.path.basename(link.name)
        with refusals.naming(path), path.open("wb") as file:
            digest = hashlib.sha256()
            for chunk in self._content(session, link.url):
                file.write(chunk)
                digest.update(chunk)
                self._on_bytes(len(chunk))
                if self._given_up.is_set():
                    return Fetched(pin, None)
        if digest.hexdigest() not in pin.hashes:
            return Fetched(pin, None)
        return Fetched(pin, path, digest.hexdigest())

    def _is_ours(self, path: object) -> bool:
        return isinstance(path, (str, Path)) and self._folder in Path(path).parents

    def _links(self, session: requests.Session, pin: Pin) -> Iterator[Link]:
        """Yield what all sources have for a pin, as pip chooses among all of them."""
        for folder in self._sources.folders:
            yield from selection.in_folder(folder, pin)
        for index in self._sources.indexes:
            address = f"{index}/{pin.name}/"
            if urlsplit(index).scheme == "file":
                page = Path(unquote(urlsplit(address).path), "index.html")
                if page.is_file():
                    yield from pages.parse(page.read_bytes(), "text/html", address, pin.hashes)
                continue
            answer = session.get(address, headers={"Accept": pages.ACCEPT}, timeout=self._timeout)
            if answer.status_code != 404:
                answer.raise_for_status()
                kind = answer.headers.get("Content-Type", "")
                found = pages.parse(answer.content, kind, answer.url, pin.hashes)
                # A page from elsewhere has no say in which files of this machine are opened.
                yield from (link for link in found if urlsplit(link.url).scheme != "file")

    def _content(self, session: requests.Session, url: str) -> Iterator[bytes]:
        if urlsplit(url).scheme == "file":
            with open(unquote(urlsplit(url).path), "rb") as file:
                while chunk := file.read(_CHUNK):
                    yield chunk
            return
        # Compressed once more on the way, a file would not have its own digest.
        plain = {"Accept-Encoding": "identity"}
        with session.get(url, headers=plain, stream=True, timeout=self._timeout) as answer:
            answer.raise_for_status()
            yield from answer.iter_content(_CHUNK)

    @property
    def _timeout(self) -> tuple[float, float]:
        return min(_CONNECT, self._sources.timeout), self._sources.timeout
