"""Wheels that mean harm, or look as if they did: what is refused, and what is none the worse."""

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from envkit.errors import EnvkitError, IntegrityError
from envkit.store import digest, manifest, wheels
from tests.support import Distribution, Tampering
from tests.support.backend import Member, regular
from tests.support.tampering import Alteration, overlap, relisted, rewritten, stating

ZEROS = b"\0" * (1 << 20)
INFO = "bad-1.0.dist-info"
DATA = "bad-1.0.data"


def bad(*members: Member, alter: Alteration = bytes) -> Distribution:
    """Return a distribution with some members more, its wheel altered in the end."""
    return Distribution(
        name="bad", files={"bad.py": "X = 1\n"}, tampering=Tampering(members=members, alter=alter)
    )


def add(one: Distribution, folder: Path, version: str = "") -> manifest.Manifest:
    """Store the wheel of a distribution and return what is known of it."""
    archive = one.wheel(folder / "made")
    entry = folder / "store" / "entry"
    wheels.add(
        archive,
        name="bad",
        sha256=digest.sha256(archive),
        entry=entry,
        draft=folder / "draft",
        version=version,
    )
    found = manifest.read(str(entry))
    assert found
    return found


def refused(one: Distribution, folder: Path, version: str = "") -> str:
    """Return what a wheel is refused for; nothing may be in the store."""
    with pytest.raises(IntegrityError) as raised:
        add(one, folder, version)
    assert not (folder / "store").exists()
    message = raised.value.message
    assert message.isprintable()
    assert len(message) < 400
    assert raised.value.hint.isprintable()
    return message


def refused_unwritten(one: Distribution, folder: Path) -> str:
    """Return what a wheel is refused for before anything is written."""
    message = refused(one, folder)
    assert not (folder / "draft").exists()
    return message


def stored(found: manifest.Manifest) -> Mapping[str, bytes]:
    """Return the files of an entry, by their places below its tree."""
    tree = Path(found.path, manifest.TREE)
    return {
        f"{folder}/{file.name}": (tree / folder / file.name).read_bytes()
        for folder, file in manifest.files(manifest.folders(found.path))
    }


def test_a_member_that_is_larger_than_the_directory_says(tmp_path: Path) -> None:
    bomb = bad(regular("bomb.bin", ZEROS), alter=stating("bomb.bin", file_size=10))
    message = refused(bomb, tmp_path)
    assert "bomb.bin: it is larger than the archive's directory says" in message
    assert (tmp_path / "draft" / "tree" / "site" / "bomb.bin").stat().st_size <= 10


@pytest.mark.parametrize("size", [1 << 18, (1 << 18) + 100, (1 << 18) + 258, (1 << 19) + 7])
def test_a_member_that_ends_behind_a_full_piece(tmp_path: Path, size: int) -> None:
    content = b"\0" * size
    assert stored(add(bad(regular("zeros.bin", content)), tmp_path))["site/zeros.bin"] == content


def test_something_behind_the_end_of_a_member(tmp_path: Path) -> None:
    more = os.urandom(1 << 19)

    def longer(archive: bytes) -> bytes:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            first, second = opened.infolist()[:2]
        end = second.header_offset
        alter = stating(
            first.filename, header_offset=0, compress_size=first.compress_size + len(more)
        )
        return alter(archive[:end] + more + archive[end:])

    assert "bad.py: there is something behind its end" in refused(bad(alter=longer), tmp_path)


def test_members_that_begin_at_one_place(tmp_path: Path) -> None:
    bomb = bad(regular("bomb.bin", ZEROS), alter=relisted(overlap))
    assert "overlaps another in the archive" in refused_unwritten(bomb, tmp_path)


def test_a_member_that_reaches_into_the_next(tmp_path: Path) -> None:
    bomb = bad(regular("bomb.bin", ZEROS), alter=stating("bad.py", compress_size=500))
    assert "'bomb.bin' overlaps another" in refused_unwritten(bomb, tmp_path)


def test_a_member_that_reaches_into_the_directory(tmp_path: Path) -> None:
    bomb = bad(alter=stating(f"{INFO}/RECORD", compress_size=100_000))
    assert "overlaps the archive's directory" in refused_unwritten(bomb, tmp_path)


def test_more_than_there_is_room_for(tmp_path: Path) -> None:
    bomb = bad(regular("bomb.bin", ZEROS), alter=stating("bomb.bin", file_size=1 << 60))
    archive = bomb.wheel(tmp_path / "made")
    with pytest.raises(EnvkitError) as raised:
        wheels.add(
            archive,
            name="bad",
            sha256=digest.sha256(archive),
            entry=tmp_path / "store" / "entry",
            draft=tmp_path / "draft",
        )
    assert "unpacks to 1152921504.6 GB, and the store's filesystem has " in raised.value.message
    assert raised.value.message.endswith(" free")
    assert "$ENVKIT_STORE" in raised.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize(
    ("name", "alter"),
    [
        ("not-utf-8-\u00e4.py", lambda content: content.replace(b"\xc3\xa4", b"\xff\xfe")),
        ("surrogate-\u20ac.py", lambda content: content.replace(b"\xe2\x82\xac", b"\xed\xa0\x80")),
        ("two.py", stating("two.py", filename="two.py\0.txt")),
        ("a\u202egnp.py", None),
        ("a\u2066b.py", None),
        ("a\u200bb.py", None),
        ("a\x7fb.py", None),
        ("a\x9bb.py", None),
        ("a/" * 300 + "b.py", None),
        ("/".join(["x" * 200] * 3), None),
    ],
)
def test_names_that_are_no_names(tmp_path: Path, name: str, alter: Alteration | None) -> None:
    refused_unwritten(bad(regular(name, ""), alter=alter or bytes), tmp_path)


@pytest.mark.parametrize("name", ["con.py", "aux.py", "NUL", "com1.txt", "a b.py", "ends.", "-a"])
def test_names_that_trouble_only_windows(tmp_path: Path, name: str) -> None:
    assert stored(add(bad(regular(name, "1")), tmp_path))[f"site/{name}"] == b"1"


@pytest.mark.parametrize(
    "names",
    [
        ("a", "a/b.py"),
        ("a/b.py", "a"),
        ("a", "a/"),
        ("a/b.py", f"{DATA}/purelib/a"),
        (f"{DATA}/scripts/a", f"{DATA}/data/bin/a/b"),
    ],
)
def test_what_is_both_a_file_and_a_folder(tmp_path: Path, names: tuple[str, str]) -> None:
    one = bad(*(regular(name, "") for name in names))
    assert "is both a file and a folder" in refused_unwritten(one, tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("a.py", f"{DATA}/purelib/a.py"),
        (f"{DATA}/platlib/a.py", f"{DATA}/purelib/a.py"),
        (f"{DATA}/scripts/a", f"{DATA}/data/bin/a"),
    ],
)
def test_two_members_with_one_place(tmp_path: Path, names: tuple[str, str]) -> None:
    one = bad(*(regular(name, "") for name in names))
    assert "is there twice" in refused_unwritten(one, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        f"{DATA}/data/.envkit/stamp",
        f"{DATA}/data/.Envkit/stamp",
        f"{DATA}/data/pyvenv.cfg",
        f"{DATA}/purelib/other-1.0.dist-info/METADATA",
        f"{DATA}/platlib/{INFO}/direct_url.json",
        f"{DATA}/scripts/folder/script",
        f"{DATA}/scripts/-rf",
        f"{DATA}/nowhere/a",
        f"{DATA}/purelib",
        f"{DATA}/a",
    ],
)
def test_places_where_nothing_may_be_put(tmp_path: Path, name: str) -> None:
    one = bad(regular(name, ""))
    assert "is for a place where nothing may be put" in refused_unwritten(one, tmp_path)


@pytest.mark.parametrize("folder", ["other-1.0.dist-info", "other-1.0.DIST-INFO"])
def test_the_metadata_of_another(tmp_path: Path, folder: str) -> None:
    one = bad(regular(f"{folder}/METADATA", "Name: other\nVersion: 1.0\n"))
    assert "should have one .dist-info folder, of bad" in refused_unwritten(one, tmp_path)


def test_a_data_folder_in_a_data_folder(tmp_path: Path) -> None:
    # It is a folder like others; only the outermost one has a meaning.
    one = bad(regular(f"{DATA}/data/{DATA}/scripts/a", ""), regular(f"x/{DATA}/scripts/a", ""))
    found = stored(add(one, tmp_path))
    assert {f"data/{DATA}/scripts/a", f"site/x/{DATA}/scripts/a"} <= {*found}


@pytest.mark.parametrize("command", ["-rf", "--version", "a/b", "..", "a\u202eb"])
def test_commands_that_no_shell_should_see(tmp_path: Path, command: str) -> None:
    one = Distribution(name="bad", console_scripts={command: "bad:main"})
    assert "is not valid" in refused(one, tmp_path)


def test_a_default_section_is_no_section_of_commands(tmp_path: Path) -> None:
    text = b"[DEFAULT]\nwrong = os:abort\n\n[console_scripts]\nright = bad:main\n"
    one = Distribution(
        name="bad",
        console_scripts={"right": "bad:main"},
        tampering=Tampering(alter=rewritten({"entry_points.txt": lambda _: text})),
    )
    assert add(one, tmp_path).console_scripts == {"right": "bad:main"}


@pytest.mark.parametrize(
    ("old", "new", "phrase"),
    [
        (b"Version: 1.0", b"", "has '' for a version, which is none"),
        (b"Version: 1.0", b"Version: latest", "has 'latest' for a version, which is none"),
        (b"Version: 1.0", b"Version: 1.0; rm -rf /", "which is none"),
        (b"Version: 1.0", b"Version: 1.0\x1b[31m", "which is none"),
        (b"Version: 1.0", b"Version: " + b"1" * 5000 + b"!x", "which is none"),
        (b"Version: 1.0", "Version: 1.0\u202e".encode(), "which is none"),
        (b"Version: 1.0", b"Version: 2.0", "has version 2.0, not 1.0"),
        (b"Name: bad", b"Name: ../bad", "its metadata names '../bad', not bad"),
        (b"Name: bad", b"Name: b\x1bad", "its metadata names"),
        (b"Name: bad", b"Name: " + b"bad" * 5000, "its metadata names"),
        (b"Name: bad", b"Name: bad\n .", "its metadata names"),
        (b"Name: bad", b"", "its metadata names ''"),
        (b"Name: bad", b"Name: bad\nSummary: \xff", "METADATA: not UTF-8 at byte"),
    ],
)
def test_metadata_that_is_absurd(tmp_path: Path, old: bytes, new: bytes, phrase: str) -> None:
    alter = rewritten({"METADATA": lambda text: text.replace(old, new)})
    assert phrase in refused(bad(alter=alter), tmp_path, version="1.0")


@pytest.mark.parametrize("version", ["1.0", "1", "1.0.0", "v1.0"])
def test_a_version_may_be_written_in_several_ways(tmp_path: Path, version: str) -> None:
    assert add(bad(), tmp_path, version).version == "1.0"


@pytest.mark.parametrize("name", ["METADATA", "WHEEL", "RECORD", "entry_points.txt"])
def test_texts_of_enormous_size(tmp_path: Path, name: str) -> None:
    one = Distribution(
        name="bad",
        console_scripts={"bad": "bad:main"},
        tampering=Tampering(alter=stating(f"{INFO}/{name}", file_size=100_000_000)),
    )
    assert f"{INFO}/{name} has 100 MB" in refused(one, tmp_path)


def test_a_text_that_is_larger_than_the_directory_says(tmp_path: Path) -> None:
    alter = rewritten({"METADATA": lambda text: text + b"\n" + ZEROS * 20})
    truth = alter(Path(bad().wheel(tmp_path / "plain")).read_bytes())
    one = bad(alter=lambda _: stating(f"{INFO}/METADATA", file_size=1000)(truth))
    assert "larger than the archive's directory says" in refused_unwritten(one, tmp_path)


@pytest.mark.parametrize("row", [b"bad.py,sha256=,6\n", b"bad.py,sha256=AAAA,6\n"])
def test_a_digest_that_is_none(tmp_path: Path, row: bytes) -> None:
    alter = rewritten({"RECORD": lambda text: text + row})
    assert "is no digest" in refused_unwritten(bad(alter=alter), tmp_path)


def test_a_record_of_what_is_not_there(tmp_path: Path) -> None:
    # An uninstallation would take away what such a RECORD names; that of an environment has none
    # of it.
    rows = b"gone.py,,\n../../../../etc/passwd,,\n/etc/shadow,,\n"
    found = add(bad(alter=rewritten({"RECORD": lambda text: rows + text})), tmp_path)
    record = stored(found)[f"site/{INFO}/RECORD"]
    assert b"bad.py,sha256=" in record
    assert b"gone" not in record
    assert b"/etc/" not in record


@pytest.fixture
def caseless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for a filesystem that takes `A` and `a` for one name, as those of macOS do.

    Only as far as what is made is concerned: the names of this test are folded.
    """
    make, opened = os.mkdir, os.open

    def folded(path: object) -> str:
        head, mark, tail = os.fspath(path).partition("/draft/tree/")  # type: ignore[call-overload]
        return str(head + mark + tail.lower())

    monkeypatch.setattr(
        os, "mkdir", lambda path, *rest, **named: make(folded(path), *rest, **named)
    )
    monkeypatch.setattr(
        os, "open", lambda path, *rest, **named: opened(folded(path), *rest, **named)
    )


TWO_OR_ONE = [
    ("Name.py", "name.py"),
    ("Folder/a.py", "folder/b.py"),
    ("folder/a", "FOLDER"),
    (f"{INFO}/Installer", f"{INFO}/x"),
    (f"{DATA}/scripts/run", f"{DATA}/data/bin/Run"),
]


@pytest.mark.parametrize(("one", "other"), TWO_OR_ONE)
def test_names_that_differ_by_case_alone(tmp_path: Path, one: str, other: str) -> None:
    found = stored(add(bad(regular(one, one), regular(other, other)), tmp_path))
    assert {one.encode(), other.encode()} <= {*found.values()}


@pytest.mark.usefixtures("caseless")
@pytest.mark.parametrize(("one", "other"), TWO_OR_ONE)
def test_names_that_are_one_to_a_filesystem(tmp_path: Path, one: str, other: str) -> None:
    message = refused(bad(regular(one, one), regular(other, other)), tmp_path)
    assert "and another have one name on this filesystem" in message
