"""Proofs that the index of the tests answers as an index does, and fails as it is told to."""

import base64
import hashlib
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import Index, good
from tests.support.client import file_url, get, pip, pip_must
from tests.support.simple import HTML, JSON, negotiate

ALPHA = "alpha-1.0-py3-none-any.whl"


@pytest.fixture
def index(index: Index) -> Index:
    """Return an index of one's own, with alpha 1.0 in it."""
    index.add(good()["alpha-1.0"])
    return index


def test_both_forms_of_a_page_say_the_same(published: Index) -> None:
    page = get(f"{published.url}alpha/", Accept=f"{JSON}, text/html;q=0.1")
    assert page.kind == JSON
    files = json.loads(page.body)["files"]
    assert [file["filename"] for file in files] == [
        f"alpha-{version}-py3-none-any.whl" for version in ("1.0", "1.1", "2.0")
    ]
    text = get(f"{published.url}alpha/", Accept=HTML)
    assert text.kind == HTML
    for file in files:
        anchor = f'href="{file["url"]}#sha256={file["hashes"]["sha256"]}"'
        assert anchor in text.body.decode()
        served = get(file_url(published, file["filename"])).body
        assert hashlib.sha256(served).hexdigest() == file["hashes"]["sha256"]
        assert len(served) == file["size"]
        metadata = get(file_url(published, file["filename"]) + ".metadata").body
        assert hashlib.sha256(metadata).hexdigest() == file["core-metadata"]["sha256"]


def test_the_root_lists_projects_and_names_are_normalised(published: Index) -> None:
    projects = json.loads(get(published.url, Accept=JSON).body)["projects"]
    assert {"name": "mixed-case-name"} in projects
    assert len(projects) == len({one.name for one in good().values()})
    page = get(f"{published.url}Mixed.Case_Name", Accept=JSON)
    assert {file["filename"] for file in json.loads(page.body)["files"]} == {
        "mixed_case_name-1.0-py3-none-any.whl",
        "Mixed.Case_Name-1.1-py3-none-any.whl",
    }
    assert get(f"{published.url}nowhere/").status == 404
    assert get(f"http://{published.host}/").status == 404


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
