"""Archives that are what they say, and archives that are not."""

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from envkit.assets.unpacking import unpack
from envkit.errors import IntegrityError

CONTENT = {"a/one.txt": b"one", "a/b/two.bin": bytes(100_000), "run.sh": b"#!/bin/sh\n"}


def in_zip(path: Path, contents: dict[str, bytes] = CONTENT, mode: int = 0o100644) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o100755 if name.endswith(".sh") else mode) << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path


def in_tar(path: Path, contents: dict[str, bytes] = CONTENT, form: str = "gz") -> Path:
    with tarfile.open(path, f"w:{form}") as archive:  # type: ignore[call-overload]
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mode = 0o755 if name.endswith(".sh") else 0o644
            archive.addfile(info, io.BytesIO(content))
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "place"
    made.mkdir()
    return made


@pytest.mark.parametrize("form", ["zip", "", "gz", "bz2", "xz"])
def test_what_is_in_it(tmp_path: Path, place: Path, form: str) -> None:
    path = tmp_path / "archive"
    unpack(in_zip(path) if form == "zip" else in_tar(path, form=form), place, "archive")
    assert files(place) == CONTENT
    assert (place / "run.sh").stat().st_mode & stat.S_IXUSR
    assert not (place / "a" / "one.txt").stat().st_mode & stat.S_IXUSR


@pytest.mark.parametrize("make", [in_zip, in_tar])
@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", "..\\out", "C:out"])
def test_what_leads_outside(
    tmp_path: Path, place: Path, make: Callable[..., Path], name: str
) -> None:
    archive = make(tmp_path / "archive", {"good": b"1", name: b"2"})
    with pytest.raises(IntegrityError, match="leads outside"):
        unpack(archive, place, "archive")
    assert {*os.listdir(tmp_path)} == {"archive", "place"}
    assert not os.path.exists("/out")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_links_and_devices(tmp_path: Path, place: Path, kind: bytes) -> None:
    path = tmp_path / "archive"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("odd")
        info.type, info.linkname = kind, "../../etc/passwd"
        archive.addfile(info)
    with pytest.raises(IntegrityError, match="neither a file nor a folder"):
        unpack(path, place, "archive")
    assert os.listdir(place) == []
    with pytest.raises(IntegrityError, match="neither a file nor a folder"):
        unpack(in_zip(path, {"odd": b"x"}, mode=0o120777), place, "archive")


@pytest.mark.parametrize("make", [in_zip, in_tar])
def test_damaged_ones(tmp_path: Path, place: Path, make: Callable[..., Path]) -> None:
    path = make(tmp_path / "archive")
    whole = path.read_bytes()
    for content in (b"", b"no archive", whole[: len(whole) // 2], whole[:40] + whole[60:]):
        path.write_bytes(content)
        with pytest.raises(IntegrityError):
            unpack(path, place, "archive")


def test_a_name_that_comes_twice(tmp_path: Path, place: Path) -> None:
    path = tmp_path / "archive"
    with tarfile.open(path, "w") as archive:
        for name in ("one", "./one"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(IntegrityError, match="twice"):
        unpack(path, place, "archive")
    # A file that another's folder would have to be.
    in_tar(path, {"a": b"1", "a/b": b"2"})
    with pytest.raises(IntegrityError):
        unpack(path, place / "x", "archive")


def test_a_tar_that_ends_in_a_zip(tmp_path: Path, place: Path) -> None:
    last = in_zip(tmp_path / "weights.npz", {"arr_0.npy": b"x"}).read_bytes()
    content = {"readme": b"x", "weights.npz": last}
    unpack(in_tar(tmp_path / "archive", content, form=""), place, "archive")
    assert files(place) == content


def test_an_encrypted_one(tmp_path: Path, place: Path) -> None:
    path = in_zip(tmp_path / "archive", {"secret": b"x"})
    content = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + flags] |= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="encrypted"):
        unpack(path, place, "archive")


def test_a_folder_with_a_colon(tmp_path: Path, place: Path) -> None:
    unpack(in_tar(tmp_path / "archive", {"2024-01-01T10:00/x": b"1"}), place, "archive")
    assert files(place) == {"2024-01-01T10:00/x": b"1"}
