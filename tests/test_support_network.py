"""Proofs that the tests' proxy, and their index over https, are what they claim to be."""

import ssl
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support import Index
from tests.support.authority import Authority
from tests.support.proxy import Proxy


def get(url: str, *, proxy: str = "", tls: ssl.SSLContext | None = None) -> str:
    """Return what a plain client gets, through a proxy or not."""
    through = urllib.request.ProxyHandler({"http": proxy, "https": proxy} if proxy else {})
    opener = urllib.request.build_opener(through, urllib.request.HTTPSHandler(context=tls))
    with opener.open(url, timeout=10) as response:
        return str(response.read().decode())


def test_a_proxy_leads_to_the_hosts_that_it_knows(index: Index) -> None:
    with Proxy({"index.invalid": index.host}) as proxy:
        address = f"http://{proxy.host}"
        assert "Simple index" in get("http://index.invalid/simple/", proxy=address)
        # A redirect is passed on, and followed through the proxy.
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get("http://index.invalid/simple/Alpha", proxy=address)
        with pytest.raises(urllib.error.HTTPError, match="502"):
            get("http://other.invalid/", proxy=address)
        assert proxy.requests == [
            "GET http://index.invalid/simple/",
            "GET http://index.invalid/simple/Alpha",
            "GET http://index.invalid/simple/alpha/",
            "GET http://other.invalid/",
        ]
    assert index.requests == ["/simple/", "/simple/Alpha", "/simple/alpha/"]


def test_a_proxy_wants_its_credentials(index: Index) -> None:
    with Proxy({"index.invalid": index.host}, credentials="ada:s3cret") as proxy:
        url = "http://index.invalid/simple/"
        for credentials in ("", "ada:wr0ng@"):
            with pytest.raises(urllib.error.HTTPError, match="407"):
                get(url, proxy=f"http://{credentials}{proxy.host}")
        assert index.requests == []
        assert "Simple index" in get(url, proxy=f"http://ada:s3cret@{proxy.host}")
        assert len(proxy.requests) == 3


def test_an_index_over_https(authority: Authority, tmp_path: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(authority.certificate))
    with Index(tmp_path / "index", tls=authority.for_server()) as index:
        assert index.url.startswith("https://")
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            get(index.url)
        assert "Simple index" in get(index.url, tls=trusting)
        with Proxy({"index.invalid": index.host}) as proxy:
            address = f"http://{proxy.host}"
            page = get("https://index.invalid/simple/", proxy=address, tls=trusting)
            assert "Simple index" in page
            assert proxy.requests == ["CONNECT index.invalid:443"]
            with pytest.raises(OSError, match="502"):
                get("https://other.invalid/", proxy=address, tls=trusting)


def test_an_index_that_asks_for_a_certificate(authority: Authority, tmp_path: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(authority.certificate))
    with Index(tmp_path / "index", tls=authority.for_server(of_clients=True)) as index:
        # A refusal is an alert or the end of the connection, whichever is there first.
        with pytest.raises(OSError):  # noqa: PT011
            get(index.url, tls=trusting)
        assert index.requests == []
        trusting.load_cert_chain(authority.leaf)
        assert "Simple index" in get(index.url, tls=trusting)
