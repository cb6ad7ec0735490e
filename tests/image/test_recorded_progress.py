"""What builders tell, as it was recorded of real ones, and what is made of it."""

import base64
import io
import json
from collections.abc import Iterator

import pytest

from envkit import dockerfile
from envkit.builders import classic, plain, rawjson, solve, steps, trace
from envkit.engines import messages
from envkit.engines.progress import Event, Transfer
from tests.support.builds import DOCKERFILE, RECORDED, Told, told

STEPS = steps.of(dockerfile.parse(DOCKERFILE))
LAST = "[stage-1 3/3] RUN cat greeting.txt; echo oops >&2; exit"


def _locate(name: str) -> int | None:
    return steps.line_of(name, STEPS)


def _messages(name: str) -> Iterator[messages.Message]:
    return messages.parsed(io.BytesIO((RECORDED / name).read_bytes()))


def _of_rawjson(lines: list[str]) -> list[Event]:
    reader, solving = rawjson.Reader(), solve.Solving(_locate)
    return [event for line in lines for one in reader.heard(line) for event in solving.heard(one)]


def _of_trace(name: str) -> list[Event]:
    solving = solve.Solving(_locate)
    words = (one for said in _messages(name) for one in trace.told(said.get("aux")))
    return [event for one in words for event in solving.heard(one)]


def _of_plain(name: str) -> list[Event]:
    reader = plain.Reader(_locate)
    return [event for line in _lines(name) for event in reader.heard(line)]


def _lines(name: str) -> list[str]:
    return (RECORDED / name).read_text(encoding="utf-8").split("\n")


def _expected(code: str) -> list[Told]:
    return [
        Told("[deps 1/2] FROM docker.io/library/python:3.11-slim", 3, "done", []),
        Told(
            "[deps 2/2] RUN echo one && printf 'two\\rTWO\\n' && printf 'no end'",
            4,
            "done",
            ["TWO", "no end", "one"],
        ),
        Told("[stage-1 1/3] COPY greeting.txt /srv/", 9, "done", []),
        Told("[stage-1 2/3] WORKDIR /srv", 10, "done", []),
        Told(f"{LAST} {code}", 11, "done" if code == "0" else "failed", ["hello", "oops"]),
    ]


@pytest.mark.parametrize(
    ("name", "code"), [("26.1-good", "0"), ("26.1-failed", "7"), ("20.10-failed", "7")]
)
def test_buildkit_says_the_same_in_all_forms(name: str, code: str) -> None:
    expected = _expected(code)
    assert _raw(name) == expected
    assert told(_of_trace(f"{name}.trace")) == expected


def _raw(name: str) -> list[Told]:
    return told(_of_rawjson(_lines(f"{name}.rawjson")))


def test_objects_may_be_on_one_line_each() -> None:
    # As buildx prints them from its release 0.14 on.
    text = (RECORDED / "26.1-failed.rawjson").read_text(encoding="utf-8")
    decoder, at, lines = json.JSONDecoder(), 0, []
    while text[at:].startswith("{"):
        found, end = decoder.raw_decode(text, at)
        lines.append(json.dumps(found))
        at = end + 1
    assert len(lines) > 20
    assert told(_of_rawjson([*lines, *text[at:].split("\n")])) == _raw("26.1-failed")


@pytest.mark.parametrize("name", ["26.1-good", "26.1-failed", "20.10-failed"])
def test_plain_text_says_what_objects_say(name: str) -> None:
    # A carriage return in plain text ends a line, as what follows it has no number.
    printed = {"two": "TWO"}
    shown = [
        one._replace(printed=sorted(printed.get(line, line) for line in one.printed))
        for one in told(_of_plain(f"{name}.plain"))
    ]
    assert shown == _raw(name)


@pytest.mark.parametrize("name", ["26.1-failed", "20.10-failed"])
def test_the_error_stands_apart(name: str) -> None:
    reader = rawjson.Reader()
    for line in _lines(f"{name}.rawjson"):
        list(reader.heard(line))
    errors = [line for line in reader.other if line.startswith("ERROR: ")]
    assert len(errors) == 1
    assert errors[0].endswith("exit code: 7")


def test_transfers_are_counted() -> None:
    moved = [one for one in _of_rawjson(_lines("26.1-good.rawjson")) if isinstance(one, Transfer)]
    context = [one.current for one in moved if one.item == "transferring context:"]
    assert context == sorted(context)
    assert context[-1] > 6


@pytest.mark.parametrize("name", ["26.1-good", "26.1-failed", "20.10-failed"])
def test_the_classic_builder(name: str) -> None:
    reader = classic.Reader(STEPS)
    events, error = [], ""
    for said in _messages(f"{name}.classic"):
        error = error or messages.failure_in(said)
        events += list(reader.heard(said))
    events += list(reader.ended(error))
    steps = told(events)
    assert [(one.line, one.state) for one in steps[:-1]] == [
        (line, "done") for line in (2, 3, 4, 7, 8, 9, 10)
    ]
    assert steps[2].printed == ["TWO", "no end", "one"]
    assert steps[-1].printed == ["hello", "oops"]
    assert steps[-1].line == 11
    assert (steps[-1].state == "failed") == ("failed" in name) == bool(error)
    assert reader.built.startswith("sha256:") or "failed" in name


@pytest.mark.parametrize("size", [1, 2, 7])
def test_lines_come_whole_however_they_are_cut(size: int) -> None:
    data = b"one\r\ntwo \xc3\xa4\nprogress 1\rprogress 2\nlast"
    solving = solve.Solving(lambda _name: None)
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    events = [event for piece in pieces for event in solving.heard(solve.Log("v", piece))]
    events += solving.ended()
    assert [getattr(event, "text", "") for event in events] == [
        "one",
        "two ä",
        "progress 2",
        "last",
    ]


def test_a_line_without_end_does_not_pile_up() -> None:
    solving = solve.Solving(lambda _name: None)
    events = [event for _ in range(20) for event in solving.heard(solve.Log("v", b"x" * 10_000))]
    assert 1 <= len(events) <= 20


def test_what_is_no_object_is_kept_as_it_is() -> None:
    reader = rawjson.Reader()
    lines = ["WARNING: no", "{broken", "{", "  nothing", "}", '{"vertexes": 3, "logs": [1]}']
    assert [told for line in lines for told in reader.heard(line)] == []
    assert reader.other == ["WARNING: no", "{broken", "{", "  nothing", "}"]


def test_broken_values_in_objects_are_passed_over() -> None:
    said = {
        "vertexes": [{"digest": "d", "name": "n", "started": "yesterday", "completed": 5}],
        "statuses": [{"vertex": "d", "id": "i", "current": "x", "total": -1}],
        "logs": [
            {"vertex": "d", "data": "!"},
            {"vertex": "d", "data": base64.b64encode(b"x").decode()},
        ],
    }
    found = list(rawjson.Reader().heard(json.dumps(said)))
    assert found == [
        solve.Vertex("d", "n"),
        solve.Status("d", "i", 0, 0),
        solve.Log("d", b""),
        solve.Log("d", b"x"),
    ]
