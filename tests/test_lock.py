"""Reading locks, choosing from them, and telling a stale one."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envkit import project
from envkit.errors import UsageError
from envkit.locks import inputs, lock
from envkit.locks.formats import Formats, control, is_control
from envkit.locks.lock import Lock, Pin
from envkit.project import Project

A, B = "a" * 64, "b" * 64
PATH = Path("/p/requirements.txt")
LINUX: Mapping[str, str] = {"sys_platform": "linux", "python_version": "3.11", "os_name": "posix"}

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True).filter(
    lambda name: "--" not in name
)
versions = st.from_regex(
    r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}(rc[0-9])?(\+[a-z0-9]{1,4})?", fullmatch=True
)
digests = st.integers(0, 2**256 - 1).map("{:064x}".format)
pins = st.builds(
    Pin,
    name=names,
    version=versions,
    extras=st.just(()),
    marker=st.sampled_from(["", 'sys_platform == "linux"', 'python_version < "3.11"']),
    url=st.just(""),
    hashes=st.frozensets(digests, min_size=1, max_size=3),
)


def parsed(text: str) -> tuple[Pin, ...]:
    return lock.parse(text, PATH).pins


def written(pin: Pin) -> str:
    """Return a pin as pip-compile writes it."""
    marker = f" ; {pin.marker}" if pin.marker else ""
    lines = [f"{pin.name}=={pin.version}{marker}"]
    lines += [f"    --hash=sha256:{digest}" for digest in sorted(pin.hashes)]
    return " \\\n".join(lines) + "\n    # via -r requirements.in\n"


@given(st.lists(pins, unique_by=lambda pin: pin.name))
def test_what_pip_compile_writes_is_read_back(wanted: list[Pin]) -> None:
    controls = "".join(f"{control(pin.name, pin.form)}\n" for pin in wanted)
    assert list(parsed(controls + "".join(map(written, wanted)))) == wanted


@pytest.mark.parametrize(
    ("lines", "form"),
    [
        ([], ""),
        (["--no-binary a"], "sdist"),
        (["--no-binary=A.x,a"], "sdist"),
        (["--only-binary a"], "wheel"),
        (["--no-binary :all:"], "sdist"),
        (["--no-binary :all:", "--only-binary b,a"], "wheel"),
        (["--only-binary a", "--no-binary :all:"], "sdist"),
        (["--no-binary a", "--only-binary b"], "sdist"),
        (["--no-binary :all:", "--no-binary :none:"], ""),
        (["--no-binary a", "--no-binary :none:"], ""),
    ],
)
def test_format_controls_add_up(lines: list[str], form: str) -> None:
    """As `pip install --help` says of them: both accumulate, and the later of two counts."""
    formats = Formats()
    for line in lines:
        assert is_control(line)
        formats.add(line)
    assert formats.of("a") == form


@pytest.mark.parametrize("line", ["--no-binary", "--pre", "--no-binaries a", "a --no-binary a"])
def test_what_is_no_format_control(line: str) -> None:
    assert not is_control(line)


def test_header() -> None:
    text = f"# Locked by envkit.\n{lock.header('>=3.10,<4', A)}\n"
    found = lock.parse(text, PATH)
    assert (found.python, found.inputs, found.pins) == (">=3.10,<4", A, ())
    assert lock.python_of(text) == ">=3.10,<4"
    assert lock.python_of("# some comment\n") == ""


def test_forms_of_a_pin() -> None:
    found = parsed(
        f"Zope.Interface[test, docs]==1.0 --hash=sha256:{A}  # a note\n"
        f'b == 2.0 ; os_name == "posix" --hash=sha256:{A} --hash=sha256:{B}\n'
        f"c @ https://example.org/c-1.0.zip --hash=sha256:{B}\n"
    )
    assert found == (
        Pin(
            name="zope-interface",
            version="1.0",
            extras=("test", "docs"),
            marker="",
            url="",
            hashes=frozenset({A}),
        ),
        Pin(
            name="b",
            version="2.0",
            extras=(),
            marker='os_name == "posix"',
            url="",
            hashes=frozenset({A, B}),
        ),
        Pin(
            name="c",
            version="",
            extras=(),
            marker="",
            url="https://example.org/c-1.0.zip",
            hashes=frozenset({B}),
        ),
    )
    assert found[1].requirement() == f"b==2.0 --hash=sha256:{A} --hash=sha256:{B}"
    assert [str(pin) for pin in found[1:]] == ["b 2.0", "c @ https://example.org/c-1.0.zip"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a==1.0\n", "requirements.txt:1: a has no sha256 hash"),
        (f"\n# x\na>=1.0 --hash=sha256:{A}\n", "requirements.txt:3: not a pin: 'a>=1.0'"),
        ("--index-url https://x\n", "requirements.txt:1: --index-url cannot stand in a lock"),
        ("-e .\n", "requirements.txt:1: -e cannot stand in a lock"),
        (f"a==1.0 --hash=sha256:{A}\nA==2 --hash=sha256:{A}\n", "requirements.txt:2: a is pinned"),
        ("a==1.0 --hash=md5:abc\n", "requirements.txt:1: a has no sha256 hash"),
    ],
)
def test_what_is_no_lock(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(text)
    assert caught.value.message.startswith(message)


def test_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    with pytest.raises(UsageError, match=r"requirements\.txt does not exist"):
        lock.read(path)
    path.write_bytes(b"a\xff")
    with pytest.raises(UsageError, match="not UTF-8 at byte 1"):
        lock.read(path)


def test_pins_of_any_requirements_file() -> None:
    text = f"-i https://x\n# c==9\na==1.0\nb>=2\nc==3 \\\n    --hash=sha256:{A}\n"
    assert [(pin.name, pin.version, len(pin.hashes)) for pin in lock.pinned(text)] == [
        ("a", "1.0", 0),
        ("c", "3", 1),
    ]


def a_lock(text: str, name: str = "requirements.txt") -> Lock:
    return lock.parse(text, PATH.with_name(name))


def test_select_by_marker() -> None:
    one = a_lock(
        f'a==1 ; sys_platform == "win32" --hash=sha256:{A}\n'
        f'a==2 ; sys_platform != "win32" --hash=sha256:{A}\n'
        f'b==1 ; python_version < "3.11" --hash=sha256:{A}\n'
    )
    assert [str(pin) for pin in lock.select([one], LINUX)] == ["a 2"]


def test_select_from_several() -> None:
    default = a_lock(f"b==1 --hash=sha256:{A}\n")
    dev = a_lock(f"a==1 --hash=sha256:{A}\nb==1 --hash=sha256:{A}\n", "requirements-dev.txt")
    assert [str(pin) for pin in lock.select([default, dev], LINUX)] == ["b 1", "a 1"]


def test_locks_that_disagree() -> None:
    default = a_lock(f"b==1 --hash=sha256:{A}\n")
    dev = a_lock(f"b==2 --hash=sha256:{A}\n", "requirements-dev.txt")
    with pytest.raises(UsageError) as caught:
        lock.select([default, dev], LINUX)
    assert caught.value.message == "requirements.txt has b 1, requirements-dev.txt has b 2"


@pytest.fixture
def found(tmp_path: Path) -> Project:
    (tmp_path / "envkit.toml").touch()
    (tmp_path / "requirements.in").write_text("a\n-r more/base.in\n")
    (tmp_path / "requirements-dev.in").write_text("-c requirements.txt\nb\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "base.in").write_text("c\n-c ../bounds.txt\n")
    (tmp_path / "bounds.txt").write_text("c<3\n")
    made = project.read(tmp_path, {})
    assert made
    return made


def digest(found: Project, group: str = "default", python: str = "3.11") -> str:
    return inputs.digest(found, found.group(group), python)


@pytest.mark.parametrize(
    ("name", "text", "changes"),
    [
        ("requirements.in", "# why\na   # because\n\n-r more/base.in\n", False),
        ("requirements.in", "a\r\n-r more/base.in\r\n", False),
        ("requirements.in", "a>1\n-r more/base.in\n", True),
        ("more/base.in", "c>1\n-c ../bounds.txt\n", True),
        ("bounds.txt", "c<4\n", True),
        ("requirements-dev.in", "d\n", False),
    ],
)
def test_digest_is_of_what_is_meant(found: Project, name: str, text: str, changes: bool) -> None:
    before = digest(found)
    (found.root / name).write_bytes(text.encode())
    assert (digest(found) != before) is changes


def test_digest_is_of_the_python(found: Project) -> None:
    assert digest(found) != digest(found, python="3.12")


def test_digest_is_the_same_in_another_folder(found: Project, tmp_path: Path) -> None:
    before = digest(found)
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    again = project.read(moved, {})
    assert again
    assert digest(again) == before


def test_other_groups_follow_the_default_lock(found: Project) -> None:
    text = f"c==1 --hash=sha256:{A}\n"
    foretold = inputs.digest(found, found.group("dev"), "3.11", default_lock=text)
    assert foretold != digest(found, "dev")
    (found.root / "requirements.txt").write_text(text)
    assert foretold == digest(found, "dev")
    assert digest(found) == digest(found)


def test_dependencies_in_pyproject_count(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    digests = set()
    for dependency in ("a", "a>1"):
        file.write_text(f'[project]\nname = "x"\ndependencies = ["{dependency}"]\n[tool.envkit]\n')
        made = project.read(tmp_path, {})
        assert made
        digests.add(digest(made))
    assert len(digests) == 2


def test_freshness(found: Project) -> None:
    group = found.group("default")
    fresh = a_lock(f"{lock.header('3.11', digest(found))}\n")
    assert inputs.is_fresh(found, group, fresh)
    (found.root / "bounds.txt").write_text("c<2\n")
    assert not inputs.is_fresh(found, group, fresh)
    assert inputs.is_fresh(found, group, a_lock(f"a==1 --hash=sha256:{A}\n"))
