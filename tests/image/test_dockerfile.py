"""What of a Dockerfile is known, and which line of it a step is about."""

import pytest

from envkit.builders import steps
from envkit.builders.steps import line_of
from envkit.dockerfile import parse
from envkit.errors import UsageError

TEXT = """\
# escape=\\
ARG VERSION=1
FROM python:3 AS Deps

# A comment.
RUN one && \\
    # another one

    two
COPY a b
WORKDIR /x
ENV A=b
RUN three
FROM scratch
COPY --from=deps /x /
FROM deps
RUN three
RUN <<EOF
RUN not an instruction
EOF
run <<-"END" cat
  FROM nothing
\tEND
CMD ["x"]
"""


def test_instructions() -> None:
    found = [
        (one.line, one.stage, one.number, one.text.split()[0]) for one in steps.of(parse(TEXT))
    ]
    assert found == [
        (2, "", 0, "ARG"),
        (3, "deps", 1, "FROM"),
        (6, "deps", 2, "RUN"),
        (10, "deps", 3, "COPY"),
        (11, "deps", 4, "WORKDIR"),
        (12, "deps", 0, "ENV"),
        (13, "deps", 5, "RUN"),
        (14, "stage-1", 0, "FROM"),
        (15, "stage-1", 1, "COPY"),
        (16, "stage-2", 0, "FROM"),
        (17, "stage-2", 1, "RUN"),
        (18, "stage-2", 2, "RUN"),
        (21, "stage-2", 3, "RUN"),
        (24, "stage-2", 0, "CMD"),
    ]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("[deps 2/5] RUN one &&     two", 6),
        ("[deps  5/5] RUN three", 13),
        ("[stage-2 1/3] RUN three", 17),
        ("[linux/arm64 stage-2 1/3] RUN three", 17),
        ("[linux/arm/v7 deps 3/5] COPY a b", 10),
        # With a variable replaced.
        ("[deps 4/5] WORKDIR /somewhere", 11),
        ("[internal] load build context", None),
        ("exporting to image", None),
        ("[deps 9/9] RUN what is not there", None),
        ("[auth] library/python:pull token", None),
        ("", None),
    ],
)
def test_lines(name: str, line: int | None) -> None:
    assert line_of(name, steps.of(parse(TEXT))) == line


def test_a_file_of_one_stage_has_no_name_for_it() -> None:
    assert line_of("[2/2] RUN x", steps.of(parse("FROM a\n\nRUN x\n"))) == 3
    assert line_of("[2/2] RUN y", steps.of(parse("FROM a\n\nRUN $x\n"))) == 3


def test_another_escape() -> None:
    found = steps.of(parse("# syntax=x\n# escape=`\nFROM a\nRUN dir c:\\\nRUN one `\n two\n"))
    assert [(one.line, one.text) for one in found] == [
        (3, "FROM a"),
        (4, "RUN dir c:\\"),
        (5, "RUN one two"),
    ]


@pytest.mark.parametrize(
    "text", ["", "\n\n", "RUN", "FROM", "FROM \\", "RUN <<EOF", "\ufeffFROM a"]
)
def test_what_is_broken_is_left_to_the_builder(text: str) -> None:
    assert [one.line for one in steps.of(parse(text))] == ([1] if text.strip() else [])


@pytest.mark.parametrize("text", ["FROM a", "#syntax=x/y:1\nnothing", "# comment\n\nfrom a\n"])
def test_what_may_build_something(text: str) -> None:
    steps.check(parse(text), "Dockerfile")


@pytest.mark.parametrize(
    "text", ["", "ARG A\n", "# FROM a\n", "# c\n# syntax=x\nRUN a", "RUN <<E\nFROM a\nE"]
)
def test_what_builds_nothing(text: str) -> None:
    with pytest.raises(UsageError, match=r"^docker/File: there is no FROM in it"):
        steps.check(parse(text), "docker/File")


def test_bases() -> None:
    text = """\
ARG A=a:1
ARG B="b"
ARG C
ARG D
FROM --platform=linux/amd64 $A AS one
ARG A=inside
FROM host:5/${B}:2
FROM one
FROM scratch
FROM ${C:-c}
FROM x-${D}-y
FROM $A
"""
    found = parse(text).bases({"D": "d", "B": "other"})
    assert found == {"a:1": 5, "host:5/other:2": 7, "c": 10, "x-d-y": 11}
