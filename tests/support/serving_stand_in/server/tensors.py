"""Tensors in JSON, as requests and answers have them. Source: json_tensor.cc."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from .statuses import Code, StatusError

# The JSON that messages quote is cut behind so many characters.
_QUOTED = 256

_SMALL, _LARGE = 2**31, 2**63
_INTEGERS = {
    **dict.fromkeys((tf.int32, tf.int16, tf.int8, tf.uint8), (-_SMALL, _SMALL)),
    tf.int64: (-_LARGE, _LARGE),
    tf.uint32: (0, 2 * _SMALL),
    tf.uint64: (0, 2 * _LARGE),
}


def read_request(body: bytes) -> dict[str, Any]:
    """Return the object that a request holds; raises StatusError where it holds none."""
    try:
        # What comes behind it is not looked at.
        document, _ = json.JSONDecoder().raw_decode(body.decode("utf-8").lstrip())
    except ValueError as error:
        reason = "The document is empty" if not body else f"Invalid value. ({error})"
        raise _invalid(f"JSON Parse error: {reason}") from error
    if not isinstance(document, dict):
        raise _invalid(f"JSON Value: {_quoted(document)} Is not object")
    if not isinstance(document.get("signature_name", ""), str):
        form = "not formatted correctly. 'signature_name' key must be a string value."
        raise _invalid(f"JSON Value: {_quoted(document)} {form}")
    return document


def read_inputs(document: dict[str, Any], infos: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors of a request, by the names of inputs.

    Args:
        document: the request.
        infos: what the signature says of each input: TensorInfo.

    Raises:
        StatusError: they are not what the signature wants.
    """
    kinds = {name: tf.dtypes.as_dtype(info.dtype) for name, info in infos.items()}
    if "instances" in document and "inputs" in document:
        form = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
        raise _invalid(f"JSON Value: {_quoted(document)} {form} ")
    if "instances" in document:
        rows = document["instances"]
        if not isinstance(rows, list):
            raise _invalid(
                f"JSON Value: {_quoted(document)} Expecting 'instances' to be an list/array"
            )
        if not rows:
            raise _invalid(f"JSON Value: {_quoted(document)} No values in 'instances' array")
        return _of_rows(rows, kinds)
    if "inputs" in document:
        return _of_columns(document["inputs"], kinds)
    raise _invalid("Missing 'inputs' or 'instances' key")


def write_outputs(outputs: Mapping[str, Any], *, in_rows: bool) -> str:
    """Return the answer to a request whose inputs were in rows, or else in columns."""
    written = {name: _written(name, array) for name, array in sorted(outputs.items())}
    if not in_rows:
        columns = written if len(written) > 1 else next(iter(written.values()))
        return json.dumps({"outputs": columns}, indent=4)
    for name, array in outputs.items():
        if not array.shape:
            raise _invalid(f"Tensor name: {name} has no shape information ")
    sizes = {name: array.shape[0] for name, array in sorted(outputs.items())}
    expected = next(iter(sizes.values()))
    for name, size in sizes.items():
        if size != expected:
            raise _invalid(
                f"Tensor name: {name} has inconsistent batch size: {size} expecting: {expected}"
            )
    if len(written) == 1:
        rows = next(iter(written.values()))
    else:
        rows = [dict(zip(written, row, strict=True)) for row in zip(*written.values(), strict=True)]
    return json.dumps({"predictions": rows}, indent=4)


def _invalid(message: str) -> StatusError:
    return StatusError(Code.INVALID_ARGUMENT, message)


def _quoted(value: Any) -> str:
    return json.dumps(value, indent=4)[:_QUOTED]


def _of_rows(rows: list[Any], kinds: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(rows[0], dict) and len(kinds) > 1:
        raise _invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    named = _is_object(rows[0])
    found: dict[str, list[Any]] = {name: [] for name in kinds}
    for number, row in enumerate(rows):
        if _is_object(row) != named:
            wrong = "object but got list" if named else "value/list but got object"
            raise _invalid(f"Expecting {wrong} at item {number} of input list")
        for name, value in row.items() if named else ((next(iter(kinds)), row),):
            key = f" key: {name}" if named else ""
            try:
                _append(found, name, value, kinds)
            except StatusError as error:
                raise _invalid(
                    f"Failed to process element: {number}{key} of 'instances' list. Error: {error}"
                ) from error
        if named and row.keys() != kinds.keys():
            raise _invalid(
                f"Failed to process element: {number} of 'instances' list. JSON object: "
                f"{_quoted(row)} keys must be equal to: {','.join(sorted(kinds))}"
            )
    return {name: np.stack(arrays) for name, arrays in found.items()}


def _append(found: dict[str, list[Any]], name: str, value: Any, kinds: Mapping[str, Any]) -> None:
    if name not in kinds:
        raise _invalid(f"JSON object: does not have named input: {name}")
    array = _read(value, kinds[name])
    first = found[name][0] if found[name] else array
    if array.size != first.size:
        raise _invalid(f"Expecting tensor size: {first.size} but got: {array.size}")
    if array.shape != first.shape:
        shapes = (f"[{','.join(map(str, one.shape))}]" for one in (first, array))
        raise _invalid("Expecting shape {} but got: {}".format(*shapes))
    found[name].append(array)


def _of_columns(value: Any, kinds: Mapping[str, Any]) -> dict[str, Any]:
    if not _is_object(value):
        if len(kinds) > 1:
            raise _invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        ((name, kind),) = kinds.items()
        return {name: _read(value, kind)}
    for name in kinds:
        if name not in value:
            raise _invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: _read(value[name], kind) for name, kind in kinds.items()}


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and [*value] == ["b64"] and isinstance(value["b64"], str)


def _read(value: Any, kind: Any) -> Any:
    """Return a tensor; raises StatusError where the lists are not of one shape and kind."""
    shape = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    leaves: list[Any] = []
    _fill(value, 0, kind, shape, leaves)
    array = np.empty(len(leaves), dtype=kind.as_numpy_dtype)
    array[:] = leaves
    return array.reshape(shape)


def _fill(value: Any, level: int, kind: Any, shape: list[int], leaves: list[Any]) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise _invalid(
                f"JSON Value: {_quoted(value)} found at incorrect level: {level + 1} in the JSON "
                f"DOM. Expected at level: {len(shape)}"
            )
        leaves.append(_leaf(value, kind))
        return
    if level >= len(shape):
        raise _invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise _invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: "
            f"{shape[level]}"
        )
    for one in value:
        _fill(one, level + 1, kind, shape, leaves)


def _leaf(value: Any, kind: Any) -> Any:
    if kind == tf.string and isinstance(value, dict):
        if not _is_base64(value):
            form = "not formatted correctly for base64 data"
            raise _invalid(f"JSON Value: {_quoted(value)} {form}")
        try:
            return base64.b64decode(value["b64"], validate=True)
        except binascii.Error as error:
            raise _invalid("Unable to base64 decode") from error
    if not _fits(value, kind):
        names = {bool: str(value), dict: "Object", str: "String", type(None): "Null"}
        raise _invalid(
            f"JSON Value: {_quoted(value)} Type: {names.get(type(value), 'Number')} is not of "
            f"expected type: {kind.name}"
        )
    return value.encode() if kind == tf.string else value


def _fits(value: Any, kind: Any) -> bool:
    if kind == tf.string:
        return isinstance(value, str)
    if kind == tf.bool:
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if kind in (tf.float32, tf.float64):
        return True
    if kind not in _INTEGERS:
        message = f"Conversion of JSON Value: {_quoted(value)} to type: {kind.name}"
        raise StatusError(Code.UNIMPLEMENTED, message)
    low, high = _INTEGERS[kind]
    return isinstance(value, int) and low <= value < high


def _written(name: str, array: Any) -> Any:
    """Return a tensor as JSON has it; strings are bytes where the name says so."""
    if array.dtype == np.float32:
        # The digits of a float, not those of the double nearest to it.
        digits = np.array([float(str(one)) for one in array.flat], dtype=object)
        return digits.reshape(array.shape).tolist()
    if array.dtype.kind == "O":
        return _strings(array.tolist(), as_bytes=name.endswith("_bytes"))
    return array.tolist()


def _strings(value: Any, *, as_bytes: bool) -> Any:
    if isinstance(value, list):
        return [_strings(one, as_bytes=as_bytes) for one in value]
    if as_bytes:
        return {"b64": base64.b64encode(value).decode()}
    return value.decode("utf-8", "replace")
