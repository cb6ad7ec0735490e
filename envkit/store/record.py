"""Lines of RECORD, the list of a distribution's installed files (PEP 376, PEP 627)."""

from __future__ import annotations

from collections.abc import Iterable

from envkit.store.manifest import SITE


def lines(files: Iterable[tuple[str, str, int]]) -> bytes:
    """Return lines of RECORD, sorted by path.

    Args:
        files: path as RECORD has it, sha256 in hex, size in bytes.
    """
    import base64
    import csv
    import io

    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    for path, sha256, size in sorted(files):
        digest = base64.urlsafe_b64encode(bytes.fromhex(sha256)).rstrip(b"=").decode()
        writer.writerow([path, f"sha256={digest}", size])
    return text.getvalue().encode()


def own_line(dist_info: str) -> bytes:
    """Return the line for RECORD itself, which has neither hash nor size.

    Args:
        dist_info: the name of the `.dist-info` folder.
    """
    return f"{dist_info}/RECORD,,\n".encode()


def place(folder: str, name: str) -> str:
    """Return a file's path in RECORD: relative to site-packages, three folders below the root.

    Args:
        folder: the file's folder in an entry of the store.
        name: its name.
    """
    scheme, _, rest = folder.partition("/")
    path = f"{rest}/{name}" if rest else name
    return path if scheme == SITE else f"../../../{path}"
