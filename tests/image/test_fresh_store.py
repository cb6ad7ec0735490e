"""A build may be the first command of all that uses a store."""

import sys
from pathlib import Path

from envkit import interpreter
from envkit.environment.home import Home
from envkit.fetching import selection
from envkit.store import layout


def _fresh(folder: Path) -> layout.Store:
    store = layout.locate(folder / "store", {})
    store.prepare()
    return store


def test_a_project_without_an_environment_is_known_to_the_store(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    store = _fresh(tmp_path)
    home = Home(project, store)
    home.register()
    found = [path.read_text(encoding="utf-8") for path in store.spares.glob("*/project")]
    assert found == [str(project)]


def test_the_tags_of_an_image_are_the_first_thing_that_is_kept_of_interpreters(
    tmp_path: Path,
) -> None:
    store = _fresh(tmp_path)
    known = interpreter.probe(sys.executable, cache=tmp_path / "elsewhere")
    elsewhere = known._replace(executable="", compatibility="glibc-2.99")
    selection.remember(elsewhere, ["py3-none-any"], store.interpreters)
    assert selection.ranks(elsewhere, store.interpreters) == {"py3-none-any": 0}
