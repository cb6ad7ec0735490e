"""Archives written by hand are read by `tarfile` and by the system's `tar` as they were meant."""

import io
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envkit import tar

# No part is empty, as a name of a filesystem has none.
PARTS = st.binary(min_size=1, max_size=120).map(
    lambda part: part.replace(b"\0", b"0").replace(b"/", b"_")
)
NAMES = st.lists(PARTS, min_size=1, max_size=6).map(b"/".join)
MODES = st.integers(0, 0o7777)
SIZES = st.one_of(st.integers(0, 1 << 40), st.sampled_from([8**11 - 1, 8**11, 8**11 + 1]))
TIMES = st.one_of(st.integers(-(1 << 40), 1 << 40), st.sampled_from([-1, 0, 8**11 - 1, 8**11]))


def read(archive: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:", errors="surrogateescape") as file:
        return file.getmembers()


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@given(name=NAMES, mode=MODES, size=SIZES, mtime=TIMES)
def test_a_file_is_read_as_it_was_meant(name: bytes, mode: int, size: int, mtime: int) -> None:
    # Only the header: nobody has room for the content.
    made = tar.header(name, mode=mode, size=size, mtime=mtime)
    assert len(made) % 512 == 0
    with tarfile.open(
        fileobj=io.BytesIO(made), mode="r:", errors="surrogateescape", encoding="utf-8"
    ) as file:
        member = file.next()
    assert member is not None
    assert raw(member.name) == name
    assert (member.mode, member.size, member.mtime) == (mode, size, mtime)
    assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
    assert member.type == tarfile.REGTYPE


@given(name=NAMES, link=NAMES, kind=st.sampled_from([tar.LINK, tar.HARDLINK]))
def test_links_keep_their_targets(name: bytes, link: bytes, kind: bytes) -> None:
    (member,) = read(tar.header(name, kind=kind, link=link) + tar.END)
    assert (raw(member.name), raw(member.linkname), member.type) == (name, link, kind)


@given(name=NAMES, mode=MODES)
def test_folders_are_folders(name: bytes, mode: int) -> None:
    (folder,) = read(tar.header(name, kind=tar.FOLDER, mode=mode) + tar.END)
    assert folder.isdir()
    assert (raw(folder.name), folder.mode) == (name, mode)


@given(members=st.dictionaries(NAMES, st.binary(max_size=1200), max_size=8))
def test_members_follow_one_another(members: dict[bytes, bytes]) -> None:
    archive = _archive(members.items())
    with tarfile.open(fileobj=io.BytesIO(archive), errors="surrogateescape") as file:
        found = {}
        for member in file:
            content = file.extractfile(member)
            assert content is not None
            found[raw(member.name)] = content.read()
    assert found == members


@pytest.mark.parametrize("length", [98, 99, 100, 101, 102, 255, 512, 513])
def test_the_system_unpacks_names_of_any_length(tmp_path: Path, length: int) -> None:
    name = "é/" + "/".join("n" * min(200, length - at) for at in range(0, length, 200))
    name = name[: length - 1]
    archive = (
        tar.header(name.encode(), mode=0o750, size=3, mtime=1_000_000_000)
        + b"abc"
        + tar.padding(3)
        + tar.header(b"link", kind=tar.LINK, mode=0o777, link=name.encode())
        + tar.END
    )
    subprocess.run(["tar", "-x", "-C", str(tmp_path)], input=archive, check=True)  # noqa: S607
    assert (tmp_path / "link").read_bytes() == b"abc"
    status = (tmp_path / name).stat()
    assert (status.st_mode & 0o777, status.st_mtime) == (0o750, 1_000_000_000)


def test_the_system_lists_what_needs_more_than_octal_digits() -> None:
    archive = tar.header(b"early", mtime=-86400) + tar.header(b"late", mtime=8**11) + tar.END
    done = subprocess.run(
        ["tar", "-t", "-v", "--utc", "--full-time"],  # noqa: S607
        input=archive,
        capture_output=True,
        check=True,
    )
    assert b"1969-12-31 00:00:00 early" in done.stdout
    assert b"2242-03-16 12:56:32 late" in done.stdout
    assert done.stderr == b""


def _archive(members: Iterable[tuple[bytes, bytes]]) -> bytes:
    parts = []
    for name, content in members:
        parts += [tar.header(name, size=len(content)), content, tar.padding(len(content))]
    return b"".join([*parts, tar.END])
