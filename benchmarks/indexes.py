"""The user's index settings, as pip has them, handed to uv under the names that uv reads.

pip and envkit take these settings from pip's configuration files and ``PIP_*`` variables; uv reads
neither. Without the translation the tools would not install from the same places. Values pass
through; none is printed or kept.
"""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Mapping

_SECTIONS = (
    "global",
    "install",
    ":env:",
)  # from the weakest to the strongest, as for `pip install`


def pip_settings(listing: str) -> dict[str, str]:
    """Read what holds for ``pip install`` from what ``pip config list`` prints.

    Its lines are ``section.name='value'``.
    """
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in listing.splitlines():
        key, separator, quoted = line.partition("=")
        section, dot, name = key.partition(".")
        if separator and dot and section in found:
            found[section][name] = str(ast.literal_eval(quoted))
    return {name: value for section in _SECTIONS for name, value in found[section].items()}


def uv_settings(pip: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Name the variables that make uv look where pip looks; those in ``environ`` stay as they are.

    pip takes the best version from all of its indexes together, for which uv's name is
    ``unsafe-best-match``: with uv's own default a package that the first index has in another
    version would not be found.
    """
    wanted: dict[str, str] = {}
    for name, variable in (
        ("index-url", "UV_DEFAULT_INDEX"),
        ("cert", "SSL_CERT_FILE"),
        ("client-cert", "SSL_CLIENT_CERT"),
        ("timeout", "UV_HTTP_TIMEOUT"),
        ("default-timeout", "UV_HTTP_TIMEOUT"),
        ("proxy", "ALL_PROXY"),
    ):
        if pip.get(name):
            wanted[variable] = pip[name]
    for name, variable, glue in (
        ("extra-index-url", "UV_INDEX", " "),
        ("trusted-host", "UV_INSECURE_HOST", " "),
        ("find-links", "UV_FIND_LINKS", ","),
    ):
        if pip.get(name, "").split():
            wanted[variable] = glue.join(pip[name].split())
    if pip.get("no-index", "").lower() in {"1", "true", "yes", "on"}:
        wanted["UV_NO_INDEX"] = "1"
    if "UV_INDEX" in wanted:
        wanted["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return {name: value for name, value in wanted.items() if name not in environ}


def read_pip_settings(python: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Ask the pip of ``python`` for its configuration; empty when it has no pip."""
    listing = subprocess.run(
        [python, "-m", "pip", "config", "list"],
        check=False,
        capture_output=True,
        text=True,
        env=dict(environ),
        timeout=120,
    )
    return pip_settings(listing.stdout) if listing.returncode == 0 else {}
