"""What settings files say, remembered for as long as they do not change."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from envkit.environment.settings import Reader
from envkit.errors import UsageError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A settings file that has not been changed for a while, and a place to remember it in."""
    (tmp_path / ".venv" / ".envkit").mkdir(parents=True)
    made = tmp_path / "envkit.toml"
    write(made, 'python = "3.12"\n')
    return made


def write(file: Path, text: str) -> None:
    file.write_text(text)
    os.utime(file, (1, 1))


def read(file: Path) -> dict[str, Any]:
    """Return what the file says to a command that succeeds."""
    reader = Reader()
    content = reader.read(file)
    reader.keep()
    return content


def kept(file: Path) -> Path:
    return file.parent / ".venv" / ".envkit" / "envkit.toml.json"


def test_it_is_read_once(file: Path) -> None:
    assert read(file) == {"python": "3.12"}
    known = json.loads(kept(file).read_text())
    kept(file).write_text(json.dumps({**known, "content": {"python": "from memory"}}))
    assert read(file) == {"python": "from memory"}


def test_a_command_that_fails_leaves_nothing_behind(file: Path) -> None:
    assert Reader().read(file) == {"python": "3.12"}
    assert not kept(file).exists()


def test_a_change_is_seen(file: Path) -> None:
    read(file)
    write(file, 'python = "3.13"\n')
    assert read(file) == {"python": "3.13"}
    write(file, "python =\n")
    with pytest.raises(UsageError, match="not valid TOML"):
        read(file)


def test_what_was_changed_just_now_may_change_again_unseen(file: Path) -> None:
    file.write_text('python = "3.13"\n')
    os.utime(file, (2**33, 2**33))  # so long as the test runs, it was changed just now
    assert read(file) == {"python": "3.13"}
    assert not kept(file).exists()


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"state": 1}'])
def test_a_damaged_memory(file: Path, text: str) -> None:
    kept(file).write_text(text)
    assert read(file) == {"python": "3.12"}


def test_what_json_cannot_say_is_read_each_time(file: Path) -> None:
    write(file, "day = 2020-02-20\n")
    assert str(read(file)["day"]) == "2020-02-20"
    assert not kept(file).exists()


def test_without_an_environment(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    write(file, "[tool.envkit]\n")
    assert read(file) == {"tool": {"envkit": {}}}
    assert [path.name for path in tmp_path.iterdir()] == ["pyproject.toml"]
