"""Wheels of which something is not as it was, and wheels that say anything of themselves."""

import hashlib
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from envkit.errors import EnvkitError
from envkit.store import manifest, wheels
from tests.support import Distribution
from tests.support.tampering import rewritten

from .mutations import damaged, mutated

ONE = Distribution(
    name="one",
    files={"one/__init__.py": "X = 1\n", "one/zeros.bin": b"\0" * 3000, "na\u00efve.py": ""},
    requires=("two>=1.0", 'three ; extra == "more"'),
    console_scripts={"one": "one:main", "one-more": "one.deep:Main.run"},
    gui_scripts={"one-window": "one:main"},
    scripts={"script": "#!python\nprint()\n"},
    data={"share/one.txt": "one\n"},
    headers={"one.h": "\n"},
)


def made() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return ONE.wheel(Path(folder)).read_bytes()


WHEEL = made()
INFO = "one-1.0.dist-info"


def stored(content: bytes) -> bool:
    """Store a wheel, or not, and return which; what is in the store then is whole."""
    with tempfile.TemporaryDirectory() as folder:
        archive, entry = Path(folder, "one-1.0-py3-none-any.whl"), Path(folder, "store", "entry")
        archive.write_bytes(content)
        try:
            wheels.add(
                archive,
                name="one",
                sha256=hashlib.sha256(content).hexdigest(),
                entry=entry,
                draft=Path(folder, "draft"),
                version="1.0",
            )
        except EnvkitError as error:
            refusal = error.message
        else:
            refusal = ""
        assert refusal.isprintable()
        assert entry.exists() != bool(refusal)
        if refusal:
            return False
        assert manifest.read(str(entry)).name.lower() == "one"
        for below, file in manifest.files(manifest.folders(str(entry))):
            path = entry / manifest.TREE / below / file.name
            assert hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
        return True


def test_the_wheel_itself_is_good() -> None:
    assert stored(WHEEL)
    assert not stored(WHEEL[:-1])


@given(mutated(WHEEL))
def test_a_wheel(content: bytes) -> None:
    stored(content)


# The directory, which is smaller than what it lists, has a test of its own.
DIRECTORY = WHEEL.index(b"PK\x01\x02")


@given(mutated(WHEEL[DIRECTORY:]))
def test_the_directory_of_a_wheel(content: bytes) -> None:
    stored(WHEEL[:DIRECTORY] + content)


ENTRY_POINTS = b"[console_scripts]\none = one:main\n\n[gui_scripts]\ntwo = one:Main.run [extra]\n"
METADATA = ONE.metadata.encode() + b"\nA description.\n\nIt goes on.\n"
WHEEL_FILE = b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
RECORD = b"one/__init__.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\none.py,,\n"


@given(
    st.one_of(
        st.tuples(st.just("METADATA"), damaged(METADATA)),
        st.tuples(st.just("WHEEL"), damaged(WHEEL_FILE)),
        st.tuples(st.just("entry_points.txt"), damaged(ENTRY_POINTS)),
        st.tuples(st.just("RECORD"), damaged(RECORD)),
    )
)
def test_what_a_wheel_says_of_itself(text: tuple[str, bytes]) -> None:
    name, content = text
    stored(rewritten({f"{INFO}/{name}": lambda _: content})(WHEEL))


@given(damaged(RECORD))
def test_a_record_with_more_lines(lines: bytes) -> None:
    stored(rewritten({f"{INFO}/RECORD": lambda text: lines + b"\n" + text})(WHEEL))
