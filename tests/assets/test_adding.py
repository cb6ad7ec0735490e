"""`envkit assets add`: what it writes, and where; files that fsspec reads."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import tomli

from envkit.assets.declaration import with_entry
from envkit.declared import AssetConfig
from tests.assets.test_installing import MODEL, declare
from tests.assets.test_transfer import sha256
from tests.assets.test_unpacking import CONTENT, files, in_zip
from tests.support.files import Files
from tests.support.projects import Machine, Project
from tests.support.s3 import S3

ASSET = AssetConfig("https://example.org/a.bin", "0" * 64, "assets/a.bin")
ENTRY = {"url": ASSET.url, "sha256": ASSET.sha256, "path": ASSET.path}


@pytest.fixture
def server() -> Iterator[Files]:
    with Files() as made:
        made.serve("model.bin", MODEL)
        yield made


@pytest.fixture
def project(machine: Machine) -> Project:
    made = machine.project()
    made.lock("alpha-1.0")
    return made


def entries(project: Project) -> list[dict[str, Any]]:
    found = tomli.loads(project.root.joinpath("envkit.toml").read_text())
    listed: list[dict[str, Any]] = found.get("assets", [])
    return listed


def test_it_is_declared_and_there(project: Project, server: Files) -> None:
    result = project.succeed("assets", "add", server.url("model.bin"))
    assert "Added assets/model.bin (1.0 MB) in envkit.toml" in result.err
    wanted = {"url": server.url("model.bin"), "sha256": sha256(MODEL), "path": "assets/model.bin"}
    assert entries(project) == [wanted]
    project.install()
    assert project.root.joinpath("assets/model.bin").read_bytes() == MODEL
    assert "is declared already" in project.succeed("assets", "add", server.url("model.bin")).err
    # With an environment there, it is put into its place at once.
    server.serve("model.bin", b"newer")
    result = project.succeed("assets", "add", server.url("model.bin"))
    assert "Changed assets/model.bin" in result.err
    assert entries(project) == [{**wanted, "sha256": sha256(b"newer")}]
    assert project.root.joinpath("assets/model.bin").read_bytes() == b"newer"
    project.succeed("assets", "add", server.url("model.bin"), "--path", "data/x")
    assert [one["path"] for one in entries(project)] == ["assets/model.bin", "data/x"]
    assert project.install().err.startswith("Already up to date")


def test_the_groups_that_are_installed_stay(project: Project, server: Files) -> None:
    project.lock("delta-1.0", group="dev")
    project.install("--group", "dev")
    for words in (("add", server.url("model.bin")), ("remove", "assets/model.bin")):
        project.succeed("assets", *words)
        assert project.installed() == {"alpha": "1.0", "delta": "1.0"}


def test_an_archive_of_this_machine(project: Project, tmp_path: Path) -> None:
    source = in_zip(tmp_path / "model.zip")
    project.install()
    project.succeed("assets", "add", str(source), "--unpack")
    assert files(project.root / "assets/model") == CONTENT
    (entry,) = entries(project)
    assert (entry["url"], entry["unpack"]) == (source.as_uri(), True)


def test_git_is_thought_of(project: Project, server: Files) -> None:
    project.git("init", "--quiet")
    ignored = project.root / ".gitignore"
    ignored.write_text(".venv/")
    url = server.url("model.bin")
    assert "Added to .gitignore: /assets/model.bin" in project.succeed("assets", "add", url).err
    assert ignored.read_text() == ".venv/\n/assets/model.bin\n"
    assert ".gitignore" not in project.succeed("assets", "add", url).err
    ignored.write_text("/assets/\n")
    assert ".gitignore" not in project.succeed("assets", "add", url).err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["{url}", "--path", "../x"], 2, "must lead below"),
        (["{url}", "--sha256", "x"], 2, "64 digits"),
        (["{url}", "--sha256", "0" * 64], 4, "not the declared"),
        (["{url}", "--path", "mine"], 2, "is there already"),
        (["{url}absent"], 3, "404"),
        (["{url}", "--unpack"], 4, "cannot be unpacked"),
        (["{url}", "--path", "a\tb"], 2, "must be a path"),
        (["http://127.0.0.1:1/x y"], 2, "must be as in"),
        (["http://token@127.0.0.1/x"], 2, "password"),
        (["http://127.0.0.1:1/x?token=secret"], 4, "connection refused"),
        (["http://[x/y?token=secret"], 2, ""),
        (["file:model.bin"], 2, "names no file"),
        (["http://me:secret@127.0.0.1/x"], 2, "password"),
        (["https://example.org"], 2, "names no file"),
        (["nothing"], 2, "neither a URL nor a file"),
    ],
)
def test_what_is_refused_is_not_written(
    project: Project, server: Files, arguments: list[str], code: int, words: str
) -> None:
    project.root.joinpath("mine").write_text("mine")
    url = server.url("model.bin")
    result = project.envkit("assets", "add", *(one.format(url=url) for one in arguments))
    assert result.code == code, result.text
    assert words in result.err
    assert "secret" not in result.text
    assert entries(project) == []


def test_taken_out_again(project: Project, server: Files) -> None:
    project.install()
    url = server.url("model.bin")
    for path in ("one", "two", "three"):
        project.succeed("assets", "add", url, "--path", path)
    assert "Removed two from envkit.toml" in project.succeed("assets", "remove", "./two").err
    assert [one["path"] for one in entries(project)] == ["one", "three"]
    assert not project.root.joinpath("two").exists()
    result = project.envkit("assets", "remove", "two")
    assert result.code == 2
    assert "Declared: one, three" in result.err
    for path in ("one", "three"):
        project.succeed("assets", "remove", path)
    assert entries(project) == []
    assert project.install().err.startswith("Already up to date")


def test_several_commands_at_once(project: Project, server: Files) -> None:
    url = server.url("model.bin")
    with ThreadPoolExecutor(4) as pool:
        paths = [f"data/{number}" for number in range(8)]
        list(pool.map(lambda path: project.succeed("assets", "add", url, "--path", path), paths))
    assert sorted(one["path"] for one in entries(project)) == paths


def test_no_token_is_shown(project: Project, server: Files) -> None:
    url = f"{server.url('model.bin')}?token=hush-hush"
    said = [project.succeed("assets", "add", url, "--path", "x").text]
    for command in (
        ("config",),
        ("config", "--json"),
        ("assets", "list"),
        ("assets", "list", "--json"),
        ("install", "--dry-run", "--json"),
        ("install",),
    ):
        said.append(project.envkit(*command).text)
    assert "hush-hush" not in "".join(said)


@pytest.mark.parametrize(
    ("text", "below"),
    [
        ("", ()),
        ("python = '3'", ()),
        ("[tool.envkit]\n# mine\npython = '3'\n\n[tool.other]\nx = 1\n", ("tool", "envkit")),
        ("[tool.envkit]\r\npython = '3'\r\n[tool.envkit.gpu]\r\ncount = 1\r\n", ("tool", "envkit")),
        ("[tool]\nenvkit = {}\n[tool.x]\ny = 1\n", ("tool", "envkit")),
        ("assets = [{ url = 'a:b', sha256 = 'x', path = 'p' }] # mine\n", ()),
        ("[[assets]]\npath = 'p' # mine\n\n[gpu]\ncount = 1\n", ()),
    ],
)
def test_all_else_stays_as_it_was_written(text: str, below: tuple[str, ...]) -> None:
    before = tomli.loads(text)
    if "envkit = {}" in text:
        # No table can be added to one that is written in a line.
        with pytest.raises(tomli.TOMLDecodeError):
            tomli.loads(with_entry(text, ASSET, below))
        return
    new = with_entry(text, ASSET, below)
    table: Any = before
    for name in below:
        table = table[name]
    table["assets"] = [*table.get("assets", []), ENTRY]
    assert tomli.loads(new) == before
    assert ("# mine" in new) == ("# mine" in text)
    again = with_entry(new, ASSET._replace(sha256="1" * 64), below)
    table["assets"][-1] = {**ENTRY, "sha256": "1" * 64}
    assert tomli.loads(again) == before


def test_settings_that_no_entry_can_be_added_to(machine: Machine, server: Files) -> None:
    project = machine.project()
    project.root.joinpath("envkit.toml").unlink()
    text = "[tool]\nenvkit = { python = '3' }\n"
    project.root.joinpath("pyproject.toml").write_text(text)
    result = project.envkit("assets", "add", server.url("model.bin"))
    assert result.code == 2, result.text
    assert "Write it by hand" in result.err
    assert project.root.joinpath("pyproject.toml").read_text() == text


@pytest.fixture
def s3() -> Iterator[S3]:
    with S3() as made:
        yield made


def test_through_fsspec(project: Project, s3: S3) -> None:
    s3.objects["bucket/some/model.bin"] = MODEL
    project.machine.environ.update(s3.environ)
    project.succeed("assets", "add", "s3://bucket/some/model.bin")
    project.install()
    assert project.root.joinpath("assets/model.bin").read_bytes() == MODEL
    wanted: dict[str, object] = {"url": "s3://bucket/absent", "sha256": "0" * 64, "path": "x"}
    declare(project, wanted)
    result = project.envkit("install")
    assert (result.code, result.err.count("\n")) == (3, 2), result.text
    assert "s3://bucket/absent: there is no such file" in result.err
    s3.refusing = True
    result = project.envkit("install")
    assert result.code == 4, result.text
    assert "refused" in result.err


def test_through_an_extra_that_is_not_there(project: Project) -> None:
    declare(project, {"url": "gs://bucket/x", "sha256": "0" * 64, "path": "x"})
    result = project.envkit("install")
    assert result.code == 3
    assert "envkit[gs]" in result.err
