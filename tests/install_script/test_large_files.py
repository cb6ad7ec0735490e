"""Large files that the install script brings, with nothing but Python."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.assets.test_transfer import sha256
from tests.assets.test_unpacking import CONTENT, files, in_tar, in_zip
from tests.support.files import Files
from tests.support.scripted import Project

MODEL = bytes(range(256)) * 4000
UP_TO_DATE = ".venv is already up to date.\n"


@pytest.fixture
def server() -> Iterator[Files]:
    with Files() as made:
        yield made


def declare(project: Project, *entries: dict[str, object]) -> None:
    lines = ["python = '3'\n"]
    for entry in entries:
        values = "\n".join(f"{key} = {json.dumps(value)}" for key, value in entry.items())
        lines.append(f"[[assets]]\n{values}\n")
    project.root.joinpath("envkit.toml").write_text("".join(lines))


def model(server: Files, path: str = "data/model.bin") -> dict[str, object]:
    server.serve("model.bin", MODEL)
    return {"url": server.url("model.bin"), "sha256": sha256(MODEL), "path": path}


def test_it_is_there_and_is_not_fetched_again(project: Project, server: Files) -> None:
    declare(project, model(server))
    assert "Fetching data/model.bin\n" in project.install()
    target = project.root / "data/model.bin"
    assert target.read_bytes() == MODEL
    assert target.stat().st_mode & 0o777 == 0o444
    assert project.install() == UP_TO_DATE
    assert server.served["model.bin"].asked == [0]
    # Without its notes the script looks at what is there.
    project.root.joinpath(".envkit/install-sh-files.json").unlink()
    assert project.install() == UP_TO_DATE
    target.unlink()
    assert "Fetching" in project.install()


@pytest.mark.parametrize("make", [in_zip, in_tar])
def test_an_archive(project: Project, server: Files, tmp_path: Path, make: object) -> None:
    assert callable(make)
    content = make(tmp_path / "archive").read_bytes()
    server.serve("archive", content)
    entry = {"url": server.url("archive"), "sha256": sha256(content), "path": "models/one"}
    declare(project, {**entry, "unpack": True})
    project.install()
    assert files(project.root / "models/one") == CONTENT
    assert os.access(project.root / "models/one/run.sh", os.X_OK)
    assert project.install() == UP_TO_DATE
    # One that was unpacked by somebody else is as good; one that differs is left alone.
    project.root.joinpath(".envkit/install-sh-files.json").unlink()
    project.install()
    project.root.joinpath(".envkit/install-sh-files.json").unlink()
    project.root.joinpath("models/one/mine").write_text("mine")
    assert "models/one is there already" in project.fail(2)
    assert project.root.joinpath("models/one/mine").exists()


def test_a_newer_archive_takes_its_place(project: Project, server: Files, tmp_path: Path) -> None:
    for contents in (CONTENT, {"newer": b"x"}):
        content = in_tar(tmp_path / "archive", contents).read_bytes()
        server.serve("archive", content)
        entry = {"url": server.url("archive"), "sha256": sha256(content), "path": "models/one"}
        declare(project, {**entry, "unpack": True})
        project.install()
        assert files(project.root / "models/one") == contents
    assert os.listdir(project.root / "models") == ["one"]
    assert sorted(os.listdir(project.root / ".envkit")) == [".gitignore", "install-sh-files.json"]


def test_a_password_is_read_from_netrc(project: Project, server: Files) -> None:
    declare(project, model(server))
    server.served["model.bin"].password = "me:secret"
    assert "HTTP 401" in project.fail(4)
    netrc = project.root.parent / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    project.install()
    assert project.root.joinpath("data/model.bin").read_bytes() == MODEL


def test_what_was_left_of_another_file(project: Project, server: Files) -> None:
    declare(project, model(server))
    left = project.root / ".envkit" / f"{sha256(MODEL)}.part"
    left.parent.mkdir()
    left.write_bytes(b"x" * 1000)
    project.install()
    assert project.root.joinpath("data/model.bin").read_bytes() == MODEL


def test_it_goes_on_where_it_was_cut(project: Project, server: Files) -> None:
    declare(project, model(server))
    server.served["model.bin"].cuts = [300_000]
    project.install()
    assert project.root.joinpath("data/model.bin").read_bytes() == MODEL
    assert server.served["model.bin"].asked == [0, 300_000]


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        ({"sha256": "0" * 64}, 4, "its sha256 is"),
        ({"url": "http://127.0.0.1:1/x?token=secret"}, 4, "Connection refused"),
        ({"url": "file:///absent"}, 3, "No such file"),
        ({"url": "s3://bucket/x"}, 3, "envkit alone"),
        ({"path": "../out"}, 2, "leads outside"),
        ({"path": "/out"}, 2, "leads outside"),
        ({"path": ".venv/x"}, 2, "leads outside"),
        ({"path": 3}, 2, "cannot be understood"),
        ({"path": "a\x1bb"}, 2, "its path cannot be one"),
        ({"sha256": "../../precious"}, 2, "its sha256 is none"),
    ],
)
def test_what_goes_wrong(
    project: Project, server: Files, spoil: dict[str, object], code: int, words: str
) -> None:
    good, bad = model(server, "first.bin"), {**model(server), **spoil}
    declare(project, good, bad)
    said = project.fail(code)
    assert words in said
    assert "secret" not in said
    assert "Traceback" not in said
    assert project.root.joinpath("first.bin").exists()
    assert not project.root.joinpath("data/model.bin").exists()


def test_what_is_not_there(project: Project, server: Files) -> None:
    declare(project, {**model(server), "url": server.url("absent")})
    assert "HTTP 404" in project.fail(3)


def test_an_archive_that_leads_outside(project: Project, server: Files, tmp_path: Path) -> None:
    content = in_tar(tmp_path / "archive", {"good": b"1", "../../out": b"2"}).read_bytes()
    server.serve("archive", content)
    entry = {"url": server.url("archive"), "sha256": sha256(content), "path": "models/one"}
    declare(project, {**entry, "unpack": True})
    assert "leads outside" in project.fail(4)
    assert not project.root.joinpath("models/one").exists()
    assert not project.root.joinpath("out").exists()


def test_over_a_link_that_leads_outside(project: Project, server: Files, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (project.root / "data").symlink_to(tmp_path / "elsewhere")
    declare(project, model(server))
    assert "leads outside" in project.fail(2)
    assert os.listdir(tmp_path / "elsewhere") == []


def test_what_is_the_users_stays(project: Project, server: Files) -> None:
    declare(project, model(server, "model.bin"))
    project.root.joinpath("model.bin").write_text("mine")
    assert "model.bin is there already" in project.fail(2)
    assert project.root.joinpath("model.bin").read_text() == "mine"
