"""From a fresh folder to a container: `envkit init`, `envkit build`, `envkit run --image`."""

import re
from pathlib import Path

import pytest

from tests.support import images
from tests.support.engines import Engine
from tests.support.images import BUILDERS, VENV, Image
from tests.support.index import Index
from tests.support.projects import PYTHON, SITE, Project

# What the lock of `begun` has, as `envkit init` resolves it.
LOCKED = {"above": "1.0", "alpha": "2.0", "commands": "1.0", "schemes": "1.0"}

WISHES = ("above", "commands", "schemes")


@pytest.fixture(scope="module")
def begun(
    published: Index,
    full_store: Path,
    engine: Engine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Project:
    """A project that `envkit init` made in a fresh folder, and that has a program."""
    machine = images.machine(tmp_path_factory.mktemp("begun"), published, engine, store=full_store)
    root = machine.folder / "Déjà vu"
    root.mkdir()
    made = Project(root, machine)
    made.succeed("init", ".", *WISHES)
    images.write(made, (root / "Dockerfile").read_text(encoding="utf-8"))
    (root / "main.py").write_text(images.PROGRAM, encoding="utf-8")
    (root / "a file, 日本語.txt").write_text("text\n", encoding="utf-8")
    (root / "tool.sh").write_text("#!/bin/sh\necho tool\n", encoding="utf-8")
    (root / "tool.sh").chmod(0o755)
    return made


@pytest.fixture(scope="module", params=BUILDERS)
def built(begun: Project, engine: Engine, request: pytest.FixtureRequest) -> Image:
    """The image of it, from each builder."""
    tag = f"begun-{request.param}:1"
    result = images.build(begun, "--builder", request.param, "--tag", tag)
    image = Image(engine, tag)
    assert result.out.strip() == image.id
    assert f"Built {tag} in " in result.err
    assert images.idle(engine)
    return image


def test_the_program_runs(built: Image) -> None:
    result = built.run()
    assert (result.code, result.out, result.err) == (0, "hello\n", "")


def test_who_runs_it_and_what_it_finds(built: Image) -> None:
    assert built.says("id", "-u") == built.says("id", "-g") == "10001"
    assert built.says("id", "-un") == "app"
    for name in ("python", "commands"):
        assert built.says("sh", "-c", f"command -v {name}") == f"/{VENV}/bin/{name}"
    assert built.run("commands", "one").out == "main one\n"
    assert built.run("commands").code == 3
    assert built.says("schemes-shell") == "shell"
    assert built.python("import sys; print(sys.prefix)") == f"/{VENV}"
    # The code and the environment are read, and not written, by what is attacked first.
    for path in ("/app/new", "/app/main.py", f"/{VENV}/new", f"/{VENV}/{SITE}/alpha/__init__.py"):
        assert built.run("sh", "-c", f"echo >> {path}").code == 2


def test_the_program_is_the_first_process(built: Image) -> None:
    """A shell in between would not hand on the signal to end."""
    assert built.config["Cmd"] == ["python", "main.py"]
    assert not built.config.get("Entrypoint")
    assert built.config["WorkingDir"] == "/app"
    assert built.python("import os; print(os.getpid())") == "1"


def test_it_has_just_what_the_lock_says(built: Image) -> None:
    assert built.installed() == LOCKED
    assert built.python("import importlib.util as u; print(u.find_spec('pip'))") == "None"
    names = [name for name in built.files(VENV) if "pip" in name or "wheelhouse" in name]
    assert names == []


def test_it_has_the_code(built: Image, begun: Project) -> None:
    files = built.files("app")
    found = {name.partition("/")[0] for name in files}
    # The engine's API reads it out of the context, which only buildx can do without.
    found.discard("Dockerfile")
    left_out = {"Dockerfile", ".dockerignore", ".gitignore", ".venv", ".envkit"}
    assert found == {path.name for path in begun.root.iterdir()} - left_out
    assert files["a file, 日本語.txt"][1] == b"text\n"
    assert built.says("./tool.sh") == "tool"


def test_builders_do_not_differ(begun: Project, engine: Engine) -> None:
    """What they make of one project has the same files and settings, whichever built it."""
    made = {}
    for builder in BUILDERS:
        images.build(begun, "--builder", builder, "--tag", f"same-{builder}")
        image = Image(engine, f"same-{builder}")
        settings = {key: image.config[key] for key in ("Env", "Cmd", "User", "WorkingDir")}
        code = image.files("app")
        code.pop("Dockerfile", None)
        made[builder] = (code, image.files(VENV), settings, image.labels)
    assert made["buildx"] == made["api"] == made["classic"]


def test_when_nothing_has_changed(begun: Project, engine: Engine) -> None:
    images.build(begun, "--tag", "again")
    before = Image(engine, "again").id
    result = images.build(begun, "--tag", "again")
    assert "nothing had changed" in result.err
    assert result.out.strip() == before
    # Another name of the same image is no reason to build anything.
    result = images.build(begun, "--tag", "again:other", "--tag", ":mine")
    assert "nothing had changed" in result.err
    for name in ("again:other", "d-j-vu:mine"):
        assert Image(engine, name).id == before


def test_when_a_line_of_code_has_changed(begun: Project, engine: Engine) -> None:
    images.build(begun, "--tag", "code")
    before = Image(engine, "code").layers
    program = begun.root / "main.py"
    program.write_text("print('changed')\n", encoding="utf-8")
    try:
        result = images.build(begun, "--tag", "code")
    finally:
        program.write_text(images.PROGRAM, encoding="utf-8")
    image = Image(engine, "code")
    assert image.run().out == "changed\n"
    assert image.layers[:-1] == before[:-1]
    assert f"1 of {len(before)} layers new" in result.err
    assert re.search(r"^  \+ .* COPY \. \.", result.err, re.MULTILINE)


def test_a_command_in_the_image(begun: Project) -> None:
    images.build(begun)
    result = begun.envkit("run", "--image", "--", "python", "-c", "import alpha; print(alpha)")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"<module 'alpha' from '/{VENV}/lib/python{PYTHON}/")
    assert begun.envkit("run", "--image", "commands", "--version").out == "main --version\n"


def test_without_an_environment(published: Index, engine: Engine, tmp_path: Path) -> None:
    """As where images are built for others: nothing was installed there, and nothing will be."""
    machine = images.machine(tmp_path, published, engine)
    project = images.project(machine, "never-installed", "alpha-1.1")
    result = images.build(project)
    assert "Fetching 1 distribution" in result.err
    assert Image(engine, "never-installed:latest").installed() == {"alpha": "1.1"}
    assert not project.venv.exists()
    assert "nothing had changed" in images.build(project).err
