"""Locks and requirement files that nobody in their senses would write."""

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from envkit import project
from envkit.errors import EnvkitError
from envkit.locks import inputs, lock, requirements
from envkit.locks.formats import Form, Formats, control, is_control
from envkit.locks.lock import Pin
from envkit.locks.names import name_of, normalize

from .mutations import damaged_text, texts

PATH = Path("/p/requirements.txt")
DIGEST = "a0" * 32
MARKERS: Mapping[str, str] = {
    "implementation_name": "cpython",
    "implementation_version": "3.12.1",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_release": "6.1.0-weird-kernel",
    "platform_system": "Linux",
    "platform_version": "#1 SMP",
    "python_full_version": "3.12.1",
    "python_version": "3.12",
    "sys_platform": "linux",
}

LOCK = f"""\
# Locked by envkit from requirements.in. Change that file, then run `envkit lock`.
{lock.header("3.12", DIGEST)}
--no-binary one
--only-binary=two,three
one==1.0 \\
    --hash=sha256:{DIGEST} \\
    --hash=sha256:{"b1" * 32}
    # via -r requirements.in
two[extra,more]==2.0.post1+local ; python_version >= "3.8" and sys_platform == "linux" \\
    --hash=sha256:{DIGEST}
three @ https://a.invalid/three-1.0.zip ; extra == "x" or os_name in "posix nt" \\
    --hash=sha256:{DIGEST}
four==1!4.0rc1 ; platform_release > "6" --hash=sha256:{DIGEST}
"""

REQUIREMENTS = """\
# what is wanted
-r other.in
-c constraints.txt
--index-url https://a.invalid/simple
--no-binary :all:
one>=1.0,<2 ; python_version < "3.13"  # why
two[extra] ~= 2.0 --hash=sha256:abc
-e ./here
three @ https://user:secret@a.invalid/three-1.0.zip
four @ git+https://a.invalid/four.git
./five-1.0.whl
six == \\
    6.0
"""

# What markers are made of: most of these make no sense, and some are not even markers.
WORDS = [*MARKERS, "extra", "nonsense", *("'3.8'", '"linux"', '"6.1.0-x"', "''", '"*"', '"3.*"')]
OPERATORS = ["<=", "==", "in", "not in", "~=", "===", ">", "!=", "=", ""]
comparisons = st.tuples(*map(st.sampled_from, (WORDS, OPERATORS, WORDS))).map(" ".join)
markers = st.lists(comparisons, min_size=1, max_size=3).flatmap(
    lambda found: st.sampled_from([" and ", " or ", " "]).map(lambda word: word.join(found))
)


@given(damaged_text(LOCK))
def test_a_lock(text: str) -> None:
    lock.python_of(text)
    for pin in lock.pinned(text):
        assert normalize(pin.name) == pin.name
    with contextlib.suppress(EnvkitError):
        found = lock.parse(text, PATH)
        for pin in lock.select([found], MARKERS):
            assert pin.hashes
            assert pin.requirement().splitlines() == [pin.requirement()]


@given(markers)
def test_a_marker(marker: str) -> None:
    text = f"one==1.0 ; {marker} --hash=sha256:{DIGEST}\n"
    with contextlib.suppress(EnvkitError):
        lock.select([lock.parse(text, PATH)], MARKERS)


@given(damaged_text(REQUIREMENTS, LOCK))
def test_a_requirements_file(text: str) -> None:
    lines = tuple(requirements.split(text, "requirements.in"))
    for line in lines:
        requirements.nested(line)
        name_of(line.text)
        Formats([line.text]).of("one")
        with contextlib.suppress(EnvkitError):
            requirements.check([line])
    kept = requirements.without_hashes(text)
    assert not any(line.startswith("--hash") for line in kept)


@given(damaged_text(REQUIREMENTS), damaged_text("six\n-r requirements.in\n-c nothing.txt\n"))
def test_what_a_lock_is_compiled_from(text: str, other: str) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(EnvkitError):
        root = Path(folder)
        (root / "requirements.in").write_text(text, encoding="utf-8")
        (root / "other.in").write_text(other, encoding="utf-8")
        found = project.from_tables(root, {}, {}, {})
        assert found
        group = found.group("default")
        assert inputs.files(group)[0] == root / "requirements.in"
        inputs.direct_names(found, [group])
        assert len(inputs.digest(found, group, "3.12")) == 64
        requirements.check(requirements.of_group(found, group, inputs.files(group)))


@given(st.lists(st.one_of(texts, st.sampled_from([":all:", ":none:", "A_b", ","]))))
def test_format_controls(values: list[str]) -> None:
    lines = [f"{option} {value}" for value in values for option in ("--no-binary", "--only-binary")]
    formats = Formats(lines)
    assert all(formats.of(value) in ("", "wheel", "sdist") for value in values)


names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True).filter(
    lambda name: "--" not in name
)
pins = st.builds(
    Pin,
    name=names,
    version=st.from_regex(
        r"([0-9]!)?[0-9]{1,3}(\.[0-9]{1,3}){0,3}(rc[0-9])?(\+[a-z0-9]{1,4})?", fullmatch=True
    ),
    extras=st.lists(names, max_size=2, unique=True).map(tuple),
    marker=st.sampled_from(["", 'sys_platform == "linux"', "python_version < '3.13'"]),
    url=st.just(""),
    hashes=st.frozensets(st.text("0123456789abcdef", min_size=64, max_size=64), min_size=1),
    form=st.sampled_from(["", "wheel", "sdist"]),
)


def written(pin: Pin, wrapped: bool) -> str:
    """Return a pin's lines as pip-compile writes them, or its one line as a person might."""
    extras = f"[{','.join(pin.extras)}]" if pin.extras else ""
    marker = f" ; {pin.marker}" if pin.marker else ""
    join = " \\\n    " if wrapped else "  "
    hashes = join.join(f"--hash=sha256:{digest}" for digest in sorted(pin.hashes))
    return f"{pin.name}{extras}=={pin.version}{marker}{join}{hashes}\n"


@given(
    st.lists(pins, unique_by=lambda pin: pin.name), st.booleans(), st.sampled_from(["\n", "\r\n"])
)
def test_what_is_written_is_read_back(wanted: list[Pin], wrapped: bool, newline: str) -> None:
    forms: list[tuple[str, Form]] = [(pin.name, pin.form) for pin in wanted]
    controls = [line for name, form in forms if (line := control(name, form))]
    assert all(map(is_control, controls))
    parts = [lock.header(">=3.10", DIGEST) + "\n", *(f"{line}\n" for line in controls)]
    text = "".join([*parts, *(written(pin, wrapped) for pin in wanted)]).replace("\n", newline)
    found = lock.parse(text, PATH)
    assert (found.python, found.inputs, list(found.pins)) == (">=3.10", DIGEST, wanted)
    assert [pin._replace(form="") for pin in wanted] == list(lock.pinned(text))
