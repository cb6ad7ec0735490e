"""The entry of a large file in a project's settings, written beside all that stands there."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from envkit import drafts
from envkit.declared import AssetConfig
from envkit.errors import UsageError
from envkit.project import Project

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def declare(project: Project, asset: AssetConfig) -> bool:
    """Write the entry of an asset, in the place of one for the same path.

    Returns:
        Whether the settings had none for that path.

    Raises:
        UsageError: the settings are written in a way that no entry can be added to.
        OSError: the disk refuses.
    """
    file = project.settings_file
    below = ("tool", "envkit") if file.name == "pyproject.toml" else ()
    old = file.read_bytes().decode()
    new = with_entry(old, asset, below)
    before, values = _entries(tomllib.loads(old), below), _plain(asset)
    try:
        is_meant = _entries(tomllib.loads(new), below) == _merged(before, asset)
    except tomllib.TOMLDecodeError:  # a table in one line has no more after it
        is_meant = False
    if not is_meant:
        raise UsageError(
            f"{file.name}: no entry can be added to assets as they are written there",
            f"Write it by hand: {', '.join(f'{key} = {one!r}' for key, one in values.items())}",
        )
    drafts.replace({file: new.encode()})
    return all(one.get("path") != asset.path for one in before)


def with_entry(text: str, asset: AssetConfig, below: Sequence[str]) -> str:
    """Return settings with the entry of an asset; everything else is as it was written.

    Args:
        text: TOML.
        asset: the asset.
        below: the tables in which the settings stand.
    """
    import tomlkit
    from tomlkit.items import AoT, Array

    document = tomlkit.parse(text)
    table: Any = document
    for name in below:
        table = table[name]
    entries = table.get("assets")
    values = _plain(asset)
    for entry in entries or ():
        if entry.get("path") == asset.path:
            entry.update(values)
            if not asset.unpack:
                entry.pop("unpack", None)
            return tomlkit.dumps(document)
    if isinstance(entries, Array) and not isinstance(entries, AoT):
        inline = tomlkit.inline_table()
        inline.update(values)
        entries.append(inline)
        return tomlkit.dumps(document)
    if isinstance(entries, AoT):
        added = tomlkit.table()
        added.update(values)
        entries.append(added)
        return tomlkit.dumps(document)
    # Tables that follow one another can be written at the end, whatever stands before.
    name = ".".join((*below, "assets"))
    lines = [
        f"[[{name}]]",
        *(f"{key} = {tomlkit.item(one).as_string()}" for key, one in values.items()),
    ]
    end = "\r\n" if "\r\n" in text else "\n"
    gap = "" if not text or text.endswith("\n") else end
    return text + gap + end + "".join(f"{line}{end}" for line in lines)


def _plain(asset: AssetConfig) -> dict[str, Any]:
    values = asset._asdict()
    return values if asset.unpack else {k: v for k, v in values.items() if k != "unpack"}


def _entries(document: Mapping[str, Any], below: Sequence[str]) -> list[dict[str, Any]]:
    for name in below:
        document = document.get(name, {})
    return list(document.get("assets", []))


def _merged(before: Sequence[dict[str, Any]], asset: AssetConfig) -> list[dict[str, Any]]:
    """Return what the entries have to be with one more, or another one for the same path."""
    new = _plain(asset)
    if any(one.get("path") == asset.path for one in before):
        return [new if one.get("path") == asset.path else one for one in before]
    return [*before, new]
