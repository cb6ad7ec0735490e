"""What is known of an image beside the image: its record, its labels, its history."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envkit import project as projects
from envkit.engines import images
from envkit.engines.images import Blob, Layer
from envkit.errors import UsageError
from envkit.image import labels, record
from envkit.image.record import Record

RECORD = Record(
    image="sha256:1",
    tags=("app:latest", "app:1"),
    size=10,
    layers=("sha256:2", "sha256:3"),
    inputs="4",
    ids={"python:3.12-slim": "sha256:5"},
    beneath="6",
    dependencies="store",
    handed="localhost/envkit/dependencies:7",
    intermediate=("localhost/envkit/dependencies:7",),
    keeps_nameless=True,
)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "image.json"
    record.write(path, RECORD)
    assert record.read(path) == RECORD
    record.write(path, RECORD._replace(size=11))
    assert record.read(path) == RECORD._replace(size=11)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'"text"', b"\xff", b"{}", b"[" * 100_000, b'{"tags": 1}'],
)
def test_a_damaged_record_is_none(tmp_path: Path, content: bytes) -> None:
    """A build is made then as if it were the first."""
    path = tmp_path / "image.json"
    assert record.read(path) is None
    path.write_bytes(content)
    assert record.read(path) is None
    path.unlink()
    path.mkdir()
    assert record.read(path) is None


@pytest.mark.parametrize("key", Record._fields)
def test_a_record_of_another_release_is_none(tmp_path: Path, key: str) -> None:
    path = tmp_path / "image.json"
    values = {**RECORD._asdict(), "more": 1}
    path.write_text(json.dumps(values), encoding="utf-8")
    assert record.read(path) is None
    del values["more"], values[key]
    path.write_text(json.dumps(values), encoding="utf-8")
    assert record.read(path) is None


def made(*lines: tuple[str, int]) -> list[Layer]:
    """Return a history, the newest first, of commands and the bytes that they added."""
    return [Layer(command, size, 0) for command, size in reversed(lines)]


@pytest.mark.parametrize(
    ("history", "count", "makers"),
    [
        ([("FROM scratch", 5), ("ENV A=1", 0), ("RUN make", 3)], 2, ["FROM scratch", "RUN make"]),
        # What could have added something has made a layer, though it added nothing.
        ([("base", 5), ("RUN true", 0), ("CMD x", 0)], 2, ["base", "RUN true"]),
        (
            [("base", 5), ("/bin/sh -c #(nop) WORKDIR /app", 0)],
            2,
            ["base", "/bin/sh -c #(nop) WORKDIR /app"],
        ),
        # Unless there are fewer layers: some builders drop those.
        ([("base", 5), ("RUN true", 0), ("CMD x", 0)], 1, ["base"]),
        ([("base", 0)], 1, None),
        ([("base", 5), ("COPY x", 1)], 3, None),
        ([], 0, []),
    ],
)
def test_what_made_which_layer(
    history: list[tuple[str, int]], count: int, makers: list[str] | None
) -> None:
    found = images.makers(made(*history), count)
    assert (None if found is None else [one.command for one in found]) == makers


keys = st.lists(st.text("0123456789abcdef", min_size=64, max_size=64), max_size=8, unique=True)


@given(keys, st.integers(0, 8), st.booleans())
def test_layers_that_are_written_in_a_label(keys: list[str], count: int, kept: bool) -> None:
    """Of layers that begin the same way, those are known again that are the same."""
    blobs = [
        Blob(f"sha256:{key}", f"sha256:{key}" if kept else "", len(key), "gzip" if kept else "")
        for key in keys
    ]
    label = images.written(keys, blobs)
    assert images.shared(label, keys) == blobs
    other = [*keys[:count], "f" * 63 + "g", *keys[count:]]
    assert images.shared(label, other) == blobs[:count]
    assert images.shared("", keys) == []


@given(st.text(), keys)
def test_labels_of_others_say_nothing(label: str, keys: list[str]) -> None:
    assert images.shared(label, keys) == []


def test_labels(tmp_path: Path) -> None:
    (tmp_path / "envkit.toml").touch()
    found = projects.read(tmp_path, {})
    assert found
    title = "org.opencontainers.image.title"

    def of(added: dict[str, str], **environ: str) -> dict[str, str]:
        created = bool(environ)
        return dict(
            labels.of(
                found,
                source=None,
                lock="l",
                code="c",
                dockerfile="d",
                created=created,
                added=added,
                environ=environ,
            )
        )

    assert of({}) == {
        title: tmp_path.name,
        "dev.envkit.lock": "l",
        "dev.envkit.code": "sha256:c",
        "dev.envkit.dockerfile": "d",
    }
    assert of({title: "mine", "more": ""})[title] == "mine"
    assert "2001-09-09T01:46:40Z" in of({}, SOURCE_DATE_EPOCH="1000000000").values()
    for wrong in ("soon", "1" * 30, "nan"):
        with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH"):
            of({}, SOURCE_DATE_EPOCH=wrong)


def test_the_digest_of_a_lock(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    with pytest.raises(UsageError) as raised:
        labels.digest(lock)
    assert "requirements.txt" in raised.value.message
    lock.write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert labels.digest(lock) == f"sha256:{empty}"
