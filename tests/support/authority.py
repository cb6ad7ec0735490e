"""A certificate authority of the tests' own, made with the `openssl` program."""

import ssl
import subprocess
from pathlib import Path

# The names that an index of the tests has: its own address, and one that nothing resolves.
_SETTINGS = """\
[req]
distinguished_name = name
prompt = no
[name]
CN = tests
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:FALSE
authorityKeyIdentifier = keyid
subjectAltName = IP:127.0.0.1, DNS:index.invalid
"""
_NEW_KEY = ("-newkey", "rsa:2048", "-nodes", "-subj")


class Authority:
    """An authority that nobody trusts unasked, and one certificate of it.

    Attributes:
        certificate: the authority's certificate (PEM), which makes who is given it trust.
        leaf: a certificate with its key (PEM), for a server or a client.
    """

    def __init__(self, folder: Path) -> None:
        """Make both, in a folder that need not exist."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.certificate = folder / "authority.pem"
        self.leaf = folder / "leaf.pem"
        (folder / "settings").write_text(_SETTINGS, encoding="utf-8")
        self._openssl(
            *("req", "-x509", "-days", "2", "-config", "settings", "-extensions", "authority"),
            *(*_NEW_KEY, "/CN=tests' authority", "-keyout", "authority.key"),
            *("-out", "authority.pem"),
        )
        self._openssl(
            *("req", "-new", "-config", "settings", *_NEW_KEY, "/CN=tests"),
            *("-keyout", "leaf.key", "-out", "leaf.csr"),
        )
        self._openssl(
            *("x509", "-req", "-days", "2", "-in", "leaf.csr", "-out", "leaf.crt"),
            *("-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial"),
            *("-extfile", "settings", "-extensions", "leaf"),
        )
        parts = ("leaf.crt", "leaf.key")
        self.leaf.write_bytes(b"".join((folder / name).read_bytes() for name in parts))

    def for_server(self, *, of_clients: bool = False) -> ssl.SSLContext:
        """Return what a server needs; of_clients: that it asks its clients for a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.leaf)
        if of_clients:
            context.load_verify_locations(self.certificate)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _openssl(self, *arguments: str) -> None:
        command = ["openssl", *arguments]
        subprocess.run(command, cwd=self._folder, check=True, capture_output=True)
