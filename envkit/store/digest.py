"""Digests of files, bytes and values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from envkit import refusals

_CHUNK = 1 << 20


def sha256(path: str | Path, count: Callable[[int], None] = lambda _: None) -> str:
    """Return the sha256 of a file's content, in hex.

    Args:
        path: the file.
        count: called with the number of bytes of each piece that has been read.
    """
    digest = hashlib.sha256()
    with refusals.naming(path), open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            count(len(chunk))
    return digest.hexdigest()


def sha256_of(content: bytes) -> str:
    """Return the sha256 of some bytes, in hex."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_json(value: object) -> str:
    """Return the sha256 of what JSON can express, in hex; a table's order has no part in it."""
    return sha256_of(json.dumps(value, sort_keys=True).encode())
