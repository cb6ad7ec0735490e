"""Several users of one machine, by their real ids; the folder that they share."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from envkit.errors import EnvkitError, MissingError, RefusedError, UsageError
from envkit.gpu import folder as folders
from envkit.gpu.folder import Folder
from tests.gpu.test_leases import FOUR, ROOT, lessee, opened_by, take
from tests.support.projects import Project

GROUP, ALICE, BOB, STRANGER = 4100, 4101, 4102, 4103

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be others")


@pytest.fixture
def shared(leases: Path) -> Path:
    """A folder as `envkit gpu setup` makes it, and the way there."""
    os.chown(leases, 0, GROUP)
    leases.chmod(folders.MODE)
    open_to_all(*leases.parents)
    return leases


def open_to_all(*paths: Path) -> None:
    """Let all users read what is ours."""
    for path in paths:
        if path.stat().st_uid == os.getuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)


def start(
    folder: Path, leases: Path, uid: int, gid: int, **more: object
) -> "subprocess.Popen[bytes]":
    marks = folder / "marks"
    marks.mkdir(exist_ok=True)
    marks.chmod(0o777)
    log = folder / "log"
    log.touch()
    log.chmod(0o666)
    return lessee(folder, leases, uid=uid, gid=gid, **more)


def test_two_users_share(tmp_path: Path, shared: Path) -> None:
    running = [
        start(tmp_path, shared, uid, GROUP, takes=60, queued=False, seed=number)
        for number, uid in enumerate([ALICE, BOB] * 4)
    ]
    for one in running:
        _, complaint = one.communicate(timeout=120)
        assert one.returncode == 0, complaint.decode()
    assert (tmp_path / "log").read_text().count("\n") == 60 * 8
    assert not (tmp_path / "marks" / "meeting").exists()
    made = {path.name: path.stat() for path in shared.iterdir()}
    assert {*made} == {*FOUR, "queue"}
    # Neither the umask of who made them nor the group that made them keeps others out.
    assert {stat.S_IMODE(one.st_mode) for one in made.values()} == {0o666}
    assert {one.st_gid for one in made.values()} == {GROUP}


def test_who_is_not_of_the_group_is_told(tmp_path: Path, shared: Path) -> None:
    stranger = start(tmp_path, shared, STRANGER, STRANGER)
    _, complaint = stranger.communicate(timeout=60)
    assert stranger.returncode == 1
    assert f"{shared}: cannot be opened: Permission denied" in complaint.decode()
    assert f"usermod -aG {GROUP}" in complaint.decode()


def test_a_file_that_cannot_be_opened_is_no_free_gpu(tmp_path: Path, shared: Path) -> None:
    (shared / FOUR[0]).touch(mode=0o600)
    (shared / FOUR[0]).chmod(0o600)
    alice = start(tmp_path, shared, ALICE, GROUP)
    _, complaint = alice.communicate(timeout=60)
    assert alice.returncode == 1
    assert f"{FOUR[0]}: cannot be opened: Permission denied" in complaint.decode()


def test_nobody_takes_anothers_file_away(shared: Path) -> None:
    with opened_by(shared) as opened:
        lease = take(opened)
        code = (
            f"import os; os.setgroups([{GROUP}]); os.setgid({GROUP}); os.setuid({ALICE})\n"
            f"os.unlink({str(shared / FOUR[0])!r})"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        assert b"PermissionError" in done.stderr
        lease.release()


@pytest.mark.parametrize(
    ("mode", "error"),
    [(0o1777, UsageError), (0o777, UsageError), (0o770, UsageError), (None, MissingError)],
)
def test_folders_that_will_not_do(
    tmp_path: Path, mode: int | None, error: type[EnvkitError]
) -> None:
    place = tmp_path / "other"
    if mode is not None:
        place.mkdir()
        place.chmod(mode)
    with pytest.raises(error) as raised:
        Folder(place, is_shared=True).prepare()
    assert "envkit gpu setup" in raised.value.hint


def test_a_users_own_folder_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MACHINE", tmp_path / "absent")
    own = folders.locate(None, {"HOME": str(tmp_path)})
    assert not own.is_shared
    own.prepare()
    descriptor = own.open("x")
    assert descriptor is not None
    os.close(descriptor)
    assert stat.S_IMODE(own.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((own.path / "x").stat().st_mode) == 0o600


def test_where_no_file_can_be_made() -> None:
    with pytest.raises(RefusedError):
        Folder(Path("/proc"), is_shared=True).open("x")


def test_who_is_not_root_is_shown_the_commands(project: Project, tmp_path: Path) -> None:
    place = tmp_path / "gpu"
    code = (
        "import os, sys; os.geteuid = lambda: 4101\n"
        "from envkit.__main__ import main; sys.exit(main())"
    )
    env = {"ENVKIT_GPU_LEASES": str(place)}
    result = project.call([sys.executable, "-c", code, "gpu", "setup", "--group", "users"], env=env)
    assert (result.code, place.exists()) == (0, False)
    assert f"chmod 666 {place}/queue {place}/{FOUR[0]}" in result.out


@pytest.mark.parametrize("kind", ["link", "others", "control"])
def test_what_is_no_place_for_leases(project: Project, tmp_path: Path, kind: str) -> None:
    place = tmp_path / ("a\x1b[31m" if kind == "control" else "place")
    other = tmp_path / "other"
    other.mkdir()
    if kind == "link":
        place.symlink_to(other)
    elif kind == "others":
        place.mkdir()
        (place / "queue-jobs.txt").touch()
    result = project.envkit("gpu", "setup", env={"ENVKIT_GPU_LEASES": str(place)})
    assert result.code == 2
    assert os.stat(other).st_mode & 0o7777 == 0o755


def test_a_umask_does_not_close_the_way_there(project: Project, tmp_path: Path) -> None:
    place = tmp_path / "a" / "b" / "gpu"
    before = os.umask(0o077)
    try:
        project.succeed("gpu", "setup", "--group", "users", env={"ENVKIT_GPU_LEASES": str(place)})
    finally:
        os.umask(before)
    assert [stat.S_IMODE(one.stat().st_mode) for one in (place, *place.parents[:2])] == [
        *(folders.MODE, 0o755, 0o755)
    ]


def test_two_users_run_commands(project: Project, shared: Path) -> None:
    # Whoever they are, they may go to the project, and read it.
    driver = Path(project.machine.environ["ENVKIT_TEST_NVML"])
    open_to_all(project.root, *project.root.parents, driver, *driver.parents)
    environ = {**project.machine.environ, "ENVKIT_GPU_LEASES": str(shared)}
    command = [sys.executable, "-m", "tests.support.somebody", str(project.root)]

    def started(uid: int, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*command, str(uid), str(GROUP), "run", "--gpus", "3", *words],
            env=environ,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    show = 'echo "$ENVKIT_GPU_LEASE"; read wait'
    with started(ALICE, "--", "/bin/sh", "-c", show) as alice:
        assert alice.stdout
        assert alice.stdout.readline() == f"{','.join(FOUR[:3])}\n"
        with started(BOB, "--", "/bin/true") as bob:
            _, said = bob.communicate(timeout=60)
            assert bob.returncode == 3
            assert f"0,1,2: {ALICE} (/bin/sh -c" in said or f"0,1,2: {ALICE} (sh" in said
        with started(BOB, "--wait", "1m", "--", "/bin/sh", "-c", show) as bob:
            assert bob.stderr
            assert "Waiting for 3 GPUs" in bob.stderr.readline()
            alice.kill()
            assert bob.stdout
            assert bob.stdout.readline() == f"{','.join(FOUR[:3])}\n"
            bob.kill()
    assert {one.stat().st_uid for one in shared.iterdir()} <= {ALICE, BOB}


def test_the_setup(project: Project, tmp_path: Path) -> None:
    place = tmp_path / "var" / "gpu"
    project.machine.environ["ENVKIT_GPU_LEASES"] = str(place)
    shown = project.succeed("gpu", "setup", "--group", "users", "--dry-run").out
    assert f"--mode=3770 {place}" in shown
    assert not place.exists()
    for _ in range(2):
        project.succeed("gpu", "setup", "--group", "users")
        assert stat.S_IMODE(place.stat().st_mode) == folders.MODE
    assert project.succeed("run", "--gpus", "1", "--", "true").code == 0
    # What is there is nobody's who could take it away.
    for path in place.iterdir():
        assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (0, 0o666)
    assert {path.name for path in place.iterdir()} == {*FOUR, "queue"}
    lease = place / FOUR[0]
    lease.write_text("as it was")
    project.succeed("gpu", "setup", "--group", "users")
    assert lease.read_text() == "as it was"
    # What was printed for an administrator does the same.
    done = subprocess.run(["/bin/sh", "-ec", shown], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
