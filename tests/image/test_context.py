"""What of a folder is in its build context, and when that is taken for another one."""

import os
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envkit import tar
from envkit.contexts import reading
from envkit.contexts.context import Context, scan
from envkit.errors import EnvkitError, RefusedError, UsageError
from tests.support.folders import as_stranger, write


def later() -> int:
    """Return a time by which all that there is now has settled."""
    return time.time_ns() + 10**10


def look(root: Path, memory: Path | None = None) -> Context:
    return scan(root, environment=".venv", memory=memory, clock=later)


def names(context: Context) -> list[str]:
    return [os.fsdecode(member.name) for member in context.members]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    write(folder, "Dockerfile", "src/app.py", "src/lib/one.py")
    return folder


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "memory"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were opened to be read, in that order."""
    seen = []
    open_file = reading.open_file

    def recorded(path: bytes) -> int:
        seen.append(os.path.basename(os.fsdecode(path)))
        return open_file(path)

    monkeypatch.setattr(reading, "open_file", recorded)
    return seen


def test_members_come_in_the_order_of_their_bytes_parents_first(root: Path) -> None:
    write(root, "src.py", "src-old/x", "src/lib.py", "é", "Z")
    assert names(look(root)) == [
        *("Dockerfile", "Z", "src", "src-old", "src-old/x", "src.py"),
        *("src/app.py", "src/lib", "src/lib.py", "src/lib/one.py", "é"),
    ]


def test_members_are_what_the_filesystem_says(root: Path) -> None:
    os.utime(root / "src" / "app.py", ns=(0, 1_700_000_000_999_999_999))
    (root / "src" / "app.py").chmod(0o4751)
    (root / "src").chmod(0o2750)
    (root / "link").symlink_to("src/app.py")
    found = {os.fsdecode(member.name): member for member in look(root).members}
    app = found["src/app.py"]
    assert (app.kind, app.mode, app.size) == (tar.FILE, 0o4751, len("content of src/app.py\n"))
    assert app.mtime == 1_700_000_000
    assert (found["src"].kind, found["src"].mode, found["src"].size) == (tar.FOLDER, 0o2750, 0)
    assert (found["link"].kind, found["link"].link) == (tar.LINK, b"src/app.py")


def test_links_are_taken_as_they_are_wherever_they_lead(root: Path) -> None:
    links = {"outside": "../..", "away": "/etc/passwd", "loop": "loop", "self": ".", "dead": "no"}
    for name, target in links.items():
        (root / name).symlink_to(target)
    found = {member.name: member.link for member in look(root).members if member.kind == tar.LINK}
    assert found == {os.fsencode(name): os.fsencode(target) for name, target in links.items()}


def test_pipes_and_sockets_are_passed_over(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = look(root)
    os.mkfifo(root / "pipe")
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")
        assert look(root) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make devices")
def test_a_device_is_refused_unless_it_is_left_out(root: Path) -> None:
    try:
        os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("no devices can be made here")
    with pytest.raises(UsageError, match="null: a device cannot be packed") as error:
        look(root)
    assert error.value.hint == "Add null to .dockerignore."
    (root / ".dockerignore").write_text("null\n")
    assert "null" not in names(look(root))


def test_what_can_be_made_again_is_always_left_out(root: Path) -> None:
    write(root, ".dockerignore")
    before = names(look(root))
    always = (".git", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis")
    for name in (*always, ".ipynb_checkpoints", ".tox", ".nox"):
        write(root, f"{name}/x", f"src/lib/{name}/x")
    for name in (".venv", ".venv.previous", ".venv.discard", ".envkit"):
        write(root, f"{name}/x")
    (root / ".dockerignore").write_text("!.git\n!**/__pycache__/x\n")
    assert names(look(root)) == before


def test_the_environment_may_be_anywhere_and_be_a_link(root: Path) -> None:
    write(root, "envs/gpu.py", "src/.venv/x", "elsewhere/x")
    (root / "envs" / "gpu").symlink_to("../elsewhere")
    found = names(scan(root, environment="envs/gpu"))
    assert "envs/gpu" not in found
    assert {"envs/gpu.py", "src/.venv/x", "elsewhere/x"} <= {*found}


def test_the_rules_of_the_dockerfile_hold(root: Path) -> None:
    write(root, "docker/gpu")
    (root / ".dockerignore").write_text("docker\n")
    (root / "docker" / "gpu.dockerignore").write_text("src\n.dockerignore\n")
    assert names(look(root)) == [".dockerignore", "Dockerfile", *names(look(root))[2:]]
    assert names(scan(root, environment=".venv", dockerfile="docker/gpu")) == [
        *("Dockerfile", "docker", "docker/gpu", "docker/gpu.dockerignore"),
    ]


def test_folders_may_be_as_deep_as_the_system_allows(root: Path) -> None:
    deep = root / "/".join("d" * 1500)
    try:
        # Python's own ways to make and to remove it do not go as deep.
        subprocess.run(["mkdir", "-p", str(deep)], check=True)  # noqa: S607
        assert len(look(root).members) == 1500 + 5
    finally:
        subprocess.run(["rm", "-rf", str(root)], check=True)  # noqa: S607


def test_a_context_tells_what_bloats_it(root: Path) -> None:
    for size in range(7):
        (root / f"model{size}").write_bytes(bytes(size * 1000))
    found = look(root)
    assert found.size == sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    assert len(found.members) == 12
    assert [os.fsdecode(member.name) for member in found.largest] == [
        *("model6", "model5", "model4", "model3", "model2"),
    ]


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077])
def test_the_digest_is_that_of_any_checkout(root: Path, tmp_path: Path, umask: int) -> None:
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "link").symlink_to("src")
    other = tmp_path / "other"
    before = os.umask(umask)
    try:
        # Times and owners are new, modes are what the umask leaves of them.
        shutil.copytree(root, other, symlinks=True, copy_function=shutil.copyfile)
        (other / "run.sh").chmod(0o777 & ~umask)
        for folder in (other, *filter(Path.is_dir, other.rglob("*"))):
            folder.chmod(0o777 & ~umask)
    finally:
        os.umask(before)
    assert look(other).digest == look(root).digest


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda root: (root / "src/app.py").write_text("CONTENT of src/app.py\n"),
    "name": lambda root: (root / "src/app.py").rename(root / "src/App.py"),
    "folder": lambda root: (root / "src/empty").mkdir(),
    "executable": lambda root: (root / "src/app.py").chmod(0o744),
    "not executable": lambda root: (root / "run").chmod(0o655),
    "target": lambda root: (root.parent / "other").replace(root / "link"),
    "kind": lambda root: (root.parent / "file").replace(root / "link"),
    "gone": lambda root: (root / "link").unlink(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_an_image_could_see_changes_the_digest(
    root: Path, memory: Path, change: Callable[[Path], object]
) -> None:
    (root / "link").symlink_to("a")
    (root.parent / "other").symlink_to("b")
    (root.parent / "file").write_text("a")
    (root / "run").touch(0o755)
    before = look(root, memory).digest
    assert look(root, memory).digest == before
    change(root)
    assert look(root, memory).digest == look(root).digest != before


# No name is one that is always left out.
TREES = st.dictionaries(
    st.binary(max_size=12).map(lambda name: b"n" + name.translate(None, b"\0/")),
    st.binary(max_size=8),
    max_size=5,
)


@given(one=TREES, other=TREES)
def test_two_folders_have_one_digest_only_if_they_are_the_same(
    one: dict[bytes, bytes], other: dict[bytes, bytes]
) -> None:
    digests = []
    for tree in (one, other, dict(reversed(one.items()))):
        with tempfile.TemporaryDirectory() as folder:
            for name, content in tree.items():
                with open(os.path.join(os.fsencode(folder), name), "wb") as file:
                    file.write(content)
            context = scan(Path(folder), environment="no/environment")
            assert [member.name for member in context.members] == sorted(tree)
            digests.append(context.digest)
    assert digests[0] == digests[2]
    assert (digests[0] == digests[1]) == (one == other)


def test_what_has_not_changed_is_not_read_again(
    root: Path, memory: Path, opened: list[str]
) -> None:
    before = look(root, memory)
    assert opened == ["Dockerfile", "app.py", "one.py"]
    opened.clear()
    (root / "src" / "app.py").write_text("new\n")
    after = look(root, memory)
    assert opened == ["app.py"]
    assert after.digest == look(root).digest != before.digest


def test_a_change_is_seen_though_size_and_time_are_as_before(root: Path, memory: Path) -> None:
    path = root / "src" / "app.py"
    before, status = look(root, memory).digest, path.stat()
    path.write_text(path.read_text().upper())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns
    assert look(root, memory).digest == look(root).digest != before


def test_a_file_that_was_just_written_is_read_again(
    root: Path, memory: Path, opened: list[str]
) -> None:
    # Its times may not change if it is written once more.
    scan(root, environment=".venv", memory=memory)
    assert opened == ["Dockerfile", "app.py", "one.py"]
    scan(root, environment=".venv", memory=memory)
    assert opened == ["Dockerfile", "app.py", "one.py"] * 2
    os.utime(root / "src" / "app.py", (1, 1))
    scan(root, environment=".venv", memory=memory)
    assert opened == ["Dockerfile", "app.py", "one.py"] * 3


@given(data=st.data())
def test_a_damaged_memory_is_no_memory(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("project")
    write(root, "a", "b/c")
    memory = root.with_name(f"{root.name}.memory")
    expected = look(root, memory)
    content = memory.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    damage = data.draw(st.binary(max_size=4))
    memory.write_bytes(content[:at] + damage + content[at + data.draw(st.integers(0, 4)) :])
    assert look(root, memory) == expected
    assert look(root, memory) == expected


@pytest.mark.parametrize("content", [b"", b"{}", b"envkit files 1\n", bytes(100)])
def test_a_foreign_memory_is_no_memory(root: Path, memory: Path, content: bytes) -> None:
    memory.write_bytes(content)
    assert look(root, memory) == look(root)


def test_a_memory_that_cannot_be_written_is_done_without(root: Path, memory: Path) -> None:
    memory.mkdir()
    assert look(root, memory) == look(root)
    assert look(root, memory / "deep" / "er") == look(root)
    assert (memory / "deep" / "er").is_file()


@pytest.mark.parametrize("name", ["src", "src/app.py", "src/lib"])
def test_what_cannot_be_read_is_named(name: str) -> None:
    with as_stranger() as root:
        write(root, "Dockerfile", "src/app.py", "src/lib/one.py")
        (root / name).chmod(0)
        with pytest.raises(RefusedError) as error:
            look(root)
        assert error.value.message == f"{root / name}: cannot be read: no permission"
        assert f"chmod u+r {root / name}" in error.value.hint
        assert f"add {name} to .dockerignore" in error.value.hint
        # It is not opened if it is left out.
        (root / ".dockerignore").write_text(f"{name}\n")
        assert name not in names(look(root))
        # Docker passes over a folder which it would have entered for an exception only.
        (root / ".dockerignore").write_text(f"{name}\n!**/one.py\n")
        assert name not in names(look(root)) or (root / name).is_file()


def test_a_folder_whose_files_cannot_be_looked_at_is_named() -> None:
    with as_stranger() as root:
        write(root, "src/app.py")
        (root / "src").chmod(0o600)
        with pytest.raises(EnvkitError, match=r"src/app\.py: cannot be read: no permission"):
            look(root)


def test_what_goes_while_it_is_looked_at_is_not_there(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_file = reading.open_file

    def interfering(path: bytes) -> int:
        (root / "src" / "app.py").unlink(missing_ok=True)
        return open_file(path)

    monkeypatch.setattr(reading, "open_file", interfering)
    assert names(look(root)) == ["Dockerfile", "src", "src/lib", "src/lib/one.py"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        look(tmp_path / "no")
