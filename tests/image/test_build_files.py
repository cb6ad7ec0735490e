"""What an image has of each distribution is what the environment has: file by file, hash by hash.

Not the same are, of necessity:

- what begins with the path of the environment's Python: scripts, by that line alone;
- `RECORD`, by the rows of such scripts alone;
- what makes a folder an environment: `pyvenv.cfg`, links to Python, scripts that activate;
- modes: of them, only whether a file may be executed is the same.
"""

import csv
import platform
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support import Distribution, Index, good, images
from tests.support.engines import Engine
from tests.support.images import VENV, Image
from tests.support.projects import PYTHON, SITE, Node, Project, snapshot

# One of everything that is installed in a way of its own.
KEYS = (
    *("commands-1.0", "schemes-1.0", "rooted-1.0", "clash-one-1.0", "clash-two-1.0", "alpha-1.1"),
    *("native-1.0", "sourced-1.0", "accents-1.0", "crooked-1.0", "twins-1.0", "hammer-1.0"),
    *("paths-1.0", "space-one-1.0", "space-two-1.0", "certs-1.0", "mixed-case-name-1.1"),
)

# Of an environment, and of no distribution: links to Python, scripts that activate, pip, and what
# virtualenv and envkit keep there.
OF_NONE = re.compile(
    r"pyvenv\.cfg$|lib64$|\.gitignore$|CACHEDIR\.TAG$|\.envkit|bin/(python|(de)?activate|pip)"
    rf"|{re.escape(SITE)}/(pip\b|_virtualenv|__pycache__/_virtualenv|__pycache__$)"
)


@pytest.fixture(scope="module")
def project(
    published: Index,
    full_store: Path,
    engine: Engine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Project:
    """A project whose image has been built, and that has its environment."""
    machine = images.machine(tmp_path_factory.mktemp("files"), published, engine, store=full_store)
    made = images.project(machine, "files", *KEYS)
    made.install()
    images.build(made)
    return made


@pytest.fixture(scope="module")
def image(project: Project, engine: Engine) -> Image:
    """The image that was built last of it."""
    return Image(engine, f"{project.root.name}:latest")


@pytest.fixture(scope="module")
def there(image: Image) -> Mapping[str, tuple[Node, bytes]]:
    """What the image's environment has."""
    return image.files(VENV)


@pytest.fixture(scope="module")
def here(project: Project) -> Mapping[str, Node]:
    """What the environment on the desk has."""
    return snapshot(project.venv)


def of_distributions(paths: Mapping[str, object]) -> set[str]:
    """Return the paths of files that distributions have, of all those of an environment."""
    return {path for path in paths if not OF_NONE.match(path)}


def test_there_are_the_same_files(
    here: Mapping[str, Node], there: Mapping[str, tuple[Node, bytes]]
) -> None:
    assert of_distributions(here) == of_distributions(there)
    assert len(here) > 100


def scripts(project: Project, here: Mapping[str, Node]) -> set[str]:
    """Return the paths of the environment's scripts that begin with the path of its Python."""
    mark = b"#!" + bytes(project.venv)
    files = (path for path, node in here.items() if path.startswith("bin/") and node.kind == "file")
    return {path for path in files if (project.venv / path).read_bytes().startswith(mark)}


def test_each_file_has_the_same_content(
    project: Project, here: Mapping[str, Node], there: Mapping[str, tuple[Node, bytes]]
) -> None:
    own = scripts(project, here)
    assert {"bin/commands", "bin/schemes-run", "bin/sourced"} <= own
    compared = 0
    for path in of_distributions(here):
        (kind, sha256, mode), content = there[path]
        assert kind == here[path].kind
        if path in own:
            first, _, rest = content.partition(b"\n")
            assert first == f"#!/{VENV}/bin/python".encode()
            assert rest == (project.venv / path).read_bytes().partition(b"\n")[2]
        elif not path.endswith(".dist-info/RECORD"):
            assert sha256 == here[path].sha256, path
            compared += 1
        if kind == "file":
            executable = bool(here[path].mode & 0o100)
            assert mode == (0o755 if executable else 0o644), path
    assert compared > 100


def test_what_is_recorded_is_what_is_there(
    project: Project, here: Mapping[str, Node], there: Mapping[str, tuple[Node, bytes]]
) -> None:
    """Each `RECORD` has the rows of the environment's, but for scripts, of which it has its own."""
    own = {f"../../../{path}" for path in scripts(project, here)}
    records = [path for path in there if path.endswith(".dist-info/RECORD")]
    assert len(records) == len(KEYS)
    for path in records:
        rows = {row[0]: row for row in csv.reader(there[path][1].decode().splitlines())}
        text = (project.venv / path).read_text(encoding="utf-8")
        ours = {row[0]: row for row in csv.reader(text.splitlines())}
        assert rows.keys() == ours.keys()
        assert {name for name in rows if rows[name] != ours[name]} <= own


def test_pip_of_another_place_finds_nothing_wrong(image: Image) -> None:
    """What `pip` would do with it is what it would do with any other environment."""
    python = f"/{VENV}/bin/python"
    assert image.says("python3", "-c", "import sys; print(sys.prefix)") == f"/{VENV}"
    listed = image.says("/usr/local/bin/python3", "-m", "pip", "--python", python, "list")
    assert {"alpha", "Mixed.Case-Name"} & {line.split()[0] for line in listed.splitlines()}
    shown = image.says(
        "/usr/local/bin/python3", "-m", "pip", "--python", python, "show", "-f", "schemes"
    )
    assert "../../../include/" in shown or "include" in shown


def test_the_later_of_two_owners_of_a_path_has_it(image: Image) -> None:
    code = "import shared.module; print(shared.module.OWNER)"
    assert image.python(code) == "clash-two, the second"


def test_native_code_works(image: Image) -> None:
    assert image.python("import native; print(native.answer())") == "42"
    assert image.says("sourced") == "sourced"


def test_byte_code_is_there_and_is_used(
    image: Image, there: Mapping[str, tuple[Node, bytes]]
) -> None:
    sources = [
        path
        for path in there
        # The one that no Python 3 compiles.
        if path.startswith(SITE) and path.endswith(".py") and "crooked/legacy" not in path
    ]
    assert len(sources) > 20
    tag = f"cpython-{PYTHON.replace('.', '')}"
    for path in sources:
        folder, _, name = path.rpartition("/")
        code = there[f"{folder}/__pycache__/{name.removesuffix('.py')}.{tag}.pyc"][1]
        # PEP 552: flags that say that it is tied to the source's hash, which is not checked.
        assert code[4:8] == b"\1\0\0\0", path
    said = image.run("python", "-v", "-c", "import alpha.new")
    assert f"code object from '/{VENV}/{SITE}/alpha/__pycache__/new.{tag}.pyc'" in said.err


def test_times_and_owners_are_fixed(image: Image) -> None:
    times = {
        image.says("stat", "-c", "%Y %u:%g", f"/{VENV}/{SITE}/alpha/{name}")
        for name in ("new.py", ".")
    }
    assert times == {"1577836800 0:0"}
    assert image.times(VENV) == {1577836800}


@pytest.fixture
def tagged(index: Index, bare_store: Path, engine: Engine, tmp_path: Path) -> Project:
    """A project whose lock has a distribution with a wheel for glibc and one for musl."""
    machine = platform.machine()
    wheels = [
        Distribution(
            name="tagged",
            files={"tagged.py": f"LIBRARY = {library!r}\n"},
            tag=f"py3-none-{library}_{machine}",
            root_is_purelib=False,
        )
        for library in ("manylinux_2_17", "musllinux_1_2")
    ]
    index.add(*wheels)
    made = images.project(images.machine(tmp_path, index, engine, store=bare_store), "tagged")
    made.lock(wheels[0])
    lock = made.root / "requirements.txt"
    more = f" --hash=sha256:{index.sha256(wheels[1].filename)}"
    lock.write_text(lock.read_text(encoding="utf-8").rstrip() + more + "\n", encoding="utf-8")
    return made


def library(project: Project, engine: Engine, *arguments: str) -> str:
    """Build, and return which wheel is in the image."""
    images.build(project, "--deps", "store", *arguments)
    return Image(engine, "tagged:latest").python("import tagged; print(tagged.LIBRARY)")


def test_a_wheel_with_a_tag_of_a_platform(tagged: Project, engine: Engine) -> None:
    assert library(tagged, engine) == "manylinux_2_17"


# Stands in for a base with musl, which this machine has nothing to make of: its Python says that
# it uses the wheels for that.
STAND_IN = f"""\
FROM python:{PYTHON}-slim
COPY python3 /usr/local/bin/python3
"""
PYTHON3 = f"""\
#!/bin/sh
/usr/local/bin/python{PYTHON} "$@" | sed 's/manylinux_2_[0-9]*/musllinux_1_2/g; s/glibc-2/musl-1/g'
"""


def test_another_c_library_gets_other_wheels(
    tagged: Project, engine: Engine, tmp_path: Path
) -> None:
    """The environment on the desk has the wheel for glibc; what is in the store is of no use."""
    tagged.install()
    assert tagged.python("import tagged; print(tagged.LIBRARY)") == "manylinux_2_17\n"
    (tmp_path / "stand-in").mkdir()
    (tmp_path / "stand-in" / "Dockerfile").write_text(STAND_IN, encoding="utf-8")
    (tmp_path / "stand-in" / "python3").write_text(PYTHON3, encoding="utf-8")
    (tmp_path / "stand-in" / "python3").chmod(0o755)
    engine.ask("build", "--tag", "stand-in:1", str(tmp_path / "stand-in"))
    assert library(tagged, engine, "--build-arg", "BASE=stand-in:1") == "musllinux_1_2"
    # Neither is in the way of the other.
    assert library(tagged, engine) == "manylinux_2_17"
    assert tagged.python("import tagged; print(tagged.LIBRARY)") == "manylinux_2_17\n"


def test_good_distributions_have_what_is_compared_here() -> None:
    """None of the distributions above may lose what it is in the list for."""
    have = good()
    assert have["native-1.0"].sdist_only
    assert have["native-1.0"].extensions
    assert have["commands-1.0"].console_scripts
    assert have["commands-1.0"].gui_scripts
    assert have["schemes-1.0"].headers
    assert have["schemes-1.0"].data
    assert have["schemes-1.0"].scripts
    assert have["clash-one-1.0"].files.keys() & have["clash-two-1.0"].files.keys()
