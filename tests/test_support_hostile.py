"""Proofs that what is hostile is so in the way that it claims, and in that way alone."""

import csv
import io
import stat
import zipfile
import zlib
from pathlib import Path

import pytest

from tests.support import Index, good, hostile
from tests.support.backend import record_digest
from tests.support.client import file_url, get, pip


def members(wheel: Path) -> list[zipfile.ZipInfo]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.infolist()


def faults(wheel: Path) -> set[str]:
    """Return the names on which a wheel and its RECORD disagree."""
    with zipfile.ZipFile(wheel) as archive:
        record = next(name for name in archive.namelist() if name.endswith("/RECORD"))
        rows = csv.reader(io.StringIO(archive.read(record).decode(), newline=""))
        stated = {path: digest for path, digest, _ in rows}
        found = {name: record_digest(archive.read(name)) for name in archive.namelist()}
    found[record] = ""
    return {name for name in stated | found if stated.get(name) != found.get(name)}


def made(fault: str, folder: Path) -> Path:
    return hostile()[fault].wheel(folder)


def test_what_is_good_agrees_with_its_record(published: Index) -> None:
    for one in good().values():
        if not one.sdist_only:
            wheel = published.folder / one.wheel_filename
            assert faults(wheel) == set()
            assert len({member.filename for member in members(wheel)}) == len(members(wheel))


@pytest.mark.parametrize("fault", ["wrong-hash", "unrecorded"])
def test_a_record_can_be_wrong_about_one_member(fault: str, tmp_path: Path) -> None:
    assert faults(made(fault, tmp_path)) == {"hostile.py"}


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("outside", "../evil.py"),
        ("absolute", "/nonexistent/evil.py"),
        ("control-characters", "evil\n\x1b[31m.py"),
        ("symlink", "link.py"),
    ],
)
def test_a_member_can_have_any_name_and_type(fault: str, name: str, tmp_path: Path) -> None:
    wheel = made(fault, tmp_path)
    assert faults(wheel) == set()
    (member,) = (one for one in members(wheel) if one.filename == name)
    assert stat.S_ISLNK(member.external_attr >> 16) == (fault == "symlink")


def test_a_directory_can_say_less_than_a_member_unpacks_to(tmp_path: Path) -> None:
    (bomb,) = (one for one in members(made("larger", tmp_path)) if one.filename == "bomb.bin")
    content = (tmp_path / "hostile-1.0-py3-none-any.whl").read_bytes()
    start = bomb.header_offset + 30 + len("bomb.bin")
    packed = content[start : start + bomb.compress_size]
    assert len(zlib.decompress(packed, -zlib.MAX_WBITS)) == 1 << 20
    assert bomb.file_size == 1


def test_members_can_begin_at_one_place(tmp_path: Path) -> None:
    found = members(made("overlapping", tmp_path))
    assert {member.header_offset for member in found} == {0}
    assert len(found) > 3


def test_a_directory_can_say_more_than_any_disk_holds(tmp_path: Path) -> None:
    sizes = {one.filename: one.file_size for one in members(made("no-room", tmp_path))}
    assert sizes["bomb.bin"] == 1 << 60
    assert sizes["hostile.py"] < 100


def test_a_name_can_be_no_utf_8(tmp_path: Path) -> None:
    wheel = made("not-utf-8", tmp_path)
    with pytest.raises(UnicodeDecodeError):
        members(wheel)


@pytest.mark.parametrize("fault", ["version", "option"])
def test_metadata_can_be_hostile_and_recorded(fault: str, tmp_path: Path) -> None:
    wheel = made(fault, tmp_path)
    assert faults(wheel) == set()
    with zipfile.ZipFile(wheel) as archive:
        version = archive.read("hostile-1.0.dist-info/METADATA").partition(b"Version: 1")[2]
    assert (b"\x1b[31m" in version) == (fault == "version")


def test_pip_refuses_a_member_that_leads_outside(index: Index, tmp_path: Path) -> None:
    wheel = made("outside", tmp_path)
    done = pip(index, "install", "--target", tmp_path / "site", wheel)
    assert done.returncode != 0
    assert "evil.py" in done.stderr


def test_two_members_can_have_one_name(tmp_path: Path) -> None:
    names = [member.filename for member in members(made("duplicate", tmp_path))]
    assert names.count("twice.py") == 2


@pytest.mark.parametrize("fault", ["truncated", "not-a-zip"])
def test_a_wheel_can_be_no_zip_and_still_be_published(
    fault: str, index: Index, tmp_path: Path
) -> None:
    filename = index.publish(made(fault, tmp_path))
    with pytest.raises(zipfile.BadZipFile):
        members(index.folder / filename)
    assert get(file_url(index, f"{filename}.metadata")).status == 404
    assert pip(index, "install", "--target", tmp_path / "site", "hostile").returncode != 0


def test_a_wheel_can_be_called_what_it_is_not(tmp_path: Path) -> None:
    wheel = made("misnamed", tmp_path)
    assert wheel.name == "other-1.0-py3-none-any.whl"
    assert "hostile-1.0.dist-info/METADATA" in [member.filename for member in members(wheel)]
