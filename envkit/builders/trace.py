"""The progress of BuildKit as the engine's API tells it: `moby.buildkit.v1.StatusResponse`.

Only what is needed of protocol buffers, and of that message, is read here; what is not known is
passed over, and what is broken ends there: progress is not worth a failed build. Source: "Encoding"
(protobuf.dev) and moby/buildkit, api/services/control/control.proto.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping

from envkit.builders.solve import Log, Status, Told, Vertex

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}

# More bits than these no number has.
_BITS = 64

Fields = dict[int, int | bytes]


class _BrokenError(Exception):
    pass


def told(aux: object) -> Iterator[Told]:
    """Yield what a message says.

    Args:
        aux: the message, as base64 in a text; of anything else nothing is said.
    """
    if not isinstance(aux, str):
        return
    try:
        data = base64.b64decode(aux, validate=True)
    except (binascii.Error, ValueError):
        return
    try:
        for number, value in _fields(data):
            if isinstance(value, bytes) and number in _READERS:
                yield _READERS[number](_last(value))
    except _BrokenError:
        return


def _vertex(fields: Fields) -> Vertex:
    return Vertex(
        digest=_text(fields, 1),
        name=_text(fields, 3),
        cached=bool(_number(fields, 4)),
        started=_time(fields, 5),
        completed=_time(fields, 6),
        error=_text(fields, 7),
    )


def _status(fields: Fields) -> Status:
    return Status(
        vertex=_text(fields, 2),
        id=_text(fields, 1),
        current=_number(fields, 4),
        total=_number(fields, 5),
    )


def _log(fields: Fields) -> Log:
    data = fields.get(4, b"")
    return Log(vertex=_text(fields, 1), data=data if isinstance(data, bytes) else b"")


_READERS: Mapping[int, Callable[[Fields], Told]] = {1: _vertex, 2: _status, 3: _log}


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field of a message."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in _WIDTHS:
            length = _WIDTHS[kind]
        else:
            raise _BrokenError
        if at + length > len(data):
            raise _BrokenError
        yield number, data[at : at + length]
        at += length


def _last(data: bytes) -> Fields:
    """Return the fields of a message, of one that is repeated the last."""
    return dict(_fields(data))


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, _BITS, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value & ((1 << _BITS) - 1), at
    raise _BrokenError


def _text(fields: Fields, number: int) -> str:
    value = fields.get(number, b"")
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else ""


def _number(fields: Fields, number: int) -> int:
    """Return a number that is not to be negative, as none of those that are read here is."""
    value = fields.get(number, 0)
    return value if isinstance(value, int) and value < 1 << (_BITS - 1) else 0


def _time(fields: Fields, number: int) -> float | None:
    """Return a `google.protobuf.Timestamp` in seconds."""
    value = fields.get(number)
    if not isinstance(value, bytes):
        return None
    parts = _last(value)
    return _number(parts, 1) + _number(parts, 2) / 1e9
