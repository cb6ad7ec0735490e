"""What an earlier start of the machine left unsaved: noted, looked at, and made anew if need be."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from envkit import boot, pip
from envkit.environment import stamp
from envkit.store import unsynced
from envkit.store.layout import Store, publish
from tests.support import good
from tests.support.projects import Machine, Project, snapshot

KEYS = ("alpha-1.0", "commands-1.0", "sourced-1.0")


@pytest.fixture
def project(fresh_machine: Machine) -> Project:
    """A project that is on the disk, with files that are no other machine's."""
    fresh_machine.index.add(*(good()[key] for key in KEYS))
    made = fresh_machine.project()
    made.lock(*KEYS)
    made.install()
    confirm(made)
    return made


def confirm(project: Project) -> None:
    """Let it count as synced; to sync may take its time on the disk that the tests are on."""
    unsynced.clear(unsynced.of_this_start(project.machine.store), [])
    stamp.confirm(str(project.venv), stamp.identity(str(project.venv), stamp.STAMP))


def said_to_be_unsynced(project: Project) -> str:
    """Return the start of the machine under which an environment was changed, or "nothing"."""
    values = stamp.read(str(project.venv))
    assert values
    return values["unsynced"][0]


def entry(project: Project, bucket: str, key: str) -> Path:
    """Return the folder in which the store keeps a distribution, or its byte-code."""
    digest = project.machine.index.sha256(good()[key].filename)
    (found,) = (project.machine.store / bucket).glob(f"{digest}*")
    return found


EARLIER = "an-earlier-start." + boot.identity().partition(".")[2]
ANOTHER = "a-start.of-another-machine"


def note_earlier(machine: Machine, bucket: str, name: str, start: str = EARLIER) -> None:
    """Make a note of an entry, as it would be there after the machine was started anew."""
    folder = machine.store / "unsynced" / start
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}+1-1").symlink_to(bucket)


def truncate(path: Path) -> None:
    """Let a file be empty; a new one, as what was seeded is other machines' as well."""
    path.unlink()
    path.write_bytes(b"")


def blank(path: Path) -> None:
    """Let a file keep its size and its time."""
    status = path.stat()
    path.chmod(0o644)
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(
    ("bucket", "key", "file", "damage"),
    [
        ("wheels-v1", "alpha-1.0", "tree/site/alpha/old.py", truncate),
        ("wheels-v1", "alpha-1.0", "tree/site/alpha/old.py", blank),
        ("wheels-v1", "alpha-1.0", "manifest.json", truncate),
        ("wheels-v1", "alpha-1.0", "files.json", Path.unlink),
        ("builds-v1", "sourced-1.0", "tree/site/sourced/__init__.py", Path.unlink),
        ("bytecode-v1", "alpha-1.0", "files.json", blank),
    ],
)
def test_what_is_damaged_is_made_anew(
    project: Project, bucket: str, key: str, file: str, damage: Callable[[Path], None]
) -> None:
    machine = project.machine
    before = snapshot(project.venv, without=[".envkit"])
    place = entry(project, bucket, key)
    damage(place / file)
    note_earlier(machine, bucket, place.name)
    shutil.rmtree(project.venv)
    shutil.rmtree(machine.store / "spares-v1")
    said = project.install().err
    assert f"{place} was damaged" in said
    assert snapshot(project.venv, without=[".envkit"]) == before
    assert len(list((machine.store / "set-aside").iterdir())) == 1
    assert not (machine.store / "unsynced" / EARLIER).exists()
    assert project.envkit("status").code == 0


def test_what_is_whole_is_kept(project: Project) -> None:
    machine = project.machine
    for bucket in ("wheels-v1", "builds-v1", "bytecode-v1"):
        for place in (machine.store / bucket).iterdir():
            note_earlier(machine, bucket, place.name)
    before = machine.entries()
    assert project.envkit("install", "--check").code == 0
    assert machine.entries() == before
    assert not (machine.store / "set-aside").exists()
    assert not (machine.store / "unsynced" / EARLIER).exists()


def test_only_what_is_noted_is_read(project: Project) -> None:
    note_earlier(project.machine, "wheels-v1", entry(project, "wheels-v1", "commands-1.0").name)
    blank(entry(project, "wheels-v1", "alpha-1.0") / "tree/site/alpha/old.py")
    project.envkit("install", "--check")
    assert not (project.machine.store / "set-aside").exists()


def test_what_has_no_manifest_is_made_anew(project: Project) -> None:
    machine = project.machine
    skeletons = list((machine.store / "skeletons-v1").iterdir())
    assert skeletons
    for skeleton in skeletons:
        truncate(skeleton / "pyvenv.cfg")
        note_earlier(machine, "skeletons-v1", skeleton.name)
    before = snapshot(project.venv, without=[".envkit"])
    project.venv.rename(machine.folder / "old")
    shutil.rmtree(machine.store / "spares-v1")
    project.install()
    assert snapshot(project.venv, without=[".envkit"]) == before
    assert machine.leftovers() == []


def test_a_note_of_something_that_never_came(project: Project) -> None:
    note_earlier(project.machine, "wheels-v1", "0" * 64)
    assert project.envkit("install", "--check").code == 0
    assert not (project.machine.store / "unsynced" / EARLIER).exists()


def test_small_files_without_content(project: Project) -> None:
    machine = project.machine
    for path in (machine.store / "interpreters-v1").iterdir():
        truncate(path)
    for path in (machine.store / "selections-v1").iterdir():
        path.unlink()
        path.symlink_to("nowhere")
    shutil.rmtree(project.venv)
    project.install()
    assert project.envkit("status").code == 0


def test_the_index_of_pip_is_asked_for_again(tmp_path: Path) -> None:
    known = pip.default_index(tmp_path)
    assert known
    (remembered,) = tmp_path.iterdir()
    remembered.write_bytes(b"")
    assert pip.default_index(tmp_path) == known


def draft(store: Store, name: str) -> Path:
    made = store.root / "tmp" / name
    made.mkdir(parents=True)
    return made


def test_a_note_that_came_too_late_stays(tmp_path: Path) -> None:
    """Of two entries under one name too: the second is another, and may not be on the disk."""
    store = Store(tmp_path)
    publish(draft(store, "one"), store.wheels / "one")
    listed = unsynced.of_this_start(store.root)
    assert [(note.bucket, note.name) for note in listed] == [("wheels-v1", "one")]
    (store.wheels / "one").rmdir()
    publish(draft(store, "one"), store.wheels / "one")
    unsynced.clear(listed, [str(tmp_path)])
    assert [note.name for note in unsynced.of_this_start(store.root)] == ["one"]
    assert unsynced.of_earlier_starts(store.root) == []


def test_a_sync_that_fails_leaves_the_notes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    publish(draft(store, "one"), store.wheels / "one")
    with pytest.raises(OSError, match="gone"):
        unsynced.clear(unsynced.of_this_start(store.root), [str(tmp_path / "gone")])
    assert len(unsynced.of_this_start(store.root)) == 1


def test_what_is_synced_is_not_noted_any_more(project: Project) -> None:
    machine = project.machine
    for key, mode, expected in (
        ("alpha-1.1", "off", boot.identity()),
        ("alpha-2.0", "now", boot.identity()),
        ("alpha-1.1", "background", "nothing"),
    ):
        machine.index.add(good()[key])
        machine.environ["ENVKIT_COMPILE"] = mode
        project.lock(key)
        project.install()
        machine.rest()
        assert said_to_be_unsynced(project) == expected
        noted = {note.bucket for note in unsynced.of_this_start(machine.store)}
        assert ("wheels-v1" in noted) == (expected != "nothing")


def test_a_change_is_not_on_the_disk(project: Project) -> None:
    """Byte-code is linked into an environment that was there, and was on the disk, before it."""
    project.lock("alpha-1.0")
    project.install(env={"ENVKIT_COMPILE": "off"})
    confirm(project)
    assert said_to_be_unsynced(project) == "nothing"
    inode = project.venv.stat().st_ino
    project.install(env={"ENVKIT_COMPILE": "now"})
    assert project.venv.stat().st_ino == inode
    assert said_to_be_unsynced(project) == boot.identity()


def test_an_environment_of_an_earlier_start(project: Project) -> None:
    place = project.venv / stamp.STAMP
    text = place.read_text()
    damaged = project.venv / "bin" / "commands"
    right = damaged.read_bytes()
    damaged.write_bytes(b"")
    assert "Already up to date" in project.install().err
    place.write_text(text.replace("unsynced\tnothing", f"unsynced\t{EARLIER}"))
    assert project.envkit("status").code == 1
    assert "Installed" in project.install().err
    assert damaged.read_bytes() == right
    assert "Already up to date" in project.install().err


def test_another_machine_looks_after_its_own(project: Project) -> None:
    """One that works on the same files, as over a network, may well be running."""
    machine = project.machine
    place = project.venv / stamp.STAMP
    text = place.read_text().replace("unsynced\tnothing", f"unsynced\t{ANOTHER}")
    place.write_text(text)
    note_earlier(machine, "wheels-v1", entry(project, "wheels-v1", "alpha-1.0").name, ANOTHER)
    truncate(entry(project, "wheels-v1", "alpha-1.0") / "files.json")
    assert "Already up to date" in project.install().err
    assert project.envkit("install", "--check").code == 0
    assert len(list((machine.store / "unsynced" / ANOTHER).iterdir())) == 1


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_stamp_that_was_cut_off(project: Project, kept: float) -> None:
    place = project.venv / stamp.STAMP
    content = place.read_bytes()
    place.write_bytes(content[: int(len(content) * kept)])
    assert stamp.read(str(project.venv)) is None
    before = snapshot(project.venv, without=[".envkit"])
    assert "Installed" in project.install().err
    assert snapshot(project.venv, without=[".envkit"]) == before


def test_a_stamp_stays_the_same_when_it_is_written_again(project: Project) -> None:
    place = project.venv / stamp.STAMP
    content = place.read_bytes()
    values = stamp.read(str(project.venv))
    assert values
    stamp.write(str(project.venv), values)
    assert place.read_bytes() == content
