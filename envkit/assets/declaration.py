"""The entry of a large file in a project's settings, written beside all that stands there."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from envkit import drafts
from envkit.declared import AssetConfig, refuse_wrong_assets
from envkit.errors import UsageError
from envkit.project import Project

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def declare(project: Project, asset: AssetConfig) -> AssetConfig | None:
    """Write the entry of an asset, in the place of one for the same path.

    Returns:
        The entry that there was for that path; None if there was none.

    Raises:
        UsageError: the settings are written in a way that no entry can be added to, or would not be
            understood with it.
        OSError: the disk refuses.
    """
    before = next((one for one in project.config.assets if one.path == asset.path), None)
    if before == asset:
        return before
    values = _plain(asset)
    hint = f"Write it by hand: {', '.join(f'{key} = {one!r}' for key, one in values.items())}"
    _rewrite(
        project.settings_file,
        lambda text, below: with_entry(text, asset, below),
        lambda entries: _merged(entries, asset),
        hint,
    )
    return before


def withdraw(project: Project, path: str) -> bool:
    """Take the entry for a path out of the settings; return whether there was one.

    Raises:
        UsageError: the settings are written in a way that it cannot be taken out of.
        OSError: the disk refuses.
    """
    if not any(_is_same(path, one.path) for one in project.config.assets):
        return False
    _rewrite(
        project.settings_file,
        lambda text, below: without_entry(text, path, below),
        lambda entries: [one for one in entries if not _is_same(one.get("path"), path)],
        "Take it out by hand.",
    )
    return True


def _rewrite(
    file: Path,
    change: Callable[[str, Sequence[str]], str],
    wanted: Callable[[list[dict[str, Any]]], list[dict[str, Any]]],
    hint: str,
) -> None:
    """Change settings, if what comes of it can be read, and says what is wanted."""
    below = ("tool", "envkit") if file.name == "pyproject.toml" else ()
    old = file.read_bytes().decode()
    try:
        new = change(old, below)
        before, after = (_table(tomllib.loads(text), below) for text in (old, new))
        refuse_wrong_assets(after, file)
        is_meant = after.get("assets", []) == wanted(before.get("assets", []))
    except tomllib.TOMLDecodeError:  # a table in one line has no more after it
        is_meant = False
    if not is_meant:
        raise UsageError(
            f"{file.name}: its assets cannot be changed as they are written there", hint
        )
    if "\r\n" in old:
        new = new.replace("\r\n", "\n").replace("\n", "\r\n")
    drafts.replace({file: new.encode()})


def with_entry(text: str, asset: AssetConfig, below: Sequence[str]) -> str:
    """Return settings with the entry of an asset; everything else is as it was written.

    Args:
        text: TOML.
        asset: the asset.
        below: the tables in which the settings stand.
    """
    import tomlkit
    from tomlkit.items import AoT, Array

    if text and not text.endswith("\n"):
        text += "\n"
    document = tomlkit.parse(text)
    entries = _table(document, below).get("assets")
    values = _plain(asset)
    for entry in entries or ():
        if _is_same(entry.get("path"), asset.path):
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
        # Tables are easier to tell apart with an empty line between them.
        return re.sub(r"(?<!\n)\n(?=\[\[(?:.*\.)?assets\]\])", "\n\n", tomlkit.dumps(document))
    # Tables that follow one another can be written at the end, whatever stands before.
    name = ".".join((*below, "assets"))
    lines = [
        f"[[{name}]]",
        *(f"{key} = {tomlkit.item(one).as_string()}" for key, one in values.items()),
    ]
    return "\n".join((text, *lines, ""))


def without_entry(text: str, path: str, below: Sequence[str]) -> str:
    """Return settings without the entry for a path; everything else is as it was written.

    Args:
        text: TOML.
        path: the path.
        below: the tables in which the settings stand.
    """
    import tomlkit

    document = tomlkit.parse(text)
    table = _table(document, below)
    entries = table["assets"]
    for number in reversed(range(len(entries))):
        if _is_same(entries[number].get("path"), path):
            del entries[number]
    if not entries:
        del table["assets"]
    return tomlkit.dumps(document)


def _is_same(path: object, other: str) -> bool:
    """Return whether two ways of writing a path mean one place."""
    return isinstance(path, str) and PurePosixPath(path) == PurePosixPath(other)


def _plain(asset: AssetConfig) -> dict[str, Any]:
    values = asset._asdict()
    return values if asset.unpack else {k: v for k, v in values.items() if k != "unpack"}


def _table(document: Any, below: Sequence[str]) -> Any:
    """Return the table of a document in which the settings stand."""
    for name in below:
        document = document.get(name, {})
    return document


def _merged(before: Sequence[dict[str, Any]], asset: AssetConfig) -> list[dict[str, Any]]:
    """Return what the entries have to be with one more, or another one for the same path."""
    new = _plain(asset)
    merged = [new if _is_same(one.get("path"), asset.path) else one for one in before]
    return merged if new in merged else [*before, new]
