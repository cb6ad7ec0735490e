"""Assets in the places of a project: linked, unpacked, and nothing of the user's overwritten."""

import os
from pathlib import Path

import pytest

from envkit.assets.placing import Asset, Placed
from envkit.errors import IntegrityError, UsageError
from tests.assets.test_transfer import sha256
from tests.assets.test_unpacking import CONTENT, files, in_tar


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    made.mkdir()
    return made


def stored(tmp_path: Path, content: bytes = b"model") -> Path:
    path = tmp_path / sha256(content)
    path.write_bytes(content)
    path.chmod(0o444)
    return path


def asset(source: Path, path: str = "data/model.bin", *, unpacked: bool = False) -> Asset:
    return Asset("https://example.org/file", source.name, path, unpacked)


def placed(root: Path) -> Placed:
    return Placed(root, root.parent / "notes" / "assets.json")


def test_a_file_is_a_link(tmp_path: Path, root: Path) -> None:
    source = stored(tmp_path)
    one = asset(source)
    assert placed(root).lacking([one]) == [one]
    placed(root).place(one, source)
    assert os.path.samefile(root / one.path, source)
    assert placed(root).lacking([one]) == []
    assert os.listdir(root / "data") == ["model.bin"]


def test_what_was_removed_or_declared_anew_is_lacking(tmp_path: Path, root: Path) -> None:
    first, second = stored(tmp_path), stored(tmp_path, b"newer")
    placed(root).place(asset(first), first)
    assert placed(root).lacking([asset(second)]) == [asset(second)]
    placed(root).place(asset(second), second)
    assert (root / "data/model.bin").read_bytes() == b"newer"
    (root / "data/model.bin").unlink()
    assert placed(root).lacking([asset(second)]) == [asset(second)]
    placed(root).place(asset(second), second)


def test_an_archive_is_unpacked(tmp_path: Path, root: Path) -> None:
    source = in_tar(tmp_path / "archive")
    one = asset(source, "models/one", unpacked=True)
    placed(root).place(one, source)
    assert files(root / "models/one") == CONTENT
    assert placed(root).lacking([one]) == []
    assert placed(root).lacking([one._replace(unpacked=False)])


def test_what_is_not_ours_stays(tmp_path: Path, root: Path) -> None:
    source = stored(tmp_path)
    target = root / "data/model.bin"
    target.parent.mkdir()
    target.write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        placed(root).place(asset(source), source)
    assert target.read_text() == "mine"
    # The very same file, brought by hand, is as good.
    target.write_bytes(b"model")
    placed(root).place(asset(source), source)
    # What was changed since it was placed is the user's as well.
    target.unlink()
    target.write_text("changed")
    with pytest.raises(UsageError, match="is there already"):
        placed(root).place(asset(source), source)


def test_over_a_link_that_leads_outside(tmp_path: Path, root: Path) -> None:
    source = stored(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (root / "data").symlink_to(tmp_path / "elsewhere")
    for path in ("data/model.bin", "data/a/b/model.bin"):
        with pytest.raises(UsageError, match="leads outside"):
            placed(root).place(asset(source, path), source)
    assert os.listdir(tmp_path / "elsewhere") == []


def test_nothing_half_there(tmp_path: Path, root: Path) -> None:
    source = in_tar(tmp_path / "archive", {"good": b"1", "../bad": b"2"})
    with pytest.raises(IntegrityError):
        placed(root).place(asset(source, "models/one", unpacked=True), source)
    assert os.listdir(root / "models") == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"data/model.bin": 1}', '{"data/model.bin": {}}'])
def test_damaged_notes_are_none(tmp_path: Path, root: Path, text: str) -> None:
    source = stored(tmp_path)
    placed(root).place(asset(source), source)
    (tmp_path / "notes" / "assets.json").write_text(text)
    assert placed(root).lacking([asset(source)]) == [asset(source)]
    placed(root).place(asset(source), source)
