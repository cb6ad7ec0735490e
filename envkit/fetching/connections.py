"""Connections to indexes, which learn only once whom they are to trust."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.util.ssl_ import create_urllib3_context

if TYPE_CHECKING:
    import ssl


class Adapter(HTTPAdapter):
    """Makes and keeps connections, for the sessions of several threads.

    Left to themselves, requests and urllib3 have every connection read all certificates anew,
    which for the sixteen of eight threads takes half a second of a processor.
    """

    def __init__(self, connections: int) -> None:
        """Begin without any.

        Args:
            connections: how many to one host are kept for what is asked next.
        """
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._mutex = threading.Lock()
        super().__init__(pool_maxsize=connections)

    def build_connection_pool_key_attributes(
        self, request: Any, verify: Any, cert: Any = None
    ) -> Any:
        """Return what connections have to have in common: the host, and whom they trust."""
        found: Any = super().build_connection_pool_key_attributes(request, verify, cert)
        host, settings = found
        if host["scheme"] == "https":
            place = settings.pop("ca_certs", "") or settings.pop("ca_cert_dir", "")
            settings["ssl_context"] = self._context(place or DEFAULT_CA_BUNDLE_PATH)
        return host, settings

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Say whom connections trust, where they were not made with it."""
        if "ssl_context" not in conn.conn_kw:
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]

    def _context(self, place: str) -> ssl.SSLContext:
        with self._mutex:
            if place not in self._contexts:
                context = create_urllib3_context()
                if os.path.isdir(place):
                    context.load_verify_locations(capath=place)
                else:
                    context.load_verify_locations(cafile=place)
                self._contexts[place] = context
            return self._contexts[place]
