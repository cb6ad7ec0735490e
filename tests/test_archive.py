"""Wheels as archives: what each hostile one is refused for, and what a good one says."""

import io
import zipfile
from pathlib import Path

import pytest

from envkit.errors import IntegrityError
from envkit.store import digest, manifest, wheels
from tests.support import Distribution, Tampering, good, hostile
from tests.support.backend import pack, regular

# The name of a fault -> what is said of it. Of the others, `misnamed` is in its file name, and
# `no-room` not only in the wheel.
REASONS = {
    "wrong-hash": "hostile.py is not what its RECORD says",
    "unrecorded": "hostile.py is not in its RECORD",
    "outside": "'../evil.py' leads outside",
    "absolute": "'/nonexistent/evil.py' leads outside",
    "symlink": "'link.py' is neither a file nor a folder",
    "duplicate": "'twice.py' is there twice",
    "truncated": "not a readable archive",
    "not-a-zip": "not a readable archive",
    "control-characters": "has an unusable name",
    "not-utf-8": "not a readable archive",
    "larger": "bomb.bin: it is larger than the archive's directory says",
    "overlapping": "'bomb.bin' overlaps another in the archive",
    "version": "has '1.0\\x1b[31m' for a version",
    "option": "entry point '--help' = 'hostile:main' is not valid",
}


def add(archive: Path, folder: Path, name: str) -> manifest.Manifest:
    """Store a wheel and return what is known of it."""
    entry = folder / "store" / "entry"
    sha256 = digest.sha256(archive)
    wheels.add(archive, name=name, sha256=sha256, entry=entry, draft=folder / "draft")
    found = manifest.read(str(entry))
    assert found
    return found


@pytest.mark.parametrize("fault", sorted(REASONS))
def test_what_a_wheel_is_refused_for(tmp_path: Path, fault: str) -> None:
    archive = hostile()[fault].wheel(tmp_path / "made")
    with pytest.raises(IntegrityError) as raised:
        add(archive, tmp_path, "hostile")
    assert REASONS[fault] in raised.value.message
    assert archive.name in raised.value.message
    assert not (tmp_path / "store").exists()


def test_every_fault_is_tried() -> None:
    assert {*REASONS} == {*hostile()} - {"misnamed", "no-room"}


@pytest.mark.parametrize(
    "name",
    [
        "a/../../b.py",
        "./a.py",
        "a//b.py",
        "C:/b.py",
        "a\\..\\b.py",
        "x" * 300 + ".py",
        "a\u202e.py",
    ],
)
def test_names_that_no_file_should_have(tmp_path: Path, name: str) -> None:
    bad = Distribution(name="bad", tampering=Tampering(members=(regular(name, ""),)))
    with pytest.raises(IntegrityError, match="leads outside or has an unusable name"):
        add(bad.wheel(tmp_path / "made"), tmp_path, "bad")


def test_another_distribution_than_was_asked_for(tmp_path: Path) -> None:
    archive = good()["alpha-1.0"].wheel(tmp_path / "made")
    with pytest.raises(IntegrityError, match=r"it should have one \.dist-info folder, of delta"):
        add(archive, tmp_path, "delta")


def test_another_file_than_the_lock_names(tmp_path: Path) -> None:
    archive = good()["alpha-1.0"].wheel(tmp_path / "made")
    with pytest.raises(IntegrityError, match="not " + "0" * 64):
        wheels.add(
            archive, name="alpha", sha256="0" * 64, entry=tmp_path / "e", draft=tmp_path / "d"
        )
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize(
    "target", ["os:system('x')", "os; import sys:main", "a b:main", "module:", ":main"]
)
def test_entry_points_that_are_code(tmp_path: Path, target: str) -> None:
    bad = Distribution(name="bad", console_scripts={"bad": target})
    with pytest.raises(IntegrityError, match="is not valid"):
        add(bad.wheel(tmp_path / "made"), tmp_path, "bad")


@pytest.mark.parametrize("command", ["../evil", "a/b", "", "evil\\b"])
def test_entry_points_that_lead_outside(tmp_path: Path, command: str) -> None:
    bad = Distribution(name="bad", console_scripts={command: "bad:main"})
    with pytest.raises(IntegrityError):
        add(bad.wheel(tmp_path / "made"), tmp_path, "bad")


def test_an_unknown_format(tmp_path: Path) -> None:
    def newer(content: bytes) -> bytes:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            texts = {name: archive.read(name) for name in archive.namelist()}
        old, new = b"Wheel-Version: 1.0", b"Wheel-Version: 2.0"
        return pack(regular(name, text.replace(old, new)) for name, text in texts.items())

    bad = Distribution(name="bad", tampering=Tampering(alter=newer))
    with pytest.raises(IntegrityError, match=r"Wheel-Version '2\.0', is not known"):
        add(bad.wheel(tmp_path / "made"), tmp_path, "bad")


def test_what_is_known_of_a_good_one(tmp_path: Path) -> None:
    one = good()["commands-1.0"]
    found = add(one.wheel(tmp_path / "made"), tmp_path, "commands")
    assert (found.name, found.version) == ("commands", "1.0")
    assert found.console_scripts == dict(one.console_scripts)
    assert found.gui_scripts == dict(one.gui_scripts)
    for folder, file in manifest.files(manifest.folders(found.path)):
        path = Path(found.path, manifest.TREE, folder, file.name)
        status = path.stat()
        assert (status.st_size, status.st_mtime_ns, status.st_ino) == file[2:5]
        assert digest.sha256(path) == file.sha256
        assert not status.st_mode & 0o222


def test_the_second_to_come_changes_nothing(tmp_path: Path) -> None:
    archive = good()["alpha-1.0"].wheel(tmp_path / "made")
    first = add(archive, tmp_path, "alpha")
    assert add(archive, tmp_path, "alpha") == first
