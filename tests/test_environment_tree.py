"""What stands in an environment: each kind of file that a distribution can bring."""

import base64
import csv
import hashlib
import io
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Distribution, good
from tests.support.projects import PYTHON, SITE, Machine, Node, Project, snapshot

# One version of everything good, in an order in which two clashing wheels meet.
ALL = [key for key in good() if key not in ("alpha-1.0", "alpha-2.0", "space-one-1.0")]
ALL.remove("mixed-case-name-1.0")


@pytest.fixture
def everything(machine: Machine) -> Project:
    """A project that has all there is."""
    project = machine.project()
    project.lock(*ALL)
    project.install()
    return project


def test_namespace_packages(machine: Machine) -> None:
    project = machine.project()
    project.lock("space-one-1.0", "space-two-1.0")
    project.install()
    assert project.python("import space.one, space.two; print(space.two.HERE)") == "2\n"
    project.lock("space-one-2.0", "space-two-1.0")
    project.install()
    assert project.has("space.two")
    assert not project.has("space.one.dropped")
    assert not (project.site / "space" / "gone").exists()
    project.lock("space-two-1.0")
    project.install()
    assert sorted(os.listdir(project.site / "space")) == ["two"]
    project.lock()
    project.install()
    assert not (project.site / "space").exists()


@pytest.mark.parametrize("last", ["clash-one-1.0", "clash-two-1.0"])
def test_two_wheels_with_one_path(machine: Machine, last: str) -> None:
    both = ["clash-one-1.0", "clash-two-1.0"]
    order = sorted(both, key=lambda key: key == last)
    owner = "from shared.module import OWNER; print(OWNER.split(',')[0])"
    project = machine.project()
    project.lock(*order)
    project.install()
    # The later in the lock stands.
    assert project.python(owner) == f"{last.removesuffix('-1.0')}\n"
    # Without either, the other's file is there.
    for gone in both:
        (left,) = {*both} - {gone}
        project.lock(left)
        project.install()
        assert project.python(owner) == f"{left.removesuffix('-1.0')}\n"
        project.lock(*order)
        project.install()
        assert project.python(owner) == f"{last.removesuffix('-1.0')}\n"


def test_the_order_in_the_lock_is_a_difference(machine: Machine) -> None:
    project = machine.project()
    owner = "from shared.module import OWNER; print(OWNER.split(',')[0])"
    for order in (["clash-one-1.0", "clash-two-1.0"], ["clash-two-1.0", "clash-one-1.0"]):
        project.lock(*order)
        project.install()
        assert project.python(owner) == f"{order[-1].removesuffix('-1.0')}\n"


def test_the_loser_s_bytecode_does_not_stand_for_the_winner(fresh_machine: Machine) -> None:
    # The winner's cannot be compiled; what the loser's says is not what is imported.
    loser = Distribution(name="loser", files={"shared/module.py": "OWNER = 'loser'\n"})
    winner = Distribution(name="winner", files={"shared/module.py": "print 'Python 2'\n"})
    fresh_machine.index.add(loser, winner)
    project = fresh_machine.project()
    project.lock(loser, winner)
    project.install()
    result = project.call([str(project.venv / "bin" / "python"), "-c", "import shared.module"])
    assert "SyntaxError" in result.err
    project.lock(winner, loser)
    project.install()
    assert project.python("import shared.module as m; print(m.OWNER)") == "loser\n"


@pytest.mark.parametrize("compiled", ["now", "off"])
def test_bytecode_of_both_is_kept(fresh_machine: Machine, compiled: str) -> None:
    both = [good()["clash-one-1.0"], good()["clash-two-1.0"]]
    fresh_machine.index.add(*both)
    fresh_machine.environ["ENVKIT_COMPILE"] = compiled
    project = fresh_machine.project()
    for order in (both, both[::-1]):
        project.lock(*order)
        project.install()
        owner = "from shared.module import OWNER; print(OWNER.split(',')[0])"
        assert project.python(owner) == f"{order[-1].name}\n"
        caches = list((project.site / "shared" / "__pycache__").glob("module.*.pyc"))
        assert len([path for path in caches if path.stat().st_nlink > 1]) == (compiled == "now")


def test_folders_of_data(machine: Machine) -> None:
    project = machine.project()
    project.lock("schemes-1.0", "rooted-1.0")
    project.install()
    assert project.python("import schemes_pure, schemes_plat, rooted; print(rooted.WHERE)")
    texts = {
        "share/schemes/settings.ini": "[schemes]\n",
        "etc/schemes.conf": "on\n",
        f"include/site/python{PYTHON}/schemes/schemes.h": "#define SCHEMES 1\n",
    }
    assert {path: (project.venv / path).read_text() for path in texts} == texts
    assert project.script("schemes-run").out == f"{project.venv}\n"
    assert project.script("schemes-window").out == f"{project.venv}\n"
    assert project.script("schemes-shell").out == "shell\n"
    assert (project.venv / "bin" / "schemes-binary").read_bytes() == b"\x7fELF\x00not really\x00"
    assert os.access(project.venv / "bin" / "schemes-binary", os.X_OK)
    project.lock("rooted-1.0")
    project.install()
    left = [path for path in project.venv.rglob("*") if "schemes" in path.name]
    assert left == []


PLACES = ["plain", "with some spaces", "naïve-日本", "it's quoted", "deep-" + "x" * 120]


@pytest.mark.parametrize("name", PLACES, ids=["plain", "spaces", "non-ascii", "quote", "long"])
def test_scripts_run_wherever_the_project_is(machine: Machine, name: str) -> None:
    project = machine.project(name)
    project.lock("commands-1.0", "schemes-1.0")
    project.install()
    for script in ("commands", "commands-nested", "commands-window"):
        result = project.script(script, "a b", "'c'")
        assert (result.code, result.out) == (3, "main a b 'c'\n"), result.err
    assert project.script("schemes-run").out == f"{project.venv}\n"
    activated = project.call(["sh", "-c", ". .venv/bin/activate && commands activated"])
    assert activated.out == "main activated\n"
    assert "Already up to date" in project.install().err


def test_path_files(machine: Machine) -> None:
    project = machine.project()
    project.lock("paths-1.0")
    project.install()
    seen = project.python(
        "import sys, paths, paths_found\nprint(sys.paths_runs > 0, hasattr(sys, 'paths_nested'))"
    )
    assert seen == "True False\n"


def test_distributions_that_are_built_here(fresh_machine: Machine) -> None:
    fresh_machine.index.add(good()["native-1.0"], good()["sourced-1.0"], good()["alpha-1.0"])
    project = fresh_machine.project()
    project.lock("native-1.0", "sourced-1.0", "alpha-1.0")
    project.install()
    assert project.python("import native; print(native.answer())") == "42\n"
    assert project.script("sourced").out == "sourced\n"
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    assert (project.site / "native" / f"_native{suffix}").is_file()
    # Built once for all projects of the machine.
    asked = len(fresh_machine.index.requests)
    other = fresh_machine.project("other")
    other.lock("native-1.0")
    other.install("--offline")
    assert other.python("import native; print(native.answer())") == "42\n"
    assert len(fresh_machine.index.requests) == asked


def test_awkward_names(machine: Machine) -> None:
    project = machine.project()
    project.lock("accents-1.0", "mixed-case-name-1.0", "twins-1.0")
    project.install()
    assert (project.site / "accents" / "données" / "日本語.txt").read_text() == "日本語\n"
    assert project.python("from accents import naïve; print(ascii(naïve.MOT))") == "'na\\xefve'\n"
    assert project.installed()["mixed-case-name"] == "1.0"
    # Another spelling of the name is no other distribution.
    project.lock("accents-1.0", "mixed-case-name-1.1", "twins-1.0")
    assert "~ mixed-case-name 1.0 -> 1.1" in project.install().err
    assert project.installed()["mixed-case-name"] == "1.1"
    left = {path.name for path in project.site.iterdir() if "mixed" in path.name.lower()}
    assert left == {"Mixed.Case_Name-1.1.dist-info", "mixed_case.py"}


def test_a_module_that_does_not_compile_harms_nobody(machine: Machine) -> None:
    project = machine.project()
    project.lock("crooked-1.0")
    project.install()
    assert project.has("crooked")
    assert (project.site / "crooked" / "legacy.py").is_file()


def test_a_file_that_is_known_to_be_edited_is_a_copy(machine: Machine) -> None:
    project = machine.project()
    project.lock("certs-1.0")
    project.install()
    bundle = project.site / "certs" / "cacert.pem"
    assert bundle.stat().st_nlink == 1
    with bundle.open("a") as opened:
        opened.write("# ours\n")
    other = machine.project("other")
    other.lock("certs-1.0")
    other.install()
    assert (other.site / "certs" / "cacert.pem").read_text() == "# no certificates\n"


def test_executables(machine: Machine) -> None:
    project = machine.project()
    project.lock("hammer-1.0", "sourced-1.0")
    project.install()
    folder = project.site / "hammer" / "bin"
    assert project.call([str(folder / "strike")]).out == "struck\n"
    assert not (folder / "notes.txt").stat().st_mode & 0o111
    assert project.call([str(project.site / "sourced" / "run.sh")]).out == "sourced\n"


def test_files_of_the_store_are_read_only(everything: Project) -> None:
    linked = [
        path for path in everything.site.rglob("*") if path.is_file() and path.stat().st_nlink > 1
    ]
    assert len(linked) > 1000
    assert [path for path in linked if path.stat().st_mode & 0o222] == []


def test_bytecode_is_used_as_it_was_stored(machine: Machine) -> None:
    project = machine.project()
    project.lock("alpha-1.0")
    project.install()
    code = "import alpha.old, sys; print(alpha.old.__cached__, alpha.old.__file__)"
    cached, source = project.python(code).split()
    # Its first four bytes after the magic number say: hash-based, not to be checked (PEP 552).
    assert Path(cached).read_bytes()[4:8] == b"\x01\x00\x00\x00"
    assert Path(cached).stat().st_nlink > 1
    assert Path(source).is_file()


def test_the_first_import_is_no_change(machine: Machine) -> None:
    project = machine.project()
    project.lock("delta-1.0", "crooked-1.0")
    project.install(env={"ENVKIT_COMPILE": "off"})
    command = [str(project.venv / "bin" / "python"), "-c", "import delta, crooked"]
    assert project.call(command, env={"PYTHONDONTWRITEBYTECODE": ""}).code == 0
    assert list((project.site / "__pycache__").glob("delta.*.pyc"))
    assert "Already up to date" in project.install(env={"ENVKIT_COMPILE": "off"}).err
    assert project.envkit("status", env={"ENVKIT_COMPILE": "off"}).code == 0


def _rows(record: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield the rows of a RECORD: absolute path, hash, size."""
    for path, digest, size in csv.reader(io.StringIO(record.read_text(encoding="utf-8"))):
        yield Path(os.path.normpath(record.parent.parent / path)), digest, size


def test_records_are_true_and_complete(everything: Project) -> None:
    owned: set[Path] = set()
    for record in everything.site.glob("*.dist-info/RECORD"):
        for path, digest, size in _rows(record):
            owned.add(path)
            if path == record:
                assert (digest, size) == ("", "")
                continue
            content = path.read_bytes()
            if path.match("shared/module.py") and record.parent.name.startswith("clash_one"):
                continue  # the other's stands there
            sha256 = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
            assert (digest, size) == (f"sha256={sha256.rstrip('=')}", str(len(content))), path
    present = {
        path
        for path in everything.site.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    # Some versions of virtualenv have a module of their own.
    assert {path.stem for path in present - owned} <= {"_virtualenv"}
    # Byte-code belongs to a source (pip takes it away with that).
    for path in everything.site.rglob("__pycache__/*.pyc"):
        source = path.parent.parent / f"{path.name.partition('.')[0]}.py"
        assert source in owned or source.name == "_virtualenv.py", path


def test_metadata_is_that_of_an_installer(everything: Project) -> None:
    infos = [path for path in everything.site.glob("*.dist-info") if "pip-" not in path.name]
    assert len(infos) == len(ALL)
    for info in infos:
        assert (info / "INSTALLER").read_text() == "envkit\n"
        assert (info / "REQUESTED").read_bytes() == b""


def test_the_same_as_pip_makes_of_the_lock(everything: Project, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(plain)], check=True, timeout=60
    )
    result = everything.call(
        [
            *(sys.executable, "-m", "pip", "--python", str(plain / "bin" / "python"), "install"),
            *("--require-hashes", "--no-deps", "--no-compile", "-r", "requirements.txt"),
        ]
    )
    assert result.code == 0, result.text
    ours, theirs = _comparable(everything.venv), _comparable(plain)
    assert ours.keys() == theirs.keys()
    different = {path for path in ours if ours[path][:2] != theirs[path][:2]}
    # Who installed it, the text of the scripts, and the rows for these.
    scripts = {"bin/schemes-run", "bin/schemes-window"}
    points = {"bin/commands", "bin/commands-nested", "bin/commands-window", "bin/sourced"}
    assert {path for path in different if not path.endswith(("/RECORD", "/INSTALLER"))} == {
        *scripts,
        *points,
        # The later in the lock, and not the later by name.
        *(path for path in ours if path.endswith("shared/module.py") and path in different),
    }
    for path in ours:
        assert ours[path].mode & 0o111 == theirs[path].mode & 0o111, path
    for path in (path for path in ours if path.endswith("/RECORD")):
        here, there = (
            {os.path.relpath(row[0], root) for row in _rows(root / path)}
            for root in (everything.venv, plain)
        )
        assert here == there


def _comparable(environment: Path) -> dict[str, Node]:
    """Return the files of distributions: no byte-code, no pip, nothing that makes it a venv."""
    files = snapshot(environment, without=[".envkit", "__pycache__", "pyvenv.cfg", ".gitignore"])
    own: tuple[str, ...] = (
        "bin/python",
        "bin/activate",
        "bin/Activate",
        "bin/deactivate",
        "bin/pip",
        "lib64",
    )
    own += ("CACHEDIR.TAG", f"{SITE}/pip", f"{SITE}/_virtualenv", "bin/pydoc")
    return {
        path: node
        for path, node in files.items()
        if node.kind == "file" and not path.startswith(own)
    }


def test_pip_check(everything: Project) -> None:
    result = everything.pip("check")
    assert result.code == 0, result.text
    everything.lock("beta-1.0")
    everything.install()
    result = everything.pip("check")
    assert result.code == 1
    assert "beta 1.0 requires alpha, which is not installed." in result.out


def test_pip_freeze_is_the_lock(everything: Project) -> None:
    listed = everything.pip("freeze", "--all").out.splitlines()
    pins = {
        line.lower().replace(".", "-").replace("_", "-") for line in listed if "pip==" not in line
    }
    expected = {key.rpartition("-") for key in ALL}
    assert pins == {f"{name}=={version.replace('.', '-')}" for name, _, version in expected}


@pytest.mark.parametrize("name", ["schemes", "commands", "paths", "accents", "hammer", "native"])
def test_pip_uninstalls_without_a_trace(machine: Machine, name: str) -> None:
    project = machine.project()
    project.lock()
    project.install()
    before = snapshot(project.venv, without=[".envkit"]).keys()
    project.lock(f"{name}-1.0")
    project.install()
    assert len(snapshot(project.venv, without=[".envkit"])) > len(before)
    result = project.pip("uninstall", "--yes", name)
    assert result.code == 0, result.text
    folders = {"include", f"include/site/python{PYTHON}", "share", "etc", "include/site"}
    left = snapshot(project.venv, without=[".envkit"])
    assert {path for path in left.keys() - before if path not in folders} == set()
    assert before - left.keys() <= {f"{SITE}/__pycache__"}
