"""`.dockerignore` means what it means to Docker's own builders, both of which are asked."""

import os
import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envkit.contexts import ignore
from envkit.contexts.walk import walk
from envkit.errors import UsageError
from tests.support import builder
from tests.support.builder import Builder
from tests.support.engines import Engine

# What a builder is always sent.
BUILD_FILES = {"Dockerfile", ".dockerignore"}

NAMES = ("a", "b", "ab", "a.b", "*", "é", "#a", "!a", "A")

# Parts of patterns, without those that Docker takes otherwise than it documents.
PLAIN = ("a", "b", "ab", "a.b", "é", "#a", "!a", "A")
WILD = ("*", "?", "a*", "*b", "?b", "[ab]", "[^a]", "[a-c]*", "a?b", "\\*", "\\!a", "**a", "a**")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files three folders deep; no test may change it but for its rules."""
    root = tmp_path_factory.mktemp("tree")
    (root / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    for first in NAMES:
        for second in ("a", "b", "é"):
            folder = root / first / second
            folder.mkdir(parents=True)
            for third in ("a", "ab", "A"):
                (folder / third).touch()
        (root / first / "ab").touch()
    (root / "file\nb").touch()
    return root


@pytest.fixture(scope="module")
def docker() -> Iterator[Builder]:
    """Docker's command line, which packs what it would send to an engine."""
    if not builder.cli():
        pytest.skip("no docker here")
    with Builder() as made:
        yield made


@pytest.fixture(scope="module")
def buildkit(engine: Engine) -> Mapping[str, str]:
    """Variables with which `docker buildx` finds an engine."""
    return {**os.environ, **engine.environ}


def write(root: Path, *lines: str) -> ignore.Rules:
    """Write rules into a folder, and return them as they are read."""
    content = "\n".join(lines).encode("utf-8", "surrogateescape")
    (root / ".dockerignore").write_bytes(content)
    return ignore.parse(content, ".dockerignore")


def kept(root: Path, rules: ignore.Rules) -> set[str]:
    """Return the names of what is kept of a folder."""
    return {os.fsdecode(name) for name, _ in walk(os.fsencode(root), rules, ())} - BUILD_FILES


def with_folders(names: set[str]) -> set[str]:
    """Return names with those of the folders above them."""
    found = set(names)
    for name in names:
        while name := posixpath.dirname(name):
            found.add(name)
    return found


def folders_above(name: str) -> Iterator[str]:
    while name := posixpath.dirname(name):
        yield name


def patterns(*parts: str) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(parts), min_size=1, max_size=4).map("/".join)


# A line as people write it: with slashes and spaces that mean nothing.
UNTIDY = st.tuples(
    st.sampled_from(["", "/", " ", "\t/", "./", "//", "b/../", "/../"]),
    patterns(*PLAIN, *WILD, "**", ".", "..", ""),
    st.sampled_from(["", "/", " ", "//", "/.", "\r"]),
).map("".join)
EXCEPTIONS = patterns(*PLAIN).map(lambda pattern: f"!{pattern}")
LINES = st.lists(st.one_of(UNTIDY, UNTIDY, EXCEPTIONS, st.just("# a"), st.just("")), max_size=6)
WILD_LINES = st.lists(
    st.one_of(
        patterns(*PLAIN, *WILD, "**"), patterns(*PLAIN, *WILD, "**").map(lambda one: f"!{one}")
    ),
    max_size=6,
)


@given(lines=LINES)
def test_what_is_kept_is_what_docker_sends(tree: Path, docker: Builder, lines: list[str]) -> None:
    rules = write(tree, *lines)
    sent = docker.names(tree) - BUILD_FILES
    assert kept(tree, rules) == with_folders(sent)


@given(lines=WILD_LINES)
def test_exceptions_with_wildcards_reach_further_than_the_old_builder_lets_them(
    tree: Path, docker: Builder, lines: list[str]
) -> None:
    rules = write(tree, *lines)
    # That one enters a folder that is left out only for an exception that begins with its name.
    beginnings = tuple(f"{line[1:]}/" for line in lines if line.startswith("!"))
    expected = {
        name
        for name in kept(tree, rules)
        if not rules.ignored(name)
        and all(
            not rules.ignored(folder) or any(one.startswith(f"{folder}/") for one in beginnings)
            for folder in folders_above(name)
        )
    }
    assert docker.names(tree) - BUILD_FILES == expected


@given(lines=WILD_LINES)
def test_no_folder_is_passed_over_that_has_something_to_keep(tree: Path, lines: list[str]) -> None:
    rules = write(tree, *lines)
    every = {os.fsdecode(name) for name, _ in walk(os.fsencode(tree), ignore.Rules(), ())}
    expected = {name for name in every if not rules.ignored(name)}
    assert kept(tree, rules) == with_folders(expected) - BUILD_FILES


@settings(max_examples=15)
@given(lines=st.one_of(LINES, WILD_LINES))
def test_what_is_kept_is_what_buildkit_copies(
    tree: Path, buildkit: Mapping[str, str], lines: list[str]
) -> None:
    rules = write(tree, *lines)
    assert kept(tree, rules) == builder.copied(tree, buildkit) - BUILD_FILES


GOLDEN = {
    "nothing": [],
    "an exception with ** below a folder": ["a", "!**/ab"],
    "an exception with * below a folder": ["a", "!a/*/ab"],
    "an exception before what it is for": ["!a/a", "a"],
    "an exception that did not count for the folder": ["*/a", "!b"],
    "all but one": ["*", "!a/b/ab"],
    "all but one folder, but for one in it": ["**", "!a", "a/b"],
    "what is in a folder": ["a/**"],
    "what has an extension": ["**/*.b"],
    "escapes": ["\\*", "\\!a", "\\#a"],
    "another case": ["A"],
    "negated class": ["[^a]"],
    "byte order mark": ["\ufeffa"],
    "byte order mark before a comment": ["\ufeff# a", "b"],
    "a comment that is none": [" #a", "/#a"],
    "an exclamation mark behind a slash": ["**", "/!a"],
    "spaces that are not Python's": ["a\u3000", "\xa0b\x85", "\u200bab"],
    "folders above": ["../a", "b/../../ab"],
    "slashes": ["//a//b//", "/"],
    "line ends of another system": ["a\r", "!a/b\r"],
}


@pytest.mark.parametrize("lines", GOLDEN.values(), ids=GOLDEN)
def test_golden_cases_are_as_in_buildkit(
    tree: Path, buildkit: Mapping[str, str], lines: list[str]
) -> None:
    rules = write(tree, *lines)
    assert kept(tree, rules) == builder.copied(tree, buildkit) - BUILD_FILES


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("**/foo\\*", "file\nb/foo*"),
        ("f*b", "file\nb"),
        ("*", "\udcff"),
        ("?\udcfe", "\udcff\udcfe"),
        (".", None),
    ],
)
def test_names_of_any_bytes_are_matched(line: str, name: str | None) -> None:
    rules = ignore.parse(line.encode("utf-8", "surrogateescape"), "rules")
    # In Docker `**` does not reach over the end of a line either.
    assert rules.ignored(name or "a") is (name is not None and not line.startswith("**"))


# What Docker refuses as well.
MALFORMED = [
    "[",
    "[]",
    "[a",
    "a[",
    "[a-]",
    "[-a]",
    "[^]",
    "a\\",
    "[a\\]",
    "!",
    "!/",
    "! ",
    "[z-a]*",
]


@pytest.mark.parametrize("line", MALFORMED)
def test_what_is_no_pattern_is_refused_as_docker_refuses_it(
    tree: Path, docker: Builder, line: str
) -> None:
    with pytest.raises(UsageError) as error:
        write(tree, "# rules", "", line)
    assert error.value.message.startswith(".dockerignore: line 3: ")
    assert error.value.hint
    assert docker.build(tree).returncode == 1


# Pattern, and a name that the documentation and the builders disagree on.
STRANGE = [
    ("a|b*", "a/b/ab"),
    ("^a*", "a/ab"),
    ("a{1}*", "a/ab"),
    ("[[:alpha:]]", "a/ab"),
    ("\\w", "a/ab"),
]


@pytest.mark.parametrize(("line", "name"), STRANGE)
def test_what_docker_takes_otherwise_than_documented_is_refused(
    tree: Path, docker: Builder, line: str, name: str
) -> None:
    with pytest.raises(UsageError, match="otherwise than it documents"):
        write(tree, line)
    # By the documentation nothing here is matched: `|`, `^` and `{` are themselves, and so on.
    assert name not in docker.names(tree)


# What would be something else in a regular expression, but is in none, or is escaped.
TEXTS = ["a|b", "^a", "{1}", "*.{a,b}", "[|]", "[a^]", "\\|*", "\\[*", "a\x1f", "**/a|b", "^a**"]


@pytest.mark.parametrize("line", TEXTS)
def test_what_is_not_a_wildcard_stands_for_itself(tree: Path, docker: Builder, line: str) -> None:
    rules = write(tree, line)
    assert kept(tree, rules) == docker.names(tree) - BUILD_FILES


def test_the_rules_of_a_dockerfile_come_before_the_common_ones(tmp_path: Path) -> None:
    assert not ignore.read(tmp_path, "Dockerfile").ignored("a")
    (tmp_path / ".dockerignore").write_text("a\n")
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "gpu.dockerignore").write_text("b\n")
    common, own = ignore.read(tmp_path, "Dockerfile"), ignore.read(tmp_path, "docker/gpu")
    assert [common.ignored(name) for name in "ab"] == [True, False]
    assert [own.ignored(name) for name in "ab"] == [False, True]


def test_rules_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").mkdir()
    with pytest.raises(UsageError, match=r"\.dockerignore: cannot be read: Is a directory"):
        ignore.read(tmp_path, "Dockerfile")
