"""What may stand on what, who may print, ask, exit or start a process; how long a file may be."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import envkit

ROOT = Path(envkit.__file__).parent
TESTS = Path(__file__).parent

# From top to bottom. A module imports what is in a layer below its own, and a module of a package
# beside that what is in its package. What is new has to be given its place here.
LAYERS = (
    {"__main__"},
    {"cli"},
    {"history", "scaffold", "services", "status", "verification"},
    {"image"},
    {"builders", "installation"},
    {"assets", "fetching"},
    {"collection", "locks", "render"},
    {"environment"},
    {"gpu"},
    {"contexts", "engines", "git", "pip", "slurm"},
    {"interpreter", "project"},
    {"blueprints", "config", "store"},
    {"declared"},
    {
        "beside",
        "boot",
        "changes",
        "dockerfile",
        "drafts",
        "mutex",
        "process",
        "quantities",
        "tables",
        "tar",
        "versions",
    },
    {"supervised"},
    {"foreground", "overrides", "procfs", "refusals"},
    {"errors"},
)

# Run as programs of their own, in which printing is how they answer.
PROGRAMS = {"__main__", "installation.background", "store.unpacker", "store.bytecode_worker"}

# What only the command line does.
TALKING = {"print", "input", "exit", "quit", "sys.exit", "sys.stdout", "sys.stderr", "sys.stdin"}
TALKING_MODULES = {"click", "rich", "getpass"}

# What few modules do.
STARTING = ("os.exec", "os.fork", "os.system", "os.popen", "os.spawn", "os.posix_spawn")
STARTING_MODULES = {"subprocess", "multiprocessing", "pty", "asyncio"}

LONGEST = 400


def _modules() -> dict[str, ast.Module]:
    """Return each module of the package, by its name below the package."""
    found = {}
    # Templates are what other programs become.
    paths = [path for path in ROOT.rglob("*.py") if ROOT / "templates" not in path.parents]
    for path in sorted(paths):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = _modules()


def _imports(tree: ast.Module) -> Iterator[str]:
    """Yield the full name of everything that is imported, wherever in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide what stands on what"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _own_imports(tree: ast.Module) -> set[str]:
    """Return the modules of the package that a module imports, by their names below it."""
    found = set()
    for name in _imports(tree):
        top, _, rest = name.partition(".")
        if top == "envkit":
            module = rest if rest in MODULES else rest.rpartition(".")[0]
            found.add(module or "__init__")
    return found - {"__init__"}


def _layer(module: str) -> int:
    top = module.partition(".")[0]
    found = [number for number, layer in enumerate(LAYERS) if top in layer]
    assert len(found) == 1, f"{module} has no place in LAYERS"
    return found[0]


def _uses(tree: ast.Module) -> Iterator[str]:
    """Yield every name, and every attribute of a name, that a module uses."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"


def _length(source: Path) -> int:
    return len(source.read_text(encoding="utf-8").splitlines())


def _allowed(module: str, other: str) -> bool:
    package, dot, _ = module.partition(".")
    beside = bool(dot) and other.partition(".")[0] == package
    return beside or _layer(other) > _layer(module)


@pytest.mark.parametrize("module", sorted({*MODULES} - {"__init__"}))
def test_imports_lead_downward(module: str) -> None:
    wrong = {other for other in _own_imports(MODULES[module]) if not _allowed(module, other)}
    assert wrong == set()


def test_every_name_in_the_layers_is_a_module() -> None:
    named = {name for layer in LAYERS for name in layer}
    assert named == {module.partition(".")[0] for module in MODULES} - {"__init__"}


def test_nothing_imports_itself_in_a_circle() -> None:
    left = {module: _own_imports(tree) for module, tree in MODULES.items()}
    while free := {module for module, needs in left.items() if not needs & left.keys()}:
        left = {module: needs for module, needs in left.items() if module not in free}
    assert left == {}


@pytest.mark.parametrize("module", sorted({*MODULES} - PROGRAMS))
def test_only_the_command_line_talks(module: str) -> None:
    if module.partition(".")[0] == "cli":
        return
    tree = MODULES[module]
    assert TALKING & {*_uses(tree)} == set()
    assert TALKING_MODULES & {name.partition(".")[0] for name in _imports(tree)} == set()


@pytest.mark.parametrize("module", sorted({*MODULES} - {"process", "foreground", "supervised"}))
def test_few_modules_start_processes(module: str) -> None:
    tree = MODULES[module]
    used = {name for name in (*_uses(tree), *_imports(tree)) if name.startswith(STARTING)}
    used |= STARTING_MODULES & {name.partition(".")[0] for name in _imports(tree)}
    assert used == set()


def test_the_checks_see_what_they_look_for() -> None:
    tree = ast.parse("import subprocess, os, sys\nos.execv('x', [])\nprint(sys.stdout)\n")
    assert {"os.execv", "print", "sys.stdout"} <= {*_uses(tree)}
    assert "subprocess" in _imports(tree)
    assert "subprocess" in _imports(MODULES["process"])
    assert "process" in _own_imports(MODULES["pip"])
    assert not _allowed("pip", "installation.plan")
    assert not _allowed("errors", "process")
    assert _allowed("store.wheels", "store.layout")


@pytest.mark.parametrize("module", sorted(MODULES))
def test_modules_are_short(module: str) -> None:
    path = ROOT / Path(*module.split("."))
    source = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    assert _length(source) <= LONGEST


@pytest.mark.parametrize(
    "name", sorted(str(path.relative_to(TESTS)) for path in TESTS.rglob("*.py"))
)
def test_tests_are_short(name: str) -> None:
    assert _length(TESTS / name) <= LONGEST


@pytest.mark.parametrize("module", sorted(MODULES))
def test_what_is_public_says_what_it_does(module: str) -> None:
    tree = MODULES[module]
    public = [
        node
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
    ]
    assert [node.name for node in public if ast.get_docstring(node) is None] == []
    assert ast.get_docstring(tree) or not tree.body
