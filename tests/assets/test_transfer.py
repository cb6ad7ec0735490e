"""Fetching over real connections that are cut, stall and lie."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from envkit.assets import sources, transfer
from envkit.assets.transfer import Progress, Transfer, Wish
from envkit.errors import EnvkitError, IntegrityError, MissingError, ToolError, UsageError
from tests.support.files import Files

CONTENT = random.Random(1).randbytes(3_000_000)  # noqa: S311
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be waited for longer than it takes to see that it would be."""
    monkeypatch.setattr(transfer, "_PAUSES", (0.01,) * 4)
    monkeypatch.setattr(sources, "_TIMEOUT", (1.0, 0.5))


@pytest.fixture
def files() -> Iterator[Files]:
    with Files() as made:
        yield made


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def bring(folder: Path, *wishes: Wish) -> list[Progress]:
    seen: list[Progress] = []
    Transfer(folder, seen.append).bring(wishes)
    return seen


def wish(files: Files, name: str = "file", content: bytes = CONTENT) -> Wish:
    if name not in files.served:
        files.serve(name, content)
    return Wish(files.url(name), sha256(content))


def test_a_file(files: Files, tmp_path: Path) -> None:
    one = wish(files)
    seen = bring(tmp_path / "bucket", one)
    assert [path.name for path in (tmp_path / "bucket").iterdir()] == [one.sha256]
    target = tmp_path / "bucket" / one.sha256
    assert target.read_bytes() == CONTENT
    assert target.stat().st_mode & 0o777 == 0o444
    assert seen[-1] == Progress(len(CONTENT), len(CONTENT), 1, 1)
    bring(tmp_path / "bucket", one)
    assert files.served["file"].asked == [0]


def test_several_at_once(files: Files, tmp_path: Path) -> None:
    contents = [bytes([number]) * 200_000 for number in range(12)]
    wishes = [wish(files, f"f{number}", content) for number, content in enumerate(contents)]
    seen = bring(tmp_path, *wishes, wishes[0])
    assert {path.name for path in tmp_path.iterdir()} == {one.sha256 for one in wishes}
    assert seen[-1].done == seen[-1].total == 12


def test_it_goes_on_where_it_was_cut(files: Files, tmp_path: Path) -> None:
    one = wish(files)
    files.served["file"].cuts = [1_000_000, 500_000]
    bring(tmp_path, one)
    assert (tmp_path / one.sha256).read_bytes() == CONTENT
    assert files.served["file"].asked == [0, 1_000_000, 1_500_000]


def test_a_server_that_cannot_go_on_begins_again(files: Files, tmp_path: Path) -> None:
    one = wish(files)
    files.served["file"].cuts = [1_000_000]
    files.served["file"].ranges = False
    bring(tmp_path, one)
    assert (tmp_path / one.sha256).read_bytes() == CONTENT


def test_one_that_stalls(files: Files, tmp_path: Path) -> None:
    one = wish(files)
    files.served["file"].stalls = 1.5
    bring(tmp_path, one)
    assert (tmp_path / one.sha256).read_bytes() == CONTENT


def test_one_that_fails_for_a_while(files: Files, tmp_path: Path) -> None:
    one = wish(files)
    files.served["file"].status = (503, 2)
    bring(tmp_path, one)
    assert (tmp_path / one.sha256).exists()


def refused(folder: Path, one: Wish, kind: type[EnvkitError]) -> str:
    """Return what is said of a file that cannot be had, of which nothing is there."""
    with pytest.raises(kind) as raised:
        bring(folder, one)
    assert not (folder / one.sha256).exists()
    return raised.value.message


def test_one_that_is_always_cut(files: Files, tmp_path: Path) -> None:
    one = wish(files)
    files.served["file"].cuts = [1000, *[0] * 100]
    assert "127.0.0.1" in refused(tmp_path, one, ToolError)
    # What has come is kept.
    files.served["file"].cuts = []
    bring(tmp_path, one)
    assert files.served["file"].asked[-1] == 1000


def test_wrong_bytes(files: Files, tmp_path: Path) -> None:
    files.serve("file", b"something else")
    assert sha256(b"something else") in refused(tmp_path, wish(files), IntegrityError)
    assert [path.stat().st_size for path in tmp_path.glob("*.part")] == [0]


def test_a_length_that_is_not_so(files: Files, tmp_path: Path) -> None:
    one = wish(files)
    files.served["file"].says = 1000
    refused(tmp_path, one, IntegrityError)
    # Where it is too large, what there is is asked for once more, and is all that there is.
    files.served["file"].says = len(CONTENT) + 1000
    bring(tmp_path, one)
    assert (tmp_path / one.sha256).read_bytes() == CONTENT


def test_no_such_file(files: Files, tmp_path: Path) -> None:
    assert "404" in refused(tmp_path, Wish(files.url("absent"), "0" * 64), MissingError)
    assert "cannot be read" in refused(tmp_path, Wish("file:///absent", "0" * 64), MissingError)
    assert "cannot be fetched" in refused(tmp_path, Wish("ftp://x/y", "0" * 64), UsageError)
    assert "fsspec" in refused(tmp_path, Wish("s3://bucket/x", "0" * 64), MissingError)


def test_passwords_are_not_shown(files: Files, tmp_path: Path) -> None:
    address = files.url("absent").replace("http://", "http://me:secret@") + "?token=secret"
    assert "secret" not in refused(tmp_path, Wish(address, "0" * 64), MissingError)


def test_a_file_of_this_machine(tmp_path: Path) -> None:
    source = tmp_path / "a file"
    source.write_bytes(CONTENT)
    one = Wish(source.as_uri(), sha256(CONTENT))
    bring(tmp_path / "bucket", one)
    assert (tmp_path / "bucket" / one.sha256).read_bytes() == CONTENT


def test_one_that_fails_does_not_keep_others_away(files: Files, tmp_path: Path) -> None:
    good = [wish(files, f"f{number}", bytes([number]) * 1000) for number in range(5)]
    with pytest.raises(MissingError):
        bring(tmp_path, Wish(files.url("absent"), "0" * 64), *good)
    assert all((tmp_path / one.sha256).exists() for one in good)


def process(folder: Path, one: Wish) -> "subprocess.Popen[bytes]":
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from envkit.assets.transfer import Transfer, Wish\n"
        "Transfer(Path(sys.argv[1]), lambda _: None).bring([Wish(*sys.argv[2:])])\n"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(folder), *one], cwd=ROOT)


def test_killed_in_the_middle(files: Files, tmp_path: Path) -> None:
    one = wish(files)
    files.served["file"].pace = 0.02
    part = tmp_path / f"{one.sha256}.part"
    running = process(tmp_path, one)
    until = time.monotonic() + 60
    while not part.exists() or part.stat().st_size < 500_000:
        assert time.monotonic() < until
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    kept = part.stat().st_size
    files.served["file"].pace = 0
    bring(tmp_path, one)
    assert files.served["file"].asked == [0, kept]
    assert [path.name for path in tmp_path.iterdir()] == [one.sha256]


def test_two_processes_fetch_it_once(files: Files, tmp_path: Path) -> None:
    one = wish(files)
    files.served["file"].pace = 0.005
    running = [process(tmp_path, one) for _ in range(3)]
    assert [each.wait(60) for each in running] == [0, 0, 0]
    assert files.served["file"].asked == [0]
    assert os.listdir(tmp_path) == [one.sha256]
