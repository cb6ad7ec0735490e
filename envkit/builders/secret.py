"""Build secrets: read only to be recognised, so that nothing that is shown has one in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from envkit.errors import UsageError

# What is shorter would be found by chance in everything.
_SHORTEST = 4
_HIDDEN = "***"
_FORM = "As in id=token,env=TOKEN or id=token,src=path/to/file."


class Secret(NamedTuple):
    """A secret of a build.

    Attributes:
        id: by what the Dockerfile knows it.
        variable: the variable of the environment that holds it; "" for a file.
        path: the file that holds it.
    """

    id: str
    variable: str
    path: str

    @property
    def spec(self) -> str:
        """As buildx takes it; it names where the secret is and does not hold it."""
        source = f"env={self.variable}" if self.variable else f"src={self.path}"
        return _csv([f"id={self.id}", source])


def parse(specs: Iterable[str], root: Path, environ: Mapping[str, str]) -> tuple[Secret, ...]:
    """Return the secrets that texts tell of.

    Args:
        specs: as buildx takes them.
        root: the folder that relative paths start from.
        environ: the environment.

    Raises:
        UsageError: one makes no sense, or its variable or file is not there.
    """
    return tuple(_parse(spec, root, environ) for spec in specs)


def values(secrets: Iterable[Secret], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return what is to be shown nowhere: the secrets, and each line of those that have several."""
    found: set[str] = set()
    for secret in secrets:
        if secret.variable:
            text = environ[secret.variable]
        else:
            text = Path(secret.path).read_text(encoding="utf-8", errors="backslashreplace")
        found |= {one.strip() for one in (text, *text.splitlines())}
    long = (one for one in found if len(one) >= _SHORTEST)
    return tuple(sorted(long, key=len, reverse=True))


def hidden(text: str, secrets: Iterable[str]) -> str:
    """Return a text without what `values` returned."""
    for one in secrets:
        text = text.replace(one, _HIDDEN)
    return text


def _parse(spec: str, root: Path, environ: Mapping[str, str]) -> Secret:
    import csv

    # The whole of it is shown in no message: it may be the secret itself, given by mistake.
    fields: dict[str, str] = {}
    try:
        (parts,) = csv.reader([spec])
    except (csv.Error, ValueError):
        raise UsageError("A build secret is not understood", _FORM) from None
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or key not in {"id", "src", "source", "env", "type"}:
            raise UsageError("A build secret is not understood", _FORM)
        fields["src" if key == "source" else key] = value
    name, variable, path = (fields.get(key, "") for key in ("id", "env", "src"))
    if not name or (variable and path):
        raise UsageError("A build secret is not understood", _FORM)
    if not path and (variable or name in environ or fields.get("type") == "env"):
        variable = variable or name
    if variable:
        if variable not in environ:
            raise UsageError(f"The build secret {name!r}: the variable {variable} is not set")
        return Secret(name, variable, "")
    file = root / Path(path or name).expanduser()
    if not file.is_file():
        raise UsageError(f"The build secret {name!r}: no file {file}")
    return Secret(name, "", str(file))


def _csv(parts: Iterable[str]) -> str:
    escaped = (part.replace('"', '""') for part in parts)
    return ",".join(f'"{part}"' if "," in part or '"' in part else part for part in escaped)
