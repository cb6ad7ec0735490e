"""What is read of protocol buffers, which come from a program of many versions."""

import base64
import json

import hypothesis
from hypothesis import strategies as st

from envkit.builders import trace
from envkit.builders.solve import Log, Status, Vertex
from tests.support.builds import RECORDED


def _varint(number: int) -> bytes:
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def _bytes(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _number(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _time(seconds: int, nanos: int) -> bytes:
    return _number(1, seconds) + _number(2, nanos)


def _message(*parts: bytes) -> str:
    return base64.b64encode(b"".join(parts)).decode()


texts = st.text(max_size=40)
numbers = st.integers(min_value=0, max_value=2**63 - 1)

# Fields that a later version may have, of each kind that there is.
unknown = st.one_of(
    st.builds(_bytes, st.integers(9, 200), st.binary(max_size=20)),
    st.builds(_number, st.integers(9, 200), numbers),
    st.builds(
        lambda field, data: _varint(field << 3 | 5) + data, st.integers(9, 99), st.just(b"1234")
    ),
    st.builds(
        lambda field, data: _varint(field << 3 | 1) + data, st.integers(9, 99), st.just(b"12345678")
    ),
)


@hypothesis.given(texts, texts, st.booleans(), st.integers(0, 2**34), texts, unknown)
def test_vertices(
    digest: str, name: str, cached: bool, seconds: int, error: str, more: bytes
) -> None:
    vertex = (
        _bytes(1, digest.encode())
        + _bytes(2, b"input")
        + more
        + _bytes(3, name.encode())
        + _number(4, cached)
        + _bytes(5, _time(seconds, 500_000_000))
        + _bytes(7, error.encode())
    )
    found = list(trace.told(_message(_bytes(1, vertex), more)))
    assert found == [Vertex(digest, name, cached, seconds + 0.5, None, error)]


@hypothesis.given(texts, texts, numbers, numbers)
def test_statuses(name: str, vertex: str, current: int, total: int) -> None:
    status = _bytes(1, name.encode()) + _bytes(2, vertex.encode())
    status += _number(4, current) + _number(5, total)
    assert list(trace.told(_message(_bytes(2, status)))) == [Status(vertex, name, current, total)]


@hypothesis.given(texts, st.binary())
def test_logs(vertex: str, data: bytes) -> None:
    log = _bytes(1, vertex.encode()) + _number(3, 1) + _bytes(4, data)
    assert list(trace.told(_message(_bytes(3, log)))) == [Log(vertex, data)]


@hypothesis.given(st.binary(max_size=200))
def test_junk_says_nothing_and_does_no_harm(data: bytes) -> None:
    for told in trace.told(base64.b64encode(data).decode()):
        assert isinstance(told, (Vertex, Status, Log))


@hypothesis.given(st.one_of(st.none(), st.text(), st.integers(), st.dictionaries(texts, texts)))
def test_what_is_no_base64_says_nothing(aux: object) -> None:
    list(trace.told(aux))


@hypothesis.given(st.data())
def test_recorded_messages_that_are_damaged_do_no_harm(data: st.DataObject) -> None:
    message = bytearray(data.draw(st.sampled_from(_recorded())))
    for _ in range(data.draw(st.integers(1, 5))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(message)))
    list(trace.told(base64.b64encode(message[:end]).decode()))


def test_a_message_that_is_cut_off_says_what_it_does_before() -> None:
    whole = _bytes(3, _bytes(1, b"v") + _bytes(4, b"text"))
    cut = _message(whole, whole[:-1])
    assert list(trace.told(cut)) == [Log("v", b"text")]


def _recorded() -> list[bytes]:
    lines = (RECORDED / "26.1-good.trace").read_text(encoding="utf-8").splitlines()
    said = (json.loads(line).get("aux") for line in lines)
    return [base64.b64decode(aux) for aux in said if isinstance(aux, str)]
