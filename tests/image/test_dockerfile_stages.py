"""What envkit reads of a Dockerfile: stages, arguments and images. Cases of Docker's reference."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envkit.dockerfile import parse, substitute
from tests.support import images

# As in "Automatic platform ARGs in the global scope", "Understand how ARG and FROM interact",
# "Copying from a stage", and "RUN --mount".
STAGES = """\
# syntax=docker/dockerfile:1
ARG  CODE_VERSION=latest
FROM --platform=$BUILDPLATFORM base:${CODE_VERSION} AS Build
ARG CODE_VERSION
CMD  /code/run-app
from build as second
COPY --from=third/image:1 --chown=1:1 a b
RUN --mount=type=bind,from=fourth,target=/x,source=/ \\
    # a comment in between
    make

FROM scratch
COPY --from=second /x /y
COPY --from=0 /x /y
add . /app
"""


def test_stages() -> None:
    found = parse(STAGES)
    assert [(one.name, one.parent, one.begin.line) for one in found.stages] == [
        ("build", "base:${CODE_VERSION}", 3),
        ("second", "build", 6),
        ("", "scratch", 12),
    ]
    assert found.arguments == {"CODE_VERSION": "latest"}
    assert found.declared == {"CODE_VERSION": 2}
    second = found.stage("SECOND")
    assert second
    assert [(one.keyword, one.line) for one in second.instructions] == [("COPY", 7), ("RUN", 8)]
    assert second.instructions[1].rest.endswith("make")


def test_images_that_are_named() -> None:
    found = parse(STAGES)
    assert found.images({}) == ("base:latest", "fourth", "third/image:1")
    assert found.images({"CODE_VERSION": "2", "OTHER": "3"})[0] == "base:2"


def test_what_a_stage_is_made_from() -> None:
    found = parse(STAGES)
    assert [one.name for one in found.beneath("second")] == ["build", "second"]
    assert [one.name for one in found.beneath("2")] == ["build", "second", ""]
    assert [one.name for one in found.beneath("absent")] == []


def test_a_stage_that_is_named_twice_is_the_last_one() -> None:
    found = parse("FROM one AS a\nFROM two AS a\n")
    stage = found.stage("a")
    assert stage
    assert stage.parent == "two"


def test_what_takes_something_from_the_context() -> None:
    reads = {one.name: one.reads_context for one in parse(STAGES).stages}
    assert reads == {"build": False, "second": True, "": True}


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("ADD https://example.org/x /", True),
        ("ADD --checksum=sha256:1 HTTPS://example.org/x /", True),
        ("ADD git@github.com:a/b.git /", True),
        ("ADD x /", False),
        ("COPY https://example.org/x /", False),
        ("RUN curl https://example.org/x", False),
    ],
)
def test_what_takes_something_from_the_network(text: str, reads: bool) -> None:
    assert parse(f"FROM scratch\n{text}\n").reads_network is reads


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$a", "A"),
        ("${a}b", "Ab"),
        ("$ab", ""),
        ("x${none}y", "xy"),
        ("${none:-word}", "word"),
        ("${empty:-word}", "word"),
        ("${empty-word}", ""),
        ("${none-word}", "word"),
        ("${a:-word}", "A"),
        ("${a:+word}", "word"),
        ("${empty:+word}", ""),
        ("${empty+word}", "word"),
        ("${none+word}", ""),
        ("${none:-$a}", "A"),
        ("python:${a}-slim", "python:A-slim"),
        ("no variables", "no variables"),
    ],
)
def test_substitution(text: str, expected: str) -> None:
    """Source: "Environment replacement" (Dockerfile reference)."""
    assert substitute(text, {"a": "A", "empty": ""}) == expected


@pytest.mark.parametrize(
    ("text", "handed_in", "values"),
    [
        ("ARG A=1\nARG B=${A}2\n", {}, {"A": "1", "B": "12"}),
        ("ARG A=1\nARG B=${A}2\n", {"A": "x"}, {"A": "x", "B": "x2"}),
        ("ARG A=1\nARG B=${A}2\n", {"B": "${A}"}, {"A": "1", "B": "${A}"}),
        ("ARG A\n", {}, {}),
        ("ARG A\n", {"A": ""}, {"A": ""}),
        ("ARG A=\"two words\" B='one'\n", {}, {"A": "two words", "B": "one"}),
        ("ARG A=1\n", {"B": "2"}, {"A": "1"}),
    ],
)
def test_arguments(text: str, handed_in: Mapping[str, str], values: Mapping[str, str]) -> None:
    assert parse(f"{text}FROM scratch\n").values(handed_in) == values


@pytest.mark.parametrize(
    "text",
    [
        "# escape=`\nFROM one `\n  AS a\nRUN dir C:\\\nRUN x\n",
        "FROM one \\\n\n# comment\n  AS a\nRUN y\nRUN x\\\n\n",
        "\ufeffFROM one AS a\nRUN <<END\nFROM two\nEND\nRUN x\n",
        "FROM one AS a\nRUN <<-'ONE' <<TWO\nFROM x\n\tONE\nFROM y\nTWO\nRUN x\n",
        "   FROM one AS a\n\tRUN y\n\n\n# FROM two\nRUN x",
    ],
)
def test_lines_that_go_on(text: str) -> None:
    (stage,) = parse(text).stages
    assert (stage.name, stage.parent) == ("a", "one")
    assert stage.instructions[-1].rest == "x"


def test_the_dockerfile_of_init() -> None:
    found = parse(images.dockerfile())
    assert [one.name for one in found.stages] == ["base", "pip", "deps", ""]
    assert found.stages[-1].parent == "${DEPS}"
    assert found.values({})["DEPS"] == "deps"
    (named,) = found.images({})
    assert named.startswith("python:3")
    assert named.endswith("-slim")
    assert found.images({"BASE": "other"}) == ("other",)
    assert {"BASE", "APT", "APP_USER", "DEPS", "PIP_INDEX_URL"} <= found.declared.keys()


PIECES = (
    *("FROM", "ARG", "RUN", "COPY", "--from=", "a", "AS", "$A", "${A", ":-", "}", "\\", "\n", "#"),
    *("<<E", "E", "escape=`", "=", "'", '"', " ", "\t", "\x00", "\r\n", "--mount=", ",", "0"),
)


@given(st.lists(st.sampled_from(PIECES)).map("".join) | st.text())
def test_nothing_is_too_strange_to_be_read(text: str) -> None:
    """Whatever it is, the builder says what is wrong with it."""
    found = parse(text)
    assert found.text == text
    found.images({"A": text})
    assert found.reads_network in {True, False}
    for stage in found.stages:
        assert found.beneath(stage.name or str(stage.number))
        assert stage.reads_context in {True, False}
    assert all(
        1 <= line <= text.count("\n") + text.count("\r") + 20 for line in found.declared.values()
    )


@given(st.text(), st.dictionaries(st.sampled_from(["A", "B"]), st.text()))
def test_anything_can_be_substituted(text: str, values: Mapping[str, str]) -> None:
    assert substitute(text.replace("$", ""), values) == text.replace("$", "")
    substitute(text, values)
