"""`envkit init`: what it writes, what it leaves alone, and what it says."""

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envkit import blueprints, scaffold
from envkit.errors import UsageError
from envkit.scaffold import Wish
from tests.support import Index, good
from tests.support.projects import PYTHON, Machine, Project, Result, snapshot

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILES = {
    ".dockerignore",
    ".gitignore",
    "Dockerfile",
    "envkit.toml",
    "install.sh",
    "requirements.in",
    "requirements.txt",
}


@pytest.fixture
def folder(machine: Machine) -> Project:
    """An empty folder of a machine that has seen every distribution."""
    (machine.folder / "work").mkdir()
    return Project(machine.folder / "work", machine)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def without_environment(folder: Path) -> Mapping[str, object]:
    return snapshot(folder, without=[".venv", ".envkit"])


def init(folder: Project, *arguments: str, code: int = 0) -> Result:
    result = folder.envkit("init", *arguments)
    assert result.code == code, result.text
    return result


def test_from_nothing_to_an_environment(folder: Project) -> None:
    result = init(folder, "demo", "above", "mixed.case_name>=1")
    demo = Project(folder.root / "demo", folder.machine)
    assert names(demo.root) - {".envkit"} == FILES | {".venv"}
    assert (demo.root / "requirements.in").read_text() == "above\nmixed.case_name>=1\n"
    assert (demo.root / "envkit.toml").read_text() == f'python = "{PYTHON}"\n'
    assert f"ARG PYTHON={PYTHON}\n" in (demo.root / "Dockerfile").read_text()
    assert "@PYTHON@" not in (demo.root / "Dockerfile").read_text()
    assert os.access(demo.root / "install.sh", os.X_OK)
    assert demo.installed() == {"above": "1.0", "alpha": "2.0", "mixed-case-name": "1.1"}
    assert "Ready: above 1.0, mixed-case-name 1.1\n" in result.err
    assert result.err.endswith("Next: cd demo && envkit run -- python\n")
    assert demo.envkit("lock", "--check").code == 0
    assert demo.envkit("install", "--check").code == 0


def test_twice_changes_nothing(folder: Project) -> None:
    init(folder, ".", "delta")
    before = without_environment(folder.root)
    for arguments in ([], [".", "Delta>=1"]):
        said = init(folder, *arguments).err
        assert "Nothing to write: every file is there." in said
        assert "Already up to date" in said
    assert without_environment(folder.root) == before


def test_dry_run_prints_what_is_then_done(folder: Project) -> None:
    result = init(folder, "--dry-run", "new", "delta")
    assert result.out.splitlines() == [
        f'create envkit.toml: python = "{PYTHON}"',
        "create requirements.in: delta",
        "create .gitignore: .venv/, .venv.previous/, .venv.discard/, .envkit/",
        "create requirements.txt, the lock",
        "create install.sh",
        "create Dockerfile",
        "create .dockerignore",
        "install into .venv",
    ]
    assert names(folder.root) == set()
    told = {line.split()[1].rstrip(":,") for line in result.out.splitlines()[:-1]}
    init(folder, "new", "delta", "--no-install")
    assert names(folder.root / "new") == told
    assert init(folder, "new", "--dry-run", "--no-install").out == "nothing to do\n"


def test_without_requirements(folder: Project) -> None:
    result = init(folder, "--no-install")
    assert (folder.root / "requirements.in").read_text().startswith("# What this project needs")
    assert result.err.endswith("Next: envkit install\n")
    assert not folder.venv.exists()


def test_nothing_that_is_found_is_touched(folder: Project) -> None:
    mine = {
        "Dockerfile": "FROM scratch\n",
        ".dockerignore": "*\n",
        "install.sh": "#!/bin/sh\n",
        "requirements.in": "delta\n",
        "envkit.toml": f'# mine\npython = ">={PYTHON}"\n',
        ".gitignore": "/.venv\n.venv.previous\n.venv.discard/\n**/.envkit/\n",
    }
    for name, text in mine.items():
        (folder.root / name).write_text(text)
    init(folder)
    assert {name: (folder.root / name).read_text() for name in mine} == mine
    assert names(folder.root) >= {"requirements.txt", ".venv"}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "# end"])
def test_an_existing_pyproject_is_added_to(folder: Project, end: str, last: str) -> None:
    text = f'[project]{end}name = "demo"{end}version = "1"{end}dependencies = ["delta"]{end}'
    text += f'requires-python = ">=3.8"{end}[tool.other]{end}a = 1{end}{last}'
    path = folder.root / "pyproject.toml"
    path.write_bytes(text.encode())
    init(folder, "--no-install")
    after = path.read_bytes().decode()
    gap = end if not last else end * 2
    assert after == f'{text}{gap}[tool.envkit]{end}python = "{PYTHON}"{end}'
    assert names(folder.root) == FILES - {"envkit.toml", "requirements.in"} | {"pyproject.toml"}
    assert "delta==1.0" in (folder.root / "requirements.txt").read_text()


def test_a_pyproject_that_cannot_be_added_to(folder: Project) -> None:
    text = 'tool = { other = { a = 1 } }\n[project]\nname = "x"\nversion = "1"\n'
    (folder.root / "pyproject.toml").write_text(text)
    init(folder, "--no-install")
    assert (folder.root / "pyproject.toml").read_text() == text
    assert names(folder.root) == FILES | {"pyproject.toml"}


def test_settings_that_are_there_stand(folder: Project) -> None:
    text = f'[tool.envkit]\npython = "{PYTHON}"\n'
    (folder.root / "pyproject.toml").write_text(text)
    init(folder, "--no-install", "--python", PYTHON)
    assert (folder.root / "pyproject.toml").read_text() == text
    assert "envkit.toml" not in names(folder.root)
    said = init(folder, "--no-install", "--python", "3.99", code=2).err
    assert f"pyproject.toml: tool.envkit.python is '{PYTHON}' already, not '3.99'" in said


def test_python(folder: Project) -> None:
    init(folder, "wide", "delta", "--no-install", "--python", f">={PYTHON}")
    assert (folder.root / "wide" / "envkit.toml").read_text() == f'python = ">={PYTHON}"\n'
    assert f"ARG PYTHON={PYTHON}\n" in (folder.root / "wide" / "Dockerfile").read_text()
    said = init(folder, "none", "delta", "--python", "3.99", code=3).err
    assert "Python 3.99 is asked for" in said
    assert not (folder.root / "none").exists()


def test_lines_that_gitignore_has(folder: Project) -> None:
    path = folder.root / ".gitignore"
    path.write_bytes(b"*.pyc\r\n.venv*/")
    init(folder, "--no-install")
    assert path.read_bytes() == b"*.pyc\r\n.venv*/\r\n.envkit/\r\n"


def test_a_requirement_in_the_place_of_the_folder(folder: Project) -> None:
    for text in ("alpha>=1", "beta[fast]"):
        said = init(folder, text, code=2).err
        assert f"`envkit init . '{text}'`" in said
    assert "'=>' is not a requirement" in init(folder, ".", "=>", code=2).err
    assert names(folder.root) == set()
    (folder.root / "file").touch()
    assert "is not a folder" in init(folder, "file", code=2).err


def test_requirements_that_the_input_lacks(folder: Project) -> None:
    (folder.root / "requirements.in").write_text("delta\n")
    said = init(folder, ".", "delta", "alpha", code=2).err
    assert "requirements.in is there already and does not ask for alpha" in said
    assert names(folder.root) == {"requirements.in"}
    # What a template asks for is no more than a beginning.
    lines = blueprints.read("flask").requirements
    (folder.root / "requirements.in").write_text(f"{lines}delta\n")
    words = (".", "delta", "alpha", "--template", "flask")
    assert "does not ask for alpha" in init(folder, *words, code=2).err
    assert names(folder.root) == {"requirements.in"}


def test_a_distribution_that_does_not_exist(folder: Project) -> None:
    said = init(folder, "deep/new", "alpah", code=2).err
    assert "requirements.in:1 wants alpah: the index has no distribution of this name" in said
    assert names(folder.root) == set()
    (folder.root / ".gitignore").write_text("*.pyc\n")
    init(folder, ".", "alpah", code=2)
    assert names(folder.root) == {".gitignore"}
    assert (folder.root / ".gitignore").read_text() == "*.pyc\n"
    init(folder, ".", "alpha", "--no-install")


PLAIN = "# by hand\n--prefer-binary\nalpha==1.0\nabove  # why\n"
COMPILED = f"""\
#
# This file is autogenerated by pip-compile with Python 3.11
# by the following command:
#
#    pip-compile --generate-hashes
#
alpha==1.0 \\
    --hash=sha256:{"0" * 64} \\
    --hash=sha256:{"1" * 64}
    # via
    #   -r requirements.in
    #   above
delta==1.0 --hash=sha256:{"2" * 64}  # via -r requirements.in
"""


@pytest.mark.parametrize(
    ("text", "moved", "pins"),
    [
        (PLAIN, "# by hand\n--prefer-binary\nalpha==1.0\nabove  # why\n", {"alpha", "above"}),
        (COMPILED.replace("0" * 64, "HASH"), "alpha==1.0\ndelta==1.0\n", {"alpha", "delta"}),
    ],
)
def test_an_existing_requirements_txt(
    folder: Project, text: str, moved: str, pins: set[str]
) -> None:
    index = folder.machine.index
    for key, placeholder in (("alpha-1.0", "HASH"), ("delta-1.0", "2" * 64)):
        text = text.replace(placeholder, index.sha256(good()[key].filename))
    path = folder.root / "requirements.txt"
    path.write_text(text)
    said = init(folder, code=2).err
    assert re.search(r"create requirements\.in: the \d lines of requirements\.txt", said)
    assert "replace requirements.txt: locked from requirements.in" in said
    assert "there is no terminal to ask on" in said
    assert names(folder.root) == {"requirements.txt"}
    assert path.read_text() == text
    init(folder, "--yes", "--no-install")
    assert (folder.root / "requirements.in").read_text() == moved
    locked = path.read_text()
    assert set(re.findall(r"^(\S+)==", locked, re.MULTILINE)) == pins
    assert "alpha==1.0 " in locked


def test_a_lock_without_hashes_is_made_anew(folder: Project) -> None:
    (folder.root / "requirements.in").write_text("above\n")
    path = folder.root / "requirements.txt"
    path.write_text("above==1.0\nalpha==1.0\n    # via above\n")
    assert "replace requirements.txt: locked anew, with hashes" in init(folder, code=2).err
    init(folder, "--yes", "--no-install")
    assert "alpha==1.0 \\\n    --hash=sha256:" in path.read_text()


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 2)])
def test_on_a_terminal_it_asks(folder: Project, answer: str, code: int) -> None:
    (folder.root / "requirements.txt").write_text("alpha==1.0\n")
    leader, follower = pty.openpty()
    os.write(leader, f"{answer}\n".encode())
    ended = subprocess.run(
        [sys.executable, "-m", "envkit", "init", "--no-install"],
        cwd=folder.root,
        env=folder.machine.environ,
        stdin=follower,
        stdout=subprocess.DEVNULL,
        stderr=follower,
        check=False,
    )
    said = os.read(leader, 65536).decode()
    os.close(leader)
    os.close(follower)
    assert "Shall this be done?" in said
    assert ended.returncode == code
    assert ("requirements.in" in names(folder.root)) is (code == 0)


def test_a_killed_init_is_completed_by_the_next(index: Index, fresh_machine: Machine) -> None:
    (fresh_machine.folder / "work").mkdir()
    folder = Project(fresh_machine.folder / "work", fresh_machine)
    slow = good()["sourced-1.0"]
    index.add(slow, good()["alpha-1.0"])
    index.delay(slow.filename, 60)
    folder.stopped(
        *("init", ".", "sourced", "--no-install"),
        when=lambda: index.wait_for(slow.filename),
        number=signal.SIGKILL,
    )
    assert names(folder.root) == {"envkit.toml", "requirements.in", ".gitignore"}
    index.heal(slow.filename)
    init(folder, ".", "sourced", "--no-install")
    assert names(folder.root) == FILES


def a_wish(**changes: object) -> Wish:
    templates = {"install.sh": "#!/bin/sh\n", "Dockerfile": "@PYTHON@\n", "dockerignore": ".venv\n"}
    values = {
        "requirements": ("alpha",),
        "python": "3.12",
        "image": "3.12",
        "configured": False,
        "static": False,
        "templates": templates,
        **changes,
    }
    return Wish(**values)  # type: ignore[arg-type]


contents = st.one_of(st.none(), st.text(st.sampled_from("ab.=\n\r#[]/! *"), max_size=20))
folders = st.fixed_dictionaries(dict.fromkeys(scaffold.NAMES, contents))


@given(folders)
def test_a_plan_only_creates_and_adds(texts: Mapping[str, str | None]) -> None:
    found = {name: None if text is None else text.encode() for name, text in texts.items()}
    found["requirements.in"] = None
    wish = a_wish(configured=found["envkit.toml"] is not None)
    for step in scaffold.plan(found, wish).steps:
        assert step.before == found[step.name]
        assert step.after.startswith(found[step.name] or b"")


@given(st.text(st.sampled_from('ab.="\n[]{}#'), max_size=30))
def test_settings_are_added_to_toml_alone(text: str) -> None:
    found = {**dict.fromkeys(scaffold.NAMES), "pyproject.toml": text.encode()}
    step = scaffold.plan(found, a_wish()).inputs[0]
    try:
        before = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        assert step.name == "envkit.toml"
        return
    if step.name == "pyproject.toml":
        after = tomllib.loads(step.after.decode())
        assert after["tool"].pop("envkit") == {"python": "3.12"}
        assert {**before, "tool": before.get("tool", {})} == after


def test_a_file_that_changes_meanwhile_is_not_lost(tmp_path: Path) -> None:
    steps = scaffold.plan(scaffold.look(tmp_path), a_wish()).steps
    (tmp_path / "Dockerfile").write_text("mine\n")
    with pytest.raises(UsageError, match="has just been changed by something else"):
        scaffold.write(tmp_path, steps)
    assert (tmp_path / "Dockerfile").read_text() == "mine\n"
    scaffold.undo(tmp_path, steps)
    assert names(tmp_path) == {"Dockerfile"}
