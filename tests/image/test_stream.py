"""The archive of a context: what is in it, and that there is none of what has changed meanwhile."""

import io
import os
import stat
import subprocess
import tarfile
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envkit import tar
from envkit.contexts.context import Context, scan, stream
from envkit.errors import RefusedError, UsageError
from tests.support import builder
from tests.support.builder import Builder
from tests.support.folders import as_stranger, write

MEBIBYTE = 1 << 20


def look(root: Path) -> Context:
    return scan(root, environment=".venv")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    write(folder, "Dockerfile", "src/app.py", "src/lib/one.py")
    return folder


def read(archive: bytes) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Yield the members of an archive with their contents."""
    with tarfile.open(
        fileobj=io.BytesIO(archive), mode="r:", encoding="utf-8", errors="surrogateescape"
    ) as file:
        for member in file:
            content = file.extractfile(member) if member.isfile() else None
            yield member, content.read() if content else b""


def contents(archive: bytes) -> dict[str, bytes]:
    return {member.name: content for member, content in read(archive)}


NAMES = st.binary(min_size=1, max_size=150).map(lambda name: b"n" + name.translate(None, b"\0/"))
TREES = st.dictionaries(NAMES, st.one_of(st.binary(max_size=600), NAMES.map(list)), max_size=6)


@given(tree=TREES)
def test_unpacked_a_folder_is_what_it_was(tree: dict[bytes, bytes | list[int]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        before, after = os.path.join(name, "before"), os.path.join(name, "after")
        os.mkdir(before)
        os.mkdir(after)
        for path, content in tree.items():
            target = os.path.join(os.fsencode(before), path)
            if isinstance(content, list):
                os.symlink(bytes(content), target)
            else:
                with open(target, "wb") as file:
                    file.write(content)
        context = look(Path(before))
        archive = b"".join(stream(context))
        subprocess.run(["tar", "-x", "-C", after], input=archive, check=True)  # noqa: S607
        assert look(Path(after)).digest == context.digest
        assert [entry.mtime for entry in look(Path(after)).members if entry.kind == tar.FILE] == [
            entry.mtime for entry in context.members if entry.kind == tar.FILE
        ]


def test_the_archive_is_what_docker_would_send(root: Path) -> None:
    if not builder.cli():
        pytest.skip("no docker here")
    write(root, "with space", "new\nline", "é", "\udcff", f"{'long' * 30}/{'name' * 30}")
    (root / "src" / "app.py").chmod(0o4755)
    (root / "src" / "lib").chmod(0o1777)
    (root / "loop").symlink_to("loop")
    (root / "outside").symlink_to("/" + "far/" * 30)
    os.utime(root / "Dockerfile", (-5, -5))
    with Builder() as docker:
        assert docker.build(root).returncode == 0
    ours, theirs = (
        {
            member.name: (
                *(member.type, member.mode, member.size, int(member.mtime), member.linkname),
                *(member.uid, member.gid, member.uname, member.gname, content),
            )
            for member, content in read(archive)
        }
        for archive in (b"".join(stream(look(root))), docker.sent)
    )
    assert ours == theirs


def test_the_same_folder_gives_the_same_archive(root: Path) -> None:
    archive = b"".join(stream(look(root)))
    assert archive == b"".join(stream(look(root)))
    assert not is_broken(archive)


def test_no_member_is_younger_than_it_may_be(root: Path) -> None:
    os.utime(root / "Dockerfile", (1_000_000_000, 1_000_000_000))
    archive = b"".join(stream(look(root), latest=1_500_000_000))
    assert {member.name: member.mtime for member, _ in read(archive)} == {
        "Dockerfile": 1_000_000_000,
        **dict.fromkeys(("src", "src/app.py", "src/lib", "src/lib/one.py"), 1_500_000_000),
    }


def test_what_is_put_in_takes_the_place_of_what_is_there(root: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "wheel"
    wheel.write_bytes(bytes(range(256)) * 10_000)
    context = look(root)
    extra: dict[str, bytes | Path] = {
        "Dockerfile": b"FROM other\n",
        "wheels/a.whl": wheel,
        "é": b"",
    }
    archive = b"".join(stream(context, extra))
    assert contents(archive) == {
        "Dockerfile": b"FROM other\n",
        "wheels/a.whl": bytes(range(256)) * 10_000,
        "é": b"",
        **{
            f"src/{name}": (root / "src" / name).read_bytes() if name.endswith(".py") else b""
            for name in ("app.py", "lib", "lib/one.py")
        },
        "src": b"",
    }
    put = next(member for member, _ in read(archive) if member.name == "wheels/a.whl")
    assert (put.mtime, put.mode, put.uid) == (0, 0o644, 0)


def test_pieces_are_of_a_size_and_memory_is_flat(root: Path) -> None:
    for number in range(3000):
        (root / f"small{number}").write_bytes(bytes(1000))
    with open(root / "large", "wb") as file:
        file.truncate(200 * MEBIBYTE)
    context = look(root)
    tracemalloc.start()
    try:
        sizes = [len(piece) for piece in stream(context)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(sizes) > 200 * MEBIBYTE
    assert min(sizes[:-1]) >= MEBIBYTE - 1
    assert max(sizes) <= 2 * MEBIBYTE + 1024
    assert peak < 20 * MEBIBYTE


def is_broken(archive: bytes) -> bool:
    """Return whether the system cannot read an archive to its end, nor Docker then."""
    done = subprocess.run(["tar", "-t"], input=archive, capture_output=True, check=False)  # noqa: S607
    return done.returncode != 0


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")


def replace(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "grown": append,
    "shorter": lambda path: os.truncate(path, path.stat().st_size - 1),
    "empty": lambda path: os.truncate(path, 0),
    "rewritten": rewrite,
    "gone": lambda path: path.unlink(),
    "a link": lambda path: replace(path, lambda path: path.symlink_to("/dev/zero")),
    "a folder": lambda path: replace(path, lambda path: path.mkdir()),
    "a pipe": lambda path: replace(path, os.mkfifo),
    "without its folder": lambda path: path.parent.rename(path.parent.with_name("moved")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("size", [1000, 5 * MEBIBYTE])
def test_a_file_that_changes_before_it_is_packed_is_an_error(
    root: Path, size: int, change: Callable[[Path], object]
) -> None:
    (root / "first").write_bytes(bytes(3 * MEBIBYTE))
    path = root / "src" / "a"
    path.write_bytes(bytes(size))
    pieces = stream(look(root))
    sent = [next(pieces)]
    change(path)
    with pytest.raises(UsageError) as error:
        sent += pieces
    assert error.value.message == f"{path} changed while it was packed"
    assert error.value.hint == "Run it again."
    assert is_broken(b"".join(sent))


def test_an_archive_never_breaks_off_between_two_members(root: Path) -> None:
    # Each of these fills a piece with its header.
    for number in range(3):
        (root / f"first{number}").write_bytes(bytes(MEBIBYTE - 512))
    pieces = stream(look(root))
    sent = [next(pieces) for _ in range(3)]
    (root / "src" / "app.py").unlink()
    with pytest.raises(UsageError):
        sent += pieces
    assert is_broken(b"".join(sent))


@pytest.mark.parametrize("name", ["grown", "shorter", "empty", "rewritten"])
def test_a_file_that_changes_while_it_is_packed_is_an_error(root: Path, name: str) -> None:
    path = root / "large"
    path.write_bytes(os.urandom(5 * MEBIBYTE))
    pieces = stream(look(root))
    sent = [next(pieces), next(pieces)]
    CHANGES[name](path)
    with pytest.raises(UsageError, match="large changed while it was packed"):
        sent += pieces
    assert is_broken(b"".join(sent))


def test_what_is_put_in_may_not_change_either(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "wheel"
    path.write_bytes(bytes(5 * MEBIBYTE))
    pieces = stream(look(root), {"wheel": path})
    next(pieces)
    append(path)
    with pytest.raises(UsageError, match="wheel changed while it was packed"):
        list(pieces)
    path.unlink()
    with pytest.raises(UsageError, match="wheel: cannot be read: No such file"):
        list(stream(look(root), {"wheel": path}))


def test_what_is_no_longer_allowed_to_be_read_is_named() -> None:
    with as_stranger() as root:
        write(root, "src/app.py")
        context = look(root)
        (root / "src" / "app.py").chmod(0)
        with pytest.raises(RefusedError) as error:
            list(stream(context))
        assert error.value.message == f"{root}/src/app.py: cannot be read: no permission"
        assert "add src/app.py to .dockerignore" in error.value.hint


def test_modes_are_real_whatever_the_umask(root: Path) -> None:
    modes = {"src/app.py": 0o640, "src/lib/one.py": 0o777, "src/lib": 0o711}
    for name, mode in modes.items():
        (root / name).chmod(mode)
    before = os.umask(0o077)
    try:
        archive = b"".join(stream(look(root)))
    finally:
        os.umask(before)
    found = {member.name: stat.S_IMODE(member.mode) for member, _ in read(archive)}
    assert {name: found[name] for name in modes} == modes
