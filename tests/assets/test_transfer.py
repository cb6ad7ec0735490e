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
from envkit.errors import (
    EnvkitError,
    IntegrityError,
    MissingError,
    RefusedError,
    ToolError,
    UsageError,
)
from envkit.store.layout import Store
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


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def bring(store: Store, *wishes: Wish) -> list[Progress]:
    seen: list[Progress] = []
    Transfer(store, seen.append).bring(wishes)
    return seen


def names(store: Store) -> list[str]:
    return sorted(os.listdir(store.assets))


def wish(files: Files, name: str = "file", content: bytes = CONTENT) -> Wish:
    if name not in files.served:
        files.serve(name, content)
    return Wish(files.url(name), sha256(content))


def test_a_file(files: Files, store: Store) -> None:
    one = wish(files)
    seen = bring(store, one)
    assert names(store) == [one.sha256]
    target = store.assets / one.sha256
    assert target.read_bytes() == CONTENT
    assert target.stat().st_mode & 0o777 == 0o444
    size = len(CONTENT)
    assert seen[-1]._replace(started=0) == Progress(1, 1, size, size, size, 0)
    bring(store, one)
    assert files.served["file"].asked == [0]


def test_several_at_once(files: Files, store: Store) -> None:
    contents = [bytes([number]) * 200_000 for number in range(12)]
    wishes = [wish(files, f"f{number}", content) for number, content in enumerate(contents)]
    seen = bring(store, *wishes, wishes[0])
    assert names(store) == sorted(one.sha256 for one in wishes)
    assert seen[-1].done == seen[-1].total == 12


def test_it_goes_on_where_it_was_cut(files: Files, store: Store) -> None:
    one = wish(files)
    files.served["file"].cuts = [1_000_000, 500_000]
    bring(store, one)
    assert (store.assets / one.sha256).read_bytes() == CONTENT
    assert files.served["file"].asked == [0, 1_000_000, 1_500_000]


def test_a_server_that_cannot_go_on_begins_again(files: Files, store: Store) -> None:
    one = wish(files)
    files.served["file"].cuts = [1_000_000]
    files.served["file"].ranges = False
    bring(store, one)
    assert (store.assets / one.sha256).read_bytes() == CONTENT


def test_one_that_stalls(files: Files, store: Store) -> None:
    one = wish(files)
    files.served["file"].stalls = 1.5
    bring(store, one)
    assert (store.assets / one.sha256).read_bytes() == CONTENT


def test_one_that_fails_for_a_while(files: Files, store: Store) -> None:
    one = wish(files)
    files.served["file"].status = (503, 2)
    bring(store, one)
    assert (store.assets / one.sha256).exists()


def refused(store: Store, one: Wish, kind: type[EnvkitError]) -> str:
    """Return what is said of a file that cannot be had, of which nothing is there."""
    with pytest.raises(kind) as raised:
        bring(store, one)
    assert not (store.assets / one.sha256).exists()
    return raised.value.message


def test_one_that_is_always_cut(files: Files, store: Store) -> None:
    one = wish(files)
    files.served["file"].cuts = [1000, *[0] * 100]
    assert "127.0.0.1" in refused(store, one, ToolError)
    # What has come is kept.
    files.served["file"].cuts = []
    bring(store, one)
    assert files.served["file"].asked[-1] == 1000


def test_wrong_bytes(files: Files, store: Store) -> None:
    files.serve("file", b"something else")
    assert sha256(b"something else") in refused(store, wish(files), IntegrityError)
    assert names(store) == []


def test_a_length_that_is_not_so(files: Files, store: Store) -> None:
    one = wish(files)
    files.served["file"].says = 1000
    refused(store, one, IntegrityError)
    # Where it is too large, what there is is asked for once more, and is all that there is.
    files.served["file"].says = len(CONTENT) + 1000
    bring(store, one)
    assert (store.assets / one.sha256).read_bytes() == CONTENT


def test_no_such_file(files: Files, store: Store) -> None:
    assert "404" in refused(store, Wish(files.url("absent"), "0" * 64), MissingError)
    assert "cannot be read" in refused(store, Wish("file:///absent", "0" * 64), MissingError)
    assert "cannot be fetched" in refused(store, Wish("ftp://x/y", "0" * 64), UsageError)
    assert "extra gs" in refused(store, Wish("gs://bucket/x", "0" * 64), MissingError)


def test_passwords_are_not_shown(files: Files, store: Store) -> None:
    address = files.url("absent").replace("http://", "http://me:secret@") + "?token=secret"
    assert "secret" not in refused(store, Wish(address, "0" * 64), MissingError)


def test_a_file_of_this_machine(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "a file"
    source.write_bytes(CONTENT)
    one = Wish(source.as_uri(), sha256(CONTENT))
    bring(store, one)
    assert (store.assets / one.sha256).read_bytes() == CONTENT


def test_one_that_fails_does_not_keep_others_away(files: Files, store: Store) -> None:
    good = [wish(files, f"f{number}", bytes([number]) * 1000) for number in range(5)]
    with pytest.raises(MissingError):
        bring(store, Wish(files.url("absent"), "0" * 64), *good)
    assert all((store.assets / one.sha256).exists() for one in good)


def process(store: Store, one: Wish) -> "subprocess.Popen[bytes]":
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from envkit.assets.transfer import Transfer, Wish\n"
        "from envkit.store.layout import Store\n"
        "Transfer(Store(Path(sys.argv[1])), lambda _: None).bring([Wish(*sys.argv[2:])])\n"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(store.root), *one], cwd=ROOT)


def test_killed_in_the_middle(files: Files, store: Store) -> None:
    one = wish(files)
    files.served["file"].pace = 0.02
    part = store.assets / f"{one.sha256}.part"
    running = process(store, one)
    until = time.monotonic() + 60
    while not part.exists() or part.stat().st_size < 500_000:
        assert time.monotonic() < until
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    kept = part.stat().st_size
    files.served["file"].pace = 0
    bring(store, one)
    assert files.served["file"].asked == [0, kept]
    assert names(store) == [one.sha256]


def test_two_processes_fetch_it_once(files: Files, store: Store) -> None:
    one = wish(files)
    files.served["file"].pace = 0.005
    running = [process(store, one) for _ in range(3)]
    assert [each.wait(60) for each in running] == [0, 0, 0]
    assert files.served["file"].asked == [0]
    assert names(store) == [one.sha256]


def test_one_whose_digest_is_not_known(files: Files, store: Store) -> None:
    one = wish(files)
    files.served["file"].cuts = [1_000_000]
    assert Transfer(store, lambda _: None).bring([Wish(one.url)]) == [one.sha256]
    assert names(store) == [one.sha256]


def test_one_that_becomes_another_meanwhile(files: Files, store: Store) -> None:
    """Of two forms of a file no half is put to the half of the other."""
    one = wish(files)
    files.served["file"].cuts = [1_000_000]
    files.served["file"].tags = ['"first"', '"second"']
    assert Transfer(store, lambda _: None).bring([Wish(one.url)]) == [one.sha256]
    assert files.served["file"].asked == [0, 0]


def test_what_was_left_of_another_form(files: Files, store: Store) -> None:
    one = wish(files)
    store.assets.mkdir(parents=True)
    store.assets.joinpath(f"{one.sha256}.part").write_bytes(b"x" * 1000)
    bring(store, one)
    assert files.served["file"].asked == [1000, 0]


def test_one_that_was_written_to(files: Files, store: Store) -> None:
    one = wish(files)
    bring(store, one)
    target = store.assets / one.sha256
    target.chmod(0o644)
    target.write_bytes(CONTENT[:-1] + b"x")
    bring(store, one)
    assert target.read_bytes() == CONTENT
    assert files.served["file"].asked == [0, 0]
    # One that was only touched is looked at, and not fetched again.
    os.utime(target)
    bring(store, one)
    assert files.served["file"].asked == [0, 0]


def test_one_that_is_too_large(files: Files, store: Store) -> None:
    one = wish(files)
    files.served["file"].says = 1 << 60
    assert "has room for" in refused(store, one, RefusedError)
