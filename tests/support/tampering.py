"""Ways of spoiling a wheel that is finished: functions of its bytes, for `Tampering.alter`."""

import io
import zipfile
from collections.abc import Callable, Mapping
from typing import TypeAlias

from .backend import pack, record, regular

Alteration: TypeAlias = Callable[[bytes], bytes]


def relisted(change: Callable[[zipfile.ZipInfo], None]) -> Alteration:
    """Return what changes the directory at the end of an archive, and none of its members.

    Args:
        change: called with each entry of the directory, which it may change.
    """

    def alter(content: bytes) -> bytes:
        buffer = io.BytesIO(content)
        with zipfile.ZipFile(buffer, "a") as archive:
            for info in archive.infolist():
                change(info)
            archive.comment = b"With a comment, the directory is written anew."
        return buffer.getvalue()

    return alter


def stating(name: str, **values: int | str) -> Alteration:
    """Return what makes the directory state something else of one member.

    Args:
        name: the member's name.
        values: attribute of its `zipfile.ZipInfo` -> value.
    """

    def change(info: zipfile.ZipInfo) -> None:
        if info.filename == name:
            for attribute, value in values.items():
                setattr(info, attribute, value)

    return relisted(change)


def overlap(info: zipfile.ZipInfo) -> None:
    """Let every member of a wheel begin where the first one does."""
    info.header_offset = 0


def rewritten(changes: Mapping[str, Callable[[bytes], bytes]]) -> Alteration:
    """Return what changes the content of members, and RECORD with them.

    Args:
        changes: how the name of a member ends -> what changes its content.
    """

    def alter(content: bytes) -> bytes:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            texts = {name: archive.read(name) for name in archive.namelist()}
        for end, change in changes.items():
            texts |= {name: change(text) for name, text in texts.items() if name.endswith(end)}
        (place,) = (name for name in texts if name.endswith(".dist-info/RECORD"))
        written = texts.pop(place)
        members = [regular(name, text) for name, text in texts.items()]
        is_own = any(place.endswith(end) for end in changes)
        members.append(regular(place, written) if is_own else record(members, place, {}))
        return pack(members)

    return alter
