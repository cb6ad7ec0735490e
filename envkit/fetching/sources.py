"""Where pip is configured to look for distributions, as far as that is simple.

Source: pip's documentation, "Configuration", for the files, their order and the variables.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

# Options that have no say in where a pinned file comes from. One that is in neither of these sets
# is pip's own business, and so is everything then.
_HARMLESS = {
    *("cache-dir", "no-cache-dir", "constraint", "disable-pip-version-check", "exists-action"),
    *("log", "no-color", "no-input", "no-python-version-warning", "pre", "prefer-binary"),
    *("progress-bar", "quiet", "require-hashes", "require-virtualenv", "resume-retries"),
    *("retries", "root-user-action", "verbose"),
}
_UNDERSTOOD = {
    *("cert", "default-timeout", "extra-index-url", "find-links", "index-url", "no-index"),
    *("proxy", "timeout", "keyring-provider", "trusted-host"),
}
# What begins like a variable of pip's and is none of its options: a file, and pip-tools.
_NOT_OPTIONS = ("PIP_CONFIG_FILE", "PIP_TOOLS_")
# A timeout, in seconds, that is none: of so many, or of those that are no number.
_FOREVER = 1e6
_NO = {"", "0", "n", "no", "f", "false", "off"}


class Sources(NamedTuple):
    """Where distributions are looked for.

    Attributes:
        indexes: addresses of simple indexes (PEP 503), https or file, without a slash at the end.
        folders: folders of files (`--find-links`).
        certificates: the file of those whose word counts; empty for the usual ones.
        proxy: the address of a proxy; empty for what the variables say.
        timeout: how long nothing may come, in seconds.
    """

    indexes: tuple[str, ...]
    folders: tuple[str, ...]
    certificates: str
    proxy: str
    timeout: float


def read(
    environ: Mapping[str, str], root: Path, prefix: Path, default: Callable[[], str]
) -> Sources | None:
    """Return where to look; None where pip is configured to do more than is understood here.

    Args:
        environ: the environment, with `PIP_*` variables and the places of configuration files.
        root: where paths begin that are not whole.
        prefix: the folder of the interpreter that pip is run by.
        default: gives the index that pip asks when it is told of none; empty if that is unknown.
    """
    if sys.platform != "linux":
        return None  # elsewhere the files have other places
    try:
        found = _configuration(environ, prefix)
        timeout = float(found.get("timeout", found.get("default-timeout", "15")))
    except (configparser.Error, OSError, ValueError):
        return None
    if not 0 < timeout < _FOREVER:
        return None
    if found.keys() - _HARMLESS - _UNDERSTOOD:
        return None
    if found.get("keyring-provider", "auto") not in ("auto", "disabled"):
        return None
    indexes: list[str] = []
    if found.get("no-index", "").lower() in _NO:
        indexes = [found.get("index-url") or default(), *found.get("extra-index-url", "").split()]
    trusted = found.get("trusted-host", "").split()
    links = [_path(link, root) for link in found.get("find-links", "").split()]
    if not all(_is_simple(one, trusted) for one in indexes) or any("://" in one for one in links):
        return None
    return Sources(
        indexes=tuple(one.rstrip("/") for one in indexes),
        folders=tuple(links),
        certificates=_path(found["cert"], root) if found.get("cert") else "",
        proxy=found.get("proxy", ""),
        timeout=timeout,
    )


def _configuration(environ: Mapping[str, str], prefix: Path) -> dict[str, str]:
    """Return pip's options for a download, by their long names without dashes before them.

    What a section of that command says counts more than what `[global]` says, in whichever file;
    a variable counts most.

    Raises:
        configparser.Error, OSError, ValueError: a file cannot be understood.
    """
    sections: dict[str, dict[str, str]] = {"global": {}, "download": {}}
    for path in _files(environ, prefix):
        parser = configparser.RawConfigParser()
        parser.read(path, encoding="utf-8")
        for name, options in sections.items():
            if parser.has_section(name):
                options |= {_key(key): value for key, value in parser.items(name)}
    variables = {
        _key(name.removeprefix("PIP_")): value
        for name, value in environ.items()
        if name.startswith("PIP_") and not name.startswith(_NOT_OPTIONS) and value
    }
    found = {**sections["global"], **sections["download"], **variables}
    if any("\0" in value for value in found.values()):
        raise ValueError("no address and no path has such a character")
    return found


def _files(environ: Mapping[str, str], prefix: Path) -> Iterator[Path]:
    """Yield the places of configuration files, those whose word counts most at the end."""
    if environ.get("PIP_CONFIG_FILE") == os.devnull:
        return
    home = Path(environ.get("HOME") or Path("~").expanduser())
    for folder in filter(None, environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(os.pathsep)):
        yield Path(folder, "pip", "pip.conf")
    yield Path("/etc/pip.conf")
    yield home / ".pip" / "pip.conf"
    yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config", "pip", "pip.conf")
    yield prefix / "pip.conf"
    if environ.get("PIP_CONFIG_FILE"):
        yield Path(environ["PIP_CONFIG_FILE"])


def _key(name: str) -> str:
    return name.lower().replace("_", "-").removeprefix("--")


def _path(text: str, root: Path) -> str:
    return text if "://" in text else str(root / os.path.expanduser(text))


def _is_simple(address: str, trusted: list[str]) -> bool:
    """Return whether pip would take files from an address, and needs no password for it.

    Source: pip's documentation, `--trusted-host`; of its own accord pip trusts https, files and
    this machine.
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    if "@" in parts.netloc or "$" in address:
        return False
    if parts.scheme in ("https", "file"):
        return True
    here = parts.hostname or ""
    local = here == "localhost" or here.startswith("127.") or here == "::1"
    return parts.scheme == "http" and (local or here in trusted or parts.netloc in trusted)
