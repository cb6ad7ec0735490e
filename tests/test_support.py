"""Proofs that what the tests stand on is what it claims to be, by pip and by plain reading."""

import base64
import csv
import hashlib
import importlib.metadata
import io
import json
import os
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support import Index, good, hostile
from tests.support.backend import record_digest
from tests.support.simple import HTML, JSON, negotiate

ALPHA = "alpha-1.0-py3-none-any.whl"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the index said to a plain client."""

    status: int
    body: bytes
    kind: str


def get(url: str, **headers: str) -> Answer:
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as response:
            return Answer(
                status=response.status, body=response.read(), kind=response.headers["Content-Type"]
            )
    except urllib.error.HTTPError as error:
        with error:
            return Answer(status=error.code, body=error.read(), kind=error.headers["Content-Type"])


def file_url(index: Index, filename: str) -> str:
    return f"http://{index.host}/files/{filename}"


def pip(index: Index, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pip", "--quiet", *map(str, arguments)]
    environment = index.pip_environment(os.environ)
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def pip_must(index: Index, *arguments: str | Path) -> None:
    done = pip(index, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def output(*command: str | Path) -> str:
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=True, timeout=60
    ).stdout


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """Return an index with all that is good in it; nobody may change it."""
    with Index(tmp_path_factory.mktemp("full")) as index:
        index.add(*good().values())
        yield index


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """Return an index of one's own, with alpha 1.0 in it."""
    with Index(tmp_path / "index") as index:
        index.add(good()["alpha-1.0"])
        yield index


@dataclass(frozen=True, kw_only=True)
class Installed:
    """An environment into which pip has installed something."""

    root: Path

    @property
    def python(self) -> Path:
        return self.root / "bin" / "python"

    @property
    def site(self) -> Path:
        (site,) = self.root.glob("lib/python*/site-packages")
        return site

    def says(self, code: str) -> str:
        return output(self.python, "-c", code).strip()


@pytest.fixture(scope="module")
def newest(full: Index, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Return an environment with the newest version of everything, built and installed by pip."""
    installed = Installed(root=tmp_path_factory.mktemp("newest"))
    venv.create(installed.root, symlinks=True)
    pins = {one.name: f"{one.name}=={one.version}" for one in good().values()}
    options = ["--no-deps", "--no-compile"]
    pip_must(full, "--python", installed.python, "install", *options, *pins.values())
    return installed


def test_everything_good_is_installed_by_pip_with_its_files(newest: Installed) -> None:
    listed = importlib.metadata.distributions(path=[str(newest.site)])
    versions = {one.metadata["Name"]: one.version for one in listed}
    for one in {one.name: one for one in good().values()}.values():
        assert versions[one.name] == one.version
        for name in one.files:
            if name != "shared/module.py":
                content = one.files[name]
                expected = content.encode() if isinstance(content, str) else content
                assert newest.site.joinpath(name).read_bytes() == expected


def test_older_versions_and_what_does_not_compile_are_installed_too(
    full: Index, tmp_path: Path
) -> None:
    others = ["alpha==1.1", "space-one==1.0", "mixed-case-name==1.0", "crooked"]
    pip_must(full, "install", "--no-deps", "--target", tmp_path, *others)
    with pytest.raises(SyntaxError):
        compile(tmp_path.joinpath("crooked/legacy.py").read_text(), "legacy.py", "exec")
    assert tmp_path.joinpath("alpha/old.py").exists()
    assert tmp_path.joinpath("space/one/dropped.py").exists()


def test_members_of_data_go_where_their_scheme_says(newest: Installed) -> None:
    prefix = str(newest.root)
    assert output(newest.root / "bin/schemes-run").strip() == prefix
    assert output(newest.root / "bin/schemes-window").strip() == prefix
    assert output(newest.root / "bin/schemes-shell") == "shell\n"
    assert newest.root.joinpath("bin/schemes-binary").read_bytes().startswith(b"\x7fELF\0")
    assert newest.root.joinpath("share/schemes/settings.ini").read_text() == "[schemes]\n"
    assert newest.root.joinpath("etc/schemes.conf").exists()
    assert [path.name for path in newest.root.glob("include/**/schemes.h")] == ["schemes.h"]
    assert newest.says("import schemes_pure as a, schemes_plat as b; print(a.WHERE, b.WHERE)") == (
        "purelib platlib"
    )


def test_entry_points_become_commands(newest: Installed) -> None:
    for name in ("commands", "commands-nested", "commands-window"):
        command = [str(newest.root / "bin" / name), "x"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stdout) == (3, "main x\n")


def test_a_path_file_runs_at_the_top_level_alone(newest: Installed) -> None:
    # Pythons differ in how often they run it at one start.
    code = "import sys, paths_found; print(sys.paths_runs > 0, hasattr(sys, 'paths_nested'))"
    assert newest.says(code) == "True False"


def test_a_namespace_is_shared_by_two_wheels(newest: Installed) -> None:
    code = "import space, space.one as a, space.two as b; print(a.HERE, b.HERE, space.__file__)"
    assert newest.says(code) == "1 2 None"


def test_sdists_are_built_with_commands_modes_and_c_code(newest: Installed) -> None:
    assert newest.says("import native; print(native.answer())") == "42"
    assert output(newest.root / "bin/sourced") == "sourced\n"
    assert output(newest.site / "sourced/run.sh") == "sourced\n"


def test_the_executable_bit_is_kept(newest: Installed) -> None:
    modes = {path.name: path.stat().st_mode for path in newest.site.glob("hammer/bin/*")}
    assert modes["strike"] & stat.S_IXUSR
    assert not modes["notes.txt"] & stat.S_IXUSR


def test_the_forest_has_500_modules_in_40_folders() -> None:
    files = good()["forest-1.0"].files
    assert len(files) == 500
    assert len({name.rpartition("/")[0] for name in files}) == 40


def test_extras_and_markers_decide_what_is_resolved(full: Index, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    pip_must(full, "install", "--dry-run", "--ignore-installed", "--report", report, "beta[fast]")
    items = json.loads(report.read_text())["install"]
    found = {item["metadata"]["name"]: item["metadata"]["version"] for item in items}
    linux = {"penguin": "1.0"} if sys.platform == "linux" else {}
    assert found == {"beta": "1.0", "alpha": "1.1", "gamma": "1.0", "delta": "1.0", **linux}


def test_an_sdist_can_be_installed_as_editable(full: Index, tmp_path: Path) -> None:
    path = good()["sourced-1.0"].sdist(tmp_path)
    output("tar", "-xzf", path, "-C", tmp_path)
    source = tmp_path / "sourced-1.0"
    pip_must(full, "install", "--no-deps", "--target", tmp_path / "site", "--editable", source)
    (path_file,) = tmp_path.glob("site/*.pth")
    assert path_file.read_text() == f"{source / 'src'}\n"


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_archives_are_the_same_each_time(kind: str, tmp_path: Path) -> None:
    for one in (good()["schemes-1.0"], good()["accents-1.0"]):
        first = getattr(one, kind)(tmp_path / "first")
        time.sleep(0.01)
        assert getattr(one, kind)(tmp_path / "second").read_bytes() == first.read_bytes()


def test_a_distribution_with_c_code_has_no_wheel(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="build its sdist"):
        good()["native-1.0"].wheel(tmp_path)


# The index.


def test_both_forms_of_a_page_say_the_same(full: Index) -> None:
    page = get(f"{full.url}alpha/", Accept=f"{JSON}, text/html;q=0.1")
    assert page.kind == JSON
    files = json.loads(page.body)["files"]
    assert [file["filename"] for file in files] == [
        f"alpha-{version}-py3-none-any.whl" for version in ("1.0", "1.1", "2.0")
    ]
    text = get(f"{full.url}alpha/", Accept=HTML)
    assert text.kind == HTML
    for file in files:
        anchor = f'href="{file["url"]}#sha256={file["hashes"]["sha256"]}"'
        assert anchor in text.body.decode()
        served = get(file_url(full, file["filename"])).body
        assert hashlib.sha256(served).hexdigest() == file["hashes"]["sha256"]
        assert len(served) == file["size"]
        metadata = get(file_url(full, file["filename"]) + ".metadata").body
        assert hashlib.sha256(metadata).hexdigest() == file["core-metadata"]["sha256"]


def test_the_root_lists_projects_and_names_are_normalised(full: Index) -> None:
    projects = json.loads(get(full.url, Accept=JSON).body)["projects"]
    assert {"name": "mixed-case-name"} in projects
    assert len(projects) == len({one.name for one in good().values()})
    page = get(f"{full.url}Mixed.Case_Name", Accept=JSON)
    assert {file["filename"] for file in json.loads(page.body)["files"]} == {
        "mixed_case_name-1.0-py3-none-any.whl",
        "Mixed.Case_Name-1.1-py3-none-any.whl",
    }
    assert get(f"{full.url}nowhere/").status == 404
    assert get(f"http://{full.host}/").status == 404


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/html"),
        ("*/*", "text/html"),
        (f"{HTML};q=0.2, {JSON};q=0.5, text/html;q=0.1", JSON),
        (f"{HTML}, {JSON};q=0", HTML),
    ],
)
def test_the_better_content_type_is_chosen(accept: str, kind: str) -> None:
    assert negotiate(accept) == kind


def test_yanked_and_unsuitable_files_are_passed_over(index: Index, tmp_path: Path) -> None:
    index.publish(good()["alpha-1.1"].wheel(tmp_path), yanked="a <mistake>")
    index.add(replace(good()["alpha-2.0"], requires_python=">=99"))
    assert b'data-yanked="a &lt;mistake&gt;"' in get(f"{index.url}alpha/").body
    assert b'data-requires-python="&gt;=99"' in get(f"{index.url}alpha/").body
    files = json.loads(get(f"{index.url}alpha/", Accept=JSON).body)["files"]
    assert [file["yanked"] for file in files] == [False, "a <mistake>", False]
    pip_must(index, "download", "--dest", tmp_path / "got", "alpha")
    assert [path.name for path in tmp_path.glob("got/*")] == [ALPHA]


def test_requests_tell_what_was_downloaded(index: Index, tmp_path: Path) -> None:
    pip_must(index, "install", "--target", tmp_path / "site", "alpha")
    assert index.downloads(ALPHA) == 1
    assert index.requests[0] == "/simple/alpha/"
    assert index.requests[-1] == f"/files/{ALPHA}"


def test_its_folder_serves_as_find_links(tmp_path: Path) -> None:
    unentered = Index(tmp_path / "index")
    unentered.add(good()["alpha-1.0"])
    with Index(tmp_path / "empty") as empty:
        links = ["--no-index", "--find-links", str(unentered.folder)]
        pip_must(empty, "install", "--target", tmp_path / "site", *links, "alpha")
        assert empty.requests == []


def test_a_removed_file_is_gone(index: Index) -> None:
    index.remove(ALPHA)
    assert get(f"{index.url}alpha/").status == 404
    assert get(file_url(index, ALPHA)).status == 404
    assert not index.folder.joinpath(ALPHA).exists()


def test_a_download_that_breaks_off_fails_and_heals(index: Index, tmp_path: Path) -> None:
    index.cut_after(ALPHA, 100)
    assert pip(index, "download", "--dest", tmp_path / "got", "alpha").returncode != 0
    assert not list(tmp_path.glob("got/*"))
    index.heal(ALPHA)
    pip_must(index, "download", "--dest", tmp_path / "got", "alpha")


def test_replaced_bytes_do_not_match_the_stated_hash(index: Index, tmp_path: Path) -> None:
    index.replace_bytes(ALPHA, b"something else")
    stated = index.sha256(ALPHA)
    assert hashlib.sha256(get(file_url(index, ALPHA)).body).hexdigest() != stated
    done = pip(index, "download", "--dest", tmp_path / "got", "alpha")
    assert done.returncode != 0
    assert stated in done.stderr


def test_delays_and_statuses_do_what_they_say(index: Index) -> None:
    index.delay(ALPHA, 0.2)
    index.status(ALPHA, 503)
    began = time.monotonic()
    assert get(file_url(index, ALPHA)).status == 503
    assert time.monotonic() - began >= 0.2
    assert get(file_url(index, f"{ALPHA}.metadata")).status == 200


def test_credentials_are_asked_for(tmp_path: Path) -> None:
    with Index(tmp_path / "index", username="ana", password="p@ss:w/rd") as index:
        index.add(good()["alpha-1.0"])
        assert get(f"{index.url}alpha/").status == 401
        wrong = base64.b64encode(b"ana:wrong").decode()
        assert get(file_url(index, ALPHA), Authorization=f"Basic {wrong}").status == 401
        assert "p@ss" not in index.url
        pip_must(index, "download", "--dest", tmp_path / "got", "alpha")


def test_nothing_of_the_machine_is_left_in_the_environment(index: Index) -> None:
    base = {
        "HOME": "/home/ana",
        "HTTPS_PROXY": "http://proxy",
        "http_proxy": "http://proxy",
        "PIP_EXTRA_INDEX_URL": "http://elsewhere",
        "PIP_FIND_LINKS": "/elsewhere",
    }
    environment = index.pip_environment(base)
    assert environment["HOME"] == "/home/ana"
    assert environment["PIP_INDEX_URL"] == index.url
    assert environment["PIP_CONFIG_FILE"] == os.devnull
    assert not environment.keys() & (base.keys() - {"HOME"})


# What is hostile is so in the way that it claims, and in that way alone.


def members(wheel: Path) -> list[zipfile.ZipInfo]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.infolist()


def faults(wheel: Path) -> set[str]:
    """Return the names on which a wheel and its RECORD disagree."""
    with zipfile.ZipFile(wheel) as archive:
        record = next(name for name in archive.namelist() if name.endswith("/RECORD"))
        rows = csv.reader(io.StringIO(archive.read(record).decode(), newline=""))
        stated = {path: digest for path, digest, _ in rows}
        found = {name: record_digest(archive.read(name)) for name in archive.namelist()}
    found[record] = ""
    return {name for name in stated | found if stated.get(name) != found.get(name)}


def made(fault: str, folder: Path) -> Path:
    return hostile()[fault].wheel(folder)


def test_what_is_good_agrees_with_its_record(full: Index) -> None:
    for one in good().values():
        if not one.sdist_only:
            wheel = full.folder / one.wheel_filename
            assert faults(wheel) == set()
            assert len({member.filename for member in members(wheel)}) == len(members(wheel))


@pytest.mark.parametrize("fault", ["wrong-hash", "unrecorded"])
def test_a_record_can_be_wrong_about_one_member(fault: str, tmp_path: Path) -> None:
    assert faults(made(fault, tmp_path)) == {"hostile.py"}


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("outside", "../evil.py"),
        ("absolute", "/nonexistent/evil.py"),
        ("control-characters", "evil\n\x1b[31m.py"),
        ("symlink", "link.py"),
    ],
)
def test_a_member_can_have_any_name_and_type(fault: str, name: str, tmp_path: Path) -> None:
    wheel = made(fault, tmp_path)
    assert faults(wheel) == set()
    (member,) = (one for one in members(wheel) if one.filename == name)
    assert stat.S_ISLNK(member.external_attr >> 16) == (fault == "symlink")


def test_pip_refuses_a_member_that_leads_outside(index: Index, tmp_path: Path) -> None:
    wheel = made("outside", tmp_path)
    done = pip(index, "install", "--target", tmp_path / "site", wheel)
    assert done.returncode != 0
    assert "evil.py" in done.stderr


def test_two_members_can_have_one_name(tmp_path: Path) -> None:
    names = [member.filename for member in members(made("duplicate", tmp_path))]
    assert names.count("twice.py") == 2


@pytest.mark.parametrize("fault", ["truncated", "not-a-zip"])
def test_a_wheel_can_be_no_zip_and_still_be_published(
    fault: str, index: Index, tmp_path: Path
) -> None:
    filename = index.publish(made(fault, tmp_path))
    with pytest.raises(zipfile.BadZipFile):
        members(index.folder / filename)
    assert get(file_url(index, f"{filename}.metadata")).status == 404
    assert pip(index, "install", "--target", tmp_path / "site", "hostile").returncode != 0


def test_a_wheel_can_be_called_what_it_is_not(tmp_path: Path) -> None:
    wheel = made("misnamed", tmp_path)
    assert wheel.name == "other-1.0-py3-none-any.whl"
    assert "hostile-1.0.dist-info/METADATA" in [member.filename for member in members(wheel)]
