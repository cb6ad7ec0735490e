"""Assets in the places of a project: linked, unpacked, and nothing of the user's overwritten."""

import os
import shutil
import zlib
from pathlib import Path

import pytest

from envkit.assets.placing import Placed
from envkit.assets.unpacking import unpack
from envkit.declared import AssetConfig
from envkit.environment import placed as notes
from envkit.errors import IntegrityError, MissingError, UsageError
from envkit.store.layout import Store
from tests.assets.test_transfer import sha256
from tests.assets.test_unpacking import CONTENT, files, in_tar


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    made.mkdir()
    return made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.assets.mkdir(parents=True)
    return made


def stored(store: Store, content: bytes = b"model") -> str:
    digest = sha256(content)
    (store.assets / digest).write_bytes(content)
    (store.assets / digest).chmod(0o444)
    return digest


def archived(store: Store, contents: dict[str, bytes] = CONTENT) -> str:
    return stored(store, in_tar(store.root / "archive", contents).read_bytes())


def asset(digest: str, path: str = "data/model.bin", *, unpack: bool = False) -> AssetConfig:
    return AssetConfig("https://example.org/file", digest, path, unpack)


def notes_of(root: Path) -> str:
    return str(root.parent / "notes" / "placed")


def placed(root: Path) -> Placed:
    return Placed(root, Store(root.parent / "store"), notes_of(root))


def test_a_file_is_a_link(store: Store, root: Path) -> None:
    one = asset(stored(store))
    assert placed(root).lacking([one]) == (one,)
    placed(root).place(one)
    assert os.path.samefile(root / one.path, store.assets / one.sha256)
    assert placed(root).lacking([one]) == ()
    assert os.listdir(root / "data") == ["model.bin"]


def test_what_was_removed_or_declared_anew_is_lacking(store: Store, root: Path) -> None:
    first, second = asset(stored(store)), asset(stored(store, b"newer"))
    placed(root).place(first)
    assert placed(root).lacking([second]) == (second,)
    placed(root).place(second)
    assert (root / "data/model.bin").read_bytes() == b"newer"
    (root / "data/model.bin").unlink()
    assert placed(root).lacking([second]) == (second,)
    placed(root).place(second)


def test_an_archive_is_unpacked(store: Store, root: Path) -> None:
    one = asset(archived(store), "models/one", unpack=True)
    placed(root).place(one)
    assert files(root / "models/one") == CONTENT
    assert placed(root).lacking([one]) == ()
    assert placed(root).lacking([one._replace(unpack=False)])
    # Another one takes its place.
    other = asset(archived(store, {"other": b"x"}), "models/one", unpack=True)
    placed(root).place(other)
    assert files(root / "models/one") == {"other": b"x"}
    assert os.listdir(root / "models") == ["one"]


def test_what_is_not_ours_stays(store: Store, root: Path) -> None:
    one = asset(stored(store))
    target = root / "data/model.bin"
    target.parent.mkdir()
    target.write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        placed(root).place(one)
    assert target.read_text() == "mine"
    # The very same file, brought by hand, is as good.
    target.write_bytes(b"model")
    placed(root).place(one)
    # What was changed since it was placed is the user's as well.
    target.unlink()
    target.write_text("changed")
    with pytest.raises(UsageError, match="is there already"):
        placed(root).place(one)


@pytest.mark.parametrize("spoil", ["add", "alter", "remove", "mode"])
def test_an_unpacked_folder_with_something_of_the_users(
    store: Store, root: Path, spoil: str
) -> None:
    one = asset(archived(store), "models/one", unpack=True)
    placed(root).place(one)
    folder = root / "models/one"
    if spoil == "add":
        folder.joinpath("a", "mine").write_text("mine")
    elif spoil == "alter":
        folder.joinpath("a", "one.txt").write_text("ONE")
    elif spoil == "mode":
        folder.joinpath("run.sh").chmod(0o644)
    else:
        folder.joinpath("run.sh").unlink()
    before = files(folder)
    assert [kind for _, kind in placed(root).differences(one)] == [
        {"add": "added", "remove": "missing"}.get(spoil, "altered")
    ]
    with pytest.raises(UsageError, match="is there already"):
        placed(root).place(asset(stored(store), "models/one"))
    assert not placed(root).drop("models/one")
    assert files(folder) == before


def test_what_somebody_else_unpacked(store: Store, root: Path) -> None:
    one = asset(archived(store), "models/one", unpack=True)
    folder = root / "models/one"
    folder.mkdir(parents=True)
    unpack(store.assets / one.sha256, folder, "archive")
    placed(root).place(one)
    assert placed(root).lacking([one]) == ()
    assert files(folder) == CONTENT


def test_a_folder_is_put_right(store: Store, root: Path, tmp_path: Path) -> None:
    one = asset(archived(store), "models/one", unpack=True)
    placed(root).place(one)
    folder, outside = root / "models/one", tmp_path / "outside"
    shutil.rmtree(folder / "a")
    outside.mkdir()
    (folder / "a").symlink_to(outside)
    (folder / "run.sh").unlink()
    (folder / "run.sh").mkdir()
    (folder / "mine").write_text("mine")
    placed(root).restore(one)
    assert files(folder) == {**CONTENT, "mine": b"mine"}
    assert list(placed(root).differences(one)) == [("models/one/mine", "added")]
    assert os.listdir(outside) == []


def test_what_is_declared_no_more_goes(store: Store, root: Path) -> None:
    one, two = asset(stored(store)), asset(archived(store), "models/one", unpack=True)
    for each in (one, two):
        placed(root).place(each)
    assert placed(root).superfluous([two]) == (one.path,)
    for path in placed(root).superfluous([]):
        assert placed(root).drop(path)
    assert files(root) == {}
    assert placed(root).superfluous([]) == ()


def test_over_a_link_that_leads_outside(store: Store, root: Path, tmp_path: Path) -> None:
    digest = stored(store)
    (tmp_path / "elsewhere").mkdir()
    (root / "data").symlink_to(tmp_path / "elsewhere")
    for path in ("data/model.bin", "data/a/b/model.bin"):
        with pytest.raises(UsageError, match="leads outside"):
            placed(root).place(asset(digest, path))
    assert os.listdir(tmp_path / "elsewhere") == []


def test_nothing_outside_is_put_right_or_taken_away(
    store: Store, root: Path, tmp_path: Path
) -> None:
    one, two = asset(stored(store)), asset(archived(store), "data/one", unpack=True)
    for each in (one, two):
        placed(root).place(each)
    outside = tmp_path / "elsewhere"
    (root / "data").rename(outside)
    (root / "data").symlink_to(outside)
    before = files(outside)
    for each in (one, two):
        assert placed(root).state(each) == "changed"
        assert list(placed(root).differences(each)) == [(each.path, "altered")]
        with pytest.raises(UsageError, match="leads outside"):
            placed(root).restore(each)
        assert not placed(root).drop(each.path)
    assert files(outside) == before


def test_what_somebody_put_there_is_kept(store: Store, root: Path) -> None:
    one, two = asset(stored(store)), asset(archived(store), "models/one", unpack=True)
    for each in (one, two):
        target = root / each.path
        target.parent.mkdir(exist_ok=True)
        target.mkdir()
        (target / "thesis").write_text("mine")
        assert placed(root).restore(each) == f"{each.path}.orig"
        assert (root / f"{each.path}.orig" / "thesis").read_text() == "mine"
        assert placed(root).state(each) == "there"
    (root / one.path).unlink()
    (root / one.path).write_text("mine")
    assert placed(root).restore(one) == f"{one.path}.orig1"


def test_a_folder_that_was_emptied_is_not_there(store: Store, root: Path) -> None:
    one = asset(archived(store), "models/one", unpack=True)
    placed(root).place(one)
    placed(root).keep("settings")
    shutil.rmtree(root / one.path)
    (root / one.path).mkdir()
    assert not notes.are_right(notes_of(root), str(root), "settings", True)


def test_an_archive_that_has_gone_from_the_store(store: Store, root: Path) -> None:
    one = asset(archived(store), "models/one", unpack=True)
    placed(root).place(one)
    (store.assets / one.sha256).unlink()
    with pytest.raises(MissingError, match="the archive no more"):
        list(placed(root).differences(one))
    with pytest.raises(UsageError, match="nobody can tell"):
        placed(root).place(asset(archived(store, {"other": b"x"}), "models/one", unpack=True))


def test_a_long_name(store: Store, root: Path) -> None:
    one = asset(stored(store), "x" * 255)
    placed(root).place(one)
    assert placed(root).state(one) == "there"


def test_below_a_file(store: Store, root: Path) -> None:
    (root / "data").write_text("mine")
    with pytest.raises(UsageError, match="data is a file"):
        placed(root).place(asset(stored(store)))


def test_nothing_half_there(store: Store, root: Path) -> None:
    one = asset(archived(store, {"good": b"1", "../bad": b"2"}), "models/one", unpack=True)
    with pytest.raises(IntegrityError):
        placed(root).place(one)
    assert os.listdir(root / "models") == []


def test_what_a_killed_command_left(store: Store, root: Path) -> None:
    one = asset(archived(store), "models/one", unpack=True)
    mark = f".envkit-draft-{zlib.crc32(b'one'):08x}-"
    left = root / "models" / f"{mark}12345678"
    left.joinpath("a").mkdir(parents=True)
    mine = root / "models" / f"{mark}backup"
    mine.write_text("mine")
    placed(root).place(one)
    assert sorted(os.listdir(root / "models")) == [mine.name, "one"]


def test_whether_all_is_right(store: Store, root: Path) -> None:
    one = asset(stored(store))
    # Without notes there is nothing that could be wrong, unless there should be some.
    assert notes.are_right(notes_of(root), str(root), "settings", False)
    assert not notes.are_right(notes_of(root), str(root), "settings", True)
    placed(root).place(one)
    assert not notes.are_right(notes_of(root), str(root), "settings", True)
    placed(root).keep("settings")
    placed(root).keep("other settings that say the same of it")
    assert notes.are_right(notes_of(root), str(root), "settings", True)
    assert not notes.are_right(notes_of(root), str(root), "others", True)
    (root / one.path).unlink()
    assert not notes.are_right(notes_of(root), str(root), "settings", True)


@pytest.mark.parametrize(
    "text",
    ["", "x\n", "envkit-placed 1\nat\n", "envkit-placed 1\nat\tx\n", "envkit-placed 1\nfor\tx"],
)
def test_damaged_notes_are_none(store: Store, root: Path, text: str) -> None:
    one = asset(stored(store))
    placed(root).place(one)
    Path(notes_of(root)).write_text(text)
    assert placed(root).lacking([one]) == (one,)
    assert not notes.are_right(notes_of(root), str(root), "x", True)
    placed(root).place(one)
