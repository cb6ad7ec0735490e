"""envkit's own files, damaged: what they belong to counts as unfinished, or the error says so."""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from hypothesis import given

from envkit import interpreter
from envkit.environment import quick, ready, stamp, tops
from envkit.environment import record as records
from envkit.environment.halves import Half
from envkit.environment.parts import Distribution
from envkit.environment.record import Record, Recorded
from envkit.environment.tree import Layout
from envkit.errors import AlteredError
from envkit.interpreter import Interpreter
from envkit.store import manifest
from envkit.store.layout import Store
from envkit.store.manifest import File, Manifest

from .mutations import damaged

PYTHON = Interpreter(
    "/p/python3",
    (10, 20),
    "3.12.1",
    "cpython-312",
    "cpython-312",
    "cb0d",
    {"python_version": "3.12"},
)
LAYOUT = Layout.of("3.12")
ABOUT = Manifest(
    path="",
    name="One",
    version="1.0",
    dist_info="one-1.0.dist-info",
    requires=("two>=1",),
    console_scripts={"one": "one:main"},
    scripts=("script",),
)
FILE = File("one.py", False, 3, 1_700_000_000_000_000_000, 12345, "a0" * 32)


def environment(root: Path) -> Path:
    """Make something that says it is a finished environment, and return its folder."""
    venv = root / ".venv"
    (venv / stamp.STATE).mkdir(parents=True)
    (venv / "bin").mkdir()
    (root / "mutex").touch()
    part = Recorded("a link ", "b", "one", "1.0", ("bin/one", f"{LAYOUT.site}/one"))
    records.write(str(venv), Record(str(venv), PYTHON, (part,)))
    stamp.write_folders(str(venv), [stamp.folder_line(str(venv), "bin")])
    stamp.write(
        str(venv),
        {
            "location": [str(venv)],
            "variables": [stamp.variables()],
            "group": ["default"],
            "configured": ["yes"],
            "spare": [str(root / "spare")],
            "mutex": [str(root / "mutex")],
            "lacking": ["nothing"],
            "summary": ["1 distribution"],
            "gpu": ["nothing"],
            "files": ["nothing"],
            "overrides": stamp.override_lines(),
            "content": [stamp.content_digest([])],
            "record": [stamp.identity(str(venv), stamp.RECORD)],
            "input": [f"{root}/envkit.toml\tabsent"],
            "interpreter": ["/p/python3\tabsent"],
            "container": [stamp.folder_line(str(venv), "bin")],
            "unsynced": ["nothing"],
        },
    )
    stamp.settle(str(venv))
    return venv


def content_of(name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return (environment(Path(folder)) / name).read_bytes()


@contextlib.contextmanager
def with_damage(name: str, content: bytes) -> Iterator[str]:
    """Lend an environment one of whose files has another content."""
    with tempfile.TemporaryDirectory() as folder:
        venv = environment(Path(folder))
        (venv / name).write_bytes(content)
        yield str(venv)


def look_at(venv: str) -> None:
    """Ask of an environment what commands ask of it."""
    half = Half(venv)
    half.is_drifted(PYTHON)
    half.changed_folders()
    half.folder_lines()
    tops.known(half.record)
    if half.stamp:
        stamp.is_current(venv, half.stamp)
    assert quick.install_in(os.path.dirname(venv)) in (None, "Already up to date: 1 distribution")


def test_the_environment_itself_is_good() -> None:
    with tempfile.TemporaryDirectory() as folder:
        venv = environment(Path(folder))
        half = Half(str(venv))
        assert half.stamp
        assert half.record
        assert half.record.interpreter == PYTHON
        assert half.folder_lines()
        assert stamp.is_settled(str(venv))
        assert quick.install_in(folder) == "Already up to date: 1 distribution"


@given(damaged(content_of(stamp.STAMP)))
def test_a_stamp(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        venv = environment(Path(folder))
        (venv / stamp.STAMP).write_bytes(content)
        quick.install_in(folder)
        half = Half(str(venv))
        half.is_drifted(PYTHON)
        half.changed_folders()
        if half.stamp:
            stamp.is_current(str(venv), half.stamp)
        assert {*os.listdir(folder)} == {".venv", "mutex"}


@given(damaged(content_of(stamp.FOLDERS)))
def test_the_folders_of_an_environment(content: bytes) -> None:
    with with_damage(stamp.FOLDERS, content) as venv:
        os.unlink(f"{venv}/{stamp.SETTLED}")
        look_at(venv)


@given(damaged(content_of(stamp.SETTLED)))
def test_the_note_that_folders_were_looked_at(content: bytes) -> None:
    with with_damage(stamp.SETTLED, content) as venv:
        look_at(venv)


@given(damaged(content_of(stamp.RECORD)))
def test_a_record(content: bytes) -> None:
    with with_damage(stamp.RECORD, content) as venv:
        look_at(venv)


def entry(folder: str) -> str:
    manifest.write(folder, ABOUT, {"site": (FILE,), "site/one": (FILE, FILE)})
    return folder


def stored(name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return Path(entry(folder), name).read_bytes()


def read_entry(name: str, content: bytes, read: Callable[[str], object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(entry(folder), name)
        path.chmod(0o644)
        path.write_bytes(content)
        with contextlib.suppress(AlteredError):
            read(folder)


def test_the_entry_itself_is_good() -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert manifest.read(entry(folder)) == ABOUT._replace(path=folder)
        assert manifest.folders(folder)["site/one"] == (FILE, FILE)


@given(damaged(stored(manifest.MANIFEST)))
def test_a_manifest(content: bytes) -> None:
    def read(folder: str) -> None:
        found = manifest.read(folder)
        assert all(isinstance(text, str) for text in (found.name, found.version, *found.requires))

    read_entry(manifest.MANIFEST, content, read)


@given(damaged(stored(manifest.FILES)))
def test_the_files_of_a_manifest(content: bytes) -> None:
    def read(folder: str) -> None:
        for below, file in manifest.files(manifest.folders(folder)):
            assert isinstance(below, str)
            assert len(file) == len(FILE)

    read_entry(manifest.FILES, content, read)


@given(damaged(json.dumps(PYTHON._asdict()).encode()))
def test_what_an_interpreter_said(content: bytes) -> None:
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        found = interpreter.from_json(json.loads(content))
        assert isinstance(found.bytecode_kind, str)
        assert isinstance(found.short_version, str)


def shelf(store: Store) -> tuple[Distribution, Path]:
    """Fill the shelf of a distribution, and return that and the file that describes the shelf."""
    folder = store.root / "wheels-v1" / "entry"
    source = folder / "tree" / "site" / "one"
    source.mkdir(parents=True)
    (source / "one.py").write_text("1\n")
    status = (source / "one.py").stat()
    file = File("one.py", False, status.st_size, status.st_mtime_ns, status.st_ino, "a0" * 32)
    manifest.write(
        str(folder), ABOUT._replace(console_scripts={}, scripts=()), {"site/one": (file,)}
    )
    part = Distribution("one", "1.0", str(folder), "", "/p/python", False)
    ready.fill(store, part, LAYOUT)
    (about,) = store.ready.glob("*/about.json")
    return part, about


def shelved() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return shelf(Store(Path(folder)))[1].read_bytes()


@given(damaged(shelved()))
def test_a_shelf(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        part, about = shelf(store)
        about.write_bytes(content)
        with contextlib.suppress(AlteredError):
            found = ready.find(str(store.ready), part, LAYOUT)
            assert found
            assert all(isinstance(top, str) for top in found.tops)
            ready.check(found, found.ready)
        ready.fill(store, part, LAYOUT)
        found = ready.find(str(store.ready), part, LAYOUT)
        assert found
