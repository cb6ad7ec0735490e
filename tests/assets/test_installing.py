"""Large files of a project: installed, looked at, verified, and let go of."""

import hashlib
import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.assets.test_transfer import sha256
from tests.assets.test_unpacking import CONTENT, files, in_tar
from tests.support.files import Files
from tests.support.mounts import mounted
from tests.support.projects import Machine, Project
from tests.support.waiting import wait

MODEL = bytes(range(256)) * 4000
PLACE = "data/model.bin"


@pytest.fixture
def server() -> Iterator[Files]:
    with Files() as made:
        yield made


@pytest.fixture
def project(machine: Machine) -> Project:
    made = machine.project()
    made.lock("alpha-1.0")
    return made


def declare(project: Project, *entries: dict[str, object]) -> None:
    lines = []
    for entry in entries:
        values = "\n".join(f"{key} = {json.dumps(value)}" for key, value in entry.items())
        lines.append(f"[[assets]]\n{values}\n")
    project.root.joinpath("envkit.toml").write_text("".join(lines))


def entry(server: Files, path: str = PLACE, content: bytes = MODEL) -> dict[str, object]:
    name = Path(path).name
    server.serve(name, content)
    return {"url": server.url(name), "sha256": sha256(content), "path": path}


def archive(server: Files, tmp_path: Path) -> dict[str, object]:
    content = in_tar(tmp_path / "archive").read_bytes()
    return {**entry(server, "models/one", content), "unpack": True}


def stored(project: Project) -> list[str]:
    folder = project.machine.store / "assets-v1"
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def test_it_comes_with_the_environment(project: Project, server: Files) -> None:
    declare(project, entry(server))
    result = project.install()
    assert f"+ {PLACE}\n" in result.err
    assert project.root.joinpath(PLACE).read_bytes() == MODEL
    assert stored(project) == [sha256(MODEL)]
    assert project.install().err.startswith("Already up to date")
    # A second project has a link to the same file.
    other = project.machine.project("other")
    other.lock("alpha-1.0")
    declare(other, entry(server))
    other.install()
    assert os.path.samefile(other.root / PLACE, project.root / PLACE)
    assert server.served["model.bin"].asked == []
    assert project.install().err.startswith("Already up to date")


def test_that_all_is_there_is_seen_without_heavy_imports(project: Project, server: Files) -> None:
    declare(project, entry(server))
    project.install()
    traced = project.call([sys.executable, "-X", "importtime", "-m", "envkit", "install"])
    assert "Already up to date" in traced.err
    imported = {line.rpartition("|")[2].strip() for line in traced.err.splitlines()}
    assert imported.isdisjoint({"click", "json", "tomllib", "tomli", "packaging", "requests"})


def test_what_is_lacking_is_seen(project: Project, server: Files) -> None:
    declare(project, entry(server))
    dry = project.envkit("install", "--dry-run")
    assert f"+ {PLACE}" in dry.out
    assert "1 to be fetched" in dry.err
    assert not project.root.joinpath(PLACE).exists()
    project.install()
    assert project.envkit("install", "--check").code == 0
    assert project.envkit("status").code == 0
    assert project.envkit("assets", "list").code == 0
    project.root.joinpath(PLACE).unlink()
    for command in (("install", "--check"), ("status",), ("assets", "list"), ("verify",)):
        result = project.envkit(*command)
        assert result.code == 1, command
        assert PLACE in result.out
    assert project.envkit("assets", "list", "--json").json[0]["state"] == "missing"
    assert f"+ {PLACE}" in project.install("--offline").err
    assert project.envkit("status").code == 0


def test_offline(project: Project, server: Files) -> None:
    declare(project, entry(server))
    result = project.envkit("install", "--offline")
    assert result.code == 3
    assert f"The store lacks {PLACE}" in result.err
    assert not project.venv.exists()


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        ({"sha256": "0" * 64}, 4, "not the declared"),
        ({"url": "file:///absent"}, 3, "cannot be read"),
        ({"url": "gopher://example.org/x"}, 2, "cannot be fetched"),
        ({"url": "no address"}, 2, "assets[1].url"),
        ({"sha256": "abc"}, 2, "assets[1].sha256"),
        ({"path": "../out"}, 2, "must lead below"),
        ({"path": "/out"}, 2, "must lead below"),
        ({"path": ".venv/x"}, 2, "must lead below"),
        ({"path": 3}, 2, "assets[1].path"),
        ({"sha": "x"}, 2, "assets[1].sha: unknown key"),
    ],
)
def test_what_goes_wrong_changes_nothing(
    project: Project, server: Files, spoil: dict[str, object], code: int, words: str
) -> None:
    project.install()
    project.lock("alpha-1.1")
    declare(project, {**entry(server), **spoil})
    result = project.envkit("install")
    assert result.code == code, result.text
    assert words in result.err
    assert "Traceback" not in result.err
    assert project.installed() == {"alpha": "1.0"}
    assert not project.root.joinpath("data").exists()
    declare(project, entry(server))
    project.install()
    assert project.installed() == {"alpha": "1.1"}


def test_what_failed_once_is_not_forgotten(project: Project, server: Files) -> None:
    declare(project, {**entry(server), "unpack": True})
    for _ in range(2):
        result = project.envkit("install")
        assert result.code == 4, result.text
        assert "cannot be unpacked" in result.err
        assert not project.venv.exists()
    declare(project, entry(server))
    project.install()
    shutil.rmtree(project.root / "data")
    for notes in project.machine.store.glob("spares-v1/*/placed"):
        notes.unlink()
    assert f"+ {PLACE}" in project.install().err


def test_two_for_one_place(project: Project, server: Files) -> None:
    for second in (PLACE, f"./{PLACE}", f"{PLACE}/x", "data"):
        declare(project, entry(server), {**entry(server), "path": second})
        result = project.envkit("install")
        assert result.code == 2, second
        assert "assets[2].path" in result.err
    declare(project)
    with project.root.joinpath("envkit.toml").open("a") as file:
        file.write('assets = "x"\n')
    assert "must be a list of tables" in project.envkit("install").err


def test_what_is_the_users_stays(project: Project, server: Files) -> None:
    declare(project, entry(server))
    target = project.root / PLACE
    target.parent.mkdir()
    target.write_text("mine")
    for arguments in ((), ("--dry-run",)):
        result = project.envkit("install", *arguments)
        assert result.code == 2
        assert f"{PLACE} is there already" in result.err
    assert target.read_text() == "mine"
    assert server.served["model.bin"].asked == []


def test_settings_that_come_and_go(project: Project, server: Files) -> None:
    """As two branches have them: one declares a file, the other another and another version."""
    first, second = entry(server), entry(server, "data/other.bin", b"other")
    for _ in range(2):
        declare(project, first)
        project.lock("alpha-1.0")
        project.install()
        assert os.listdir(project.root / "data") == ["model.bin"]
        declare(project, second)
        project.lock("alpha-1.1")
        result = project.install()
        assert f"- {PLACE}" in result.err
        assert os.listdir(project.root / "data") == ["other.bin"]
    assert [len(one.asked) for one in server.served.values()] == [1, 1]
    declare(project)
    project.install()
    assert files(project.root / "data") == {}
    # Not what somebody has changed.
    declare(project, first)
    project.install()
    project.root.joinpath(PLACE).unlink()
    project.root.joinpath(PLACE).write_text("mine")
    declare(project)
    assert "is left where it is" in project.install().err
    assert files(project.root / "data") == {"model.bin": b"mine"}


def test_altered_files_are_found_and_put_right(
    project: Project, server: Files, tmp_path: Path
) -> None:
    declare(project, entry(server), archive(server, tmp_path))
    project.install()
    assert project.envkit("verify", "--depth", "hashes").code == 0
    target = project.root / PLACE
    target.chmod(0o644)
    target.write_bytes(MODEL[:-1] + b"x")  # the store's as well, as they are one file
    project.root.joinpath("models/one/a/one.txt").write_text("ONE")
    result = project.envkit("verify", "--depth", "hashes")
    assert result.code == 1
    assert f"altered: {PLACE}\n" in result.out
    assert "altered: models/one/a/one.txt\n" in result.out
    project.succeed("verify", "--depth", "hashes", "--fix")
    assert target.read_bytes() == MODEL
    assert files(project.root / "models/one") == CONTENT
    assert project.envkit("verify", "--depth", "hashes").code == 0
    assert project.install().err.startswith("Already up to date")


def test_what_no_project_uses_is_collected(project: Project, server: Files) -> None:
    declare(project, entry(server))
    project.install()
    project.succeed("cache", "prune")
    assert stored(project) == [sha256(MODEL)]
    assert "large files (1)" in project.succeed("cache", "size").out
    declare(project)
    project.install()
    project.succeed("cache", "prune")
    assert stored(project) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=lambda one: one.name)
def test_stopped_in_the_middle(project: Project, server: Files, number: signal.Signals) -> None:
    declare(project, entry(server, content=MODEL * 4))
    file = server.served["model.bin"]
    file.pace = 0.02
    part = project.machine.store / "assets-v1" / f"{sha256(MODEL * 4)}.part"

    def has_begun() -> None:
        wait(lambda: part.exists() and part.stat().st_size > 500_000, "a part has come")

    result = project.stopped("install", when=has_begun, number=number)
    assert result.code == (-number if number == signal.SIGKILL else 130)
    assert not project.root.joinpath("data").exists()
    file.pace = 0
    project.install()
    assert project.root.joinpath(PLACE).read_bytes() == MODEL * 4
    assert len(file.asked) == 2
    assert file.asked[1] > 500_000


def test_a_full_disk(project: Project, server: Files, tmp_path: Path) -> None:
    project.install()
    declare(project, entry(server, content=os.urandom(3_000_000)))
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted(folder, "-t", "tmpfs", "-o", "size=2m", "none"):
        # Whether or not the server says beforehand how much it is.
        for said in (True, False):
            server.served["model.bin"].endless = not said
            result = project.envkit("install", env={"ENVKIT_STORE": str(folder / "store")})
            assert result.code == 4, result.text
            assert "has room for" in result.err or "disk is full" in result.err.lower()
            parts = folder.glob("store/assets-v1/*.part")
            assert [path.stat().st_size for path in parts] in ([], [0])
    assert not project.root.joinpath("data").exists()


def test_two_gigabytes_take_no_more_memory(project: Project, server: Files, tmp_path: Path) -> None:
    size = 2 << 30
    source = tmp_path / "source"
    with source.open("w+b") as file:
        file.truncate(size)
        digest = hashlib.sha256()
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
            view = memoryview(content)
            for place in range(0, size, 1 << 24):
                digest.update(view[place : place + (1 << 24)])
            server.serve("zeros", view)
            peaks = []
            wishes = [{"url": server.url("zeros"), "sha256": digest.hexdigest(), "path": PLACE}]
            for wanted in ([entry(server, "small.bin", b"small")], wishes):
                declare(project, *wanted)
                peaks.append(_peak(project))
            server.served.clear()
            view.release()
    assert project.root.joinpath(PLACE).stat().st_size == size
    assert peaks[1] < peaks[0] + 40_000


def _peak(project: Project) -> int:
    """Install, which has to succeed, and return the most memory that it had, in KiB."""
    command = [sys.executable, "-m", "envkit", "install"]
    child = subprocess.Popen(command, cwd=project.root, env=project.machine.environ)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return usage.ru_maxrss
