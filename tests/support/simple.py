"""The pages of a simple index: PEP 503, 592, 629, 658, 691, 700 and 714."""

import hashlib
import html
import json
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path
from urllib.parse import quote

from packaging.utils import (
    NormalizedName,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

HTML = "application/vnd.pypi.simple.v1+html"
JSON = "application/vnd.pypi.simple.v1+json"
_PLAIN_HTML = "text/html"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What an index says of one file.

    yanked is the reason, possibly empty, or None where the file is not yanked (PEP 592). metadata
    is what is served at the file's address with `.metadata` added (PEP 658), or None.
    """

    filename: str
    project: NormalizedName
    version: str
    sha256: str
    size: int
    requires_python: str | None
    metadata: bytes | None
    yanked: str | None


def describe(path: Path, *, yanked: str | None) -> Entry:
    """Return what an index says of a wheel or an sdist, which may be unreadable but for its name.

    Raises packaging's InvalidWheelFilename or InvalidSdistFilename.
    """
    content = path.read_bytes()
    is_wheel = path.suffix == ".whl"
    if is_wheel:
        project, version, _, _ = parse_wheel_filename(path.name)
    else:
        project, version = parse_sdist_filename(path.name)
    metadata = _wheel_metadata(path) if is_wheel else None
    described = metadata if is_wheel else _sdist_metadata(path)
    return Entry(
        filename=path.name,
        project=project,
        version=str(version),
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        requires_python=BytesHeaderParser().parsebytes(described or b"").get("Requires-Python"),
        metadata=metadata,
        yanked=yanked,
    )


def _wheel_metadata(path: Path) -> bytes | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
            return archive.read(names[0]) if names else None
    except (zipfile.BadZipFile, UnicodeDecodeError):
        return None


def _sdist_metadata(path: Path) -> bytes | None:
    try:
        with tarfile.open(path) as archive:
            folder = path.name.removesuffix(".tar.gz")
            member = archive.extractfile(f"{folder}/PKG-INFO")
            return member.read() if member is not None else None
    except (tarfile.TarError, KeyError):
        return None


def negotiate(accept: str) -> str:
    """Return the content type that an `Accept` header prefers among those of an index (PEP 691)."""
    weights: dict[str, float] = {}
    for part in accept.split(","):
        kind, *parameters = (word.strip() for word in part.split(";"))
        quality = next((word[2:] for word in parameters if word.startswith("q=")), "1")
        weights[kind] = float(quality)
    offered = [kind for kind in (JSON, HTML, _PLAIN_HTML) if weights.get(kind, 0) > 0]
    return max(offered, key=lambda kind: weights[kind], default=_PLAIN_HTML)


def root_page(projects: Iterable[str], kind: str) -> bytes:
    """Return the page that lists all projects."""
    names = sorted(set(projects))
    if kind == JSON:
        listed = [{"name": name} for name in names]
        return json.dumps({"meta": {"api-version": "1.1"}, "projects": listed}).encode()
    return _document("Simple index", [f'<a href="{name}/">{name}</a>' for name in names])


def project_page(project: str, entries: Iterable[Entry], kind: str) -> bytes:
    """Return the page of one project; files are at `../../files/` from it."""
    listed = sorted(entries, key=lambda entry: entry.filename)
    if kind == JSON:
        page = {
            "meta": {"api-version": "1.1"},
            "name": canonicalize_name(project),
            "versions": sorted({entry.version for entry in listed}),
            "files": [_file(entry) for entry in listed],
        }
        return json.dumps(page).encode()
    return _document(f"Links for {project}", [_anchor(entry) for entry in listed])


def _address(entry: Entry) -> str:
    return f"../../files/{quote(entry.filename)}"


def _metadata_digest(metadata: bytes) -> str:
    return hashlib.sha256(metadata).hexdigest()


def _file(entry: Entry) -> dict[str, object]:
    file: dict[str, object] = {
        "filename": entry.filename,
        "url": _address(entry),
        "hashes": {"sha256": entry.sha256},
        "size": entry.size,
        # A reason, which may be empty; and then there is nothing left to say it but `true`.
        "yanked": entry.yanked is not None and (entry.yanked or True),
    }
    if entry.requires_python is not None:
        file["requires-python"] = entry.requires_python
    if entry.metadata is not None:
        # Without the older name, `dist-info-metadata`: pip 23.0 for one fails on it (PEP 714).
        file["core-metadata"] = {"sha256": _metadata_digest(entry.metadata)}
    return file


def _anchor(entry: Entry) -> str:
    attributes = {"href": f"{_address(entry)}#sha256={entry.sha256}"}
    if entry.requires_python is not None:
        attributes["data-requires-python"] = entry.requires_python
    if entry.metadata is not None:
        digest = f"sha256={_metadata_digest(entry.metadata)}"
        attributes |= {"data-core-metadata": digest, "data-dist-info-metadata": digest}
    if entry.yanked is not None:
        attributes["data-yanked"] = entry.yanked
    written = " ".join(f'{key}="{html.escape(value)}"' for key, value in attributes.items())
    return f"<a {written}>{html.escape(entry.filename)}</a>"


def _document(title: str, anchors: list[str]) -> bytes:
    lines = "".join(f"    {anchor}<br>\n" for anchor in anchors)
    return (
        "<!DOCTYPE html>\n<html>\n  <head>\n"
        '    <meta name="pypi:repository-version" content="1.1">\n'
        f"    <title>{html.escape(title)}</title>\n  </head>\n"
        f"  <body>\n{lines}  </body>\n</html>\n"
    ).encode()
