"""Base images out of this machine's own files, since no registry need be in reach.

They have what the packages of Debian or Ubuntu brought that are named here, and what those depend
on; and a Python, which may be any on this machine. Or they are another release of it, which is
unpacked in a folder. What is there decides what is in an image, to the byte; times are fixed, and
names sorted.
"""

import hashlib
import io
import json
import os
import platform
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import layers, packages
from .engines import Engine
from .layers import Tree
from .makes import Make, cache
from .projects import PYTHON

_CREATED = "2023-11-14T22:13:20Z"

# What a slim image of a distribution has, and the libraries that wheels may take for granted.
_PACKAGES = (
    *("base-files", "base-passwd", "bash", "ca-certificates", "coreutils", "dash", "debianutils"),
    *("findutils", "grep", "gzip", "hostname", "libc-bin", "mawk", "netbase", "sed", "tar"),
    *("tzdata", "libgcc-s1", "libstdc++6"),
)

# Of a Python's standard library, what takes much space and is asked for by no program.
_NEEDLESS = re.compile(
    r"(test|tests|idlelib|tkinter|turtledemo|config-.*|__pycache__|.*\.a)$"
    r"|_tkinter\.|_\w*test\w*\.cpython"
)
_KEPT = re.compile(r"pip(-[\d.]+\.dist-info)?$")

_CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"

_ENVIRONMENT = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG=C.UTF-8",
)


@dataclass(frozen=True, kw_only=True)
class Python:
    """A Python on this machine: its version, such as "3.11", and where it is installed.

    That is below the root folder of its release; another than the machine's is in `root`.
    """

    version: str
    prefix: Path
    root: Path = Path("/")

    @classmethod
    def of(cls, executable: str) -> "Python":
        """Return the one that an executable is of, which may be that of an environment."""
        code = "import sys; print('%d.%d' % sys.version_info[:2], sys.base_prefix)"
        version, _, prefix = _output(executable, "-c", code).strip().partition(" ")
        return cls(version=version, prefix=Path(prefix).resolve())

    @classmethod
    def of_other_release(cls) -> "Python | None":
        """Return that of the release which `get_engines.sh` has brought, if it has."""
        for program in cache().glob("*/usr/bin/python3.*[0-9]"):
            return cls(
                version=program.name.removeprefix("python"),
                prefix=Path("/usr"),
                root=program.parents[2],
            )
        return None


class BaseImages:
    """Archives of images, each of which is made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[tuple[str, Python | None, bool], Path] = {}

    def load(
        self, engine: Engine, tag: str, python: Python | None, *, machines_authorities: bool = False
    ) -> None:
        """Let an engine have an image; the arguments are those of `write_archive`."""
        archive = self.archive(tag, python, machines_authorities=machines_authorities)
        engine.ask("load", "--input", str(archive))

    def archive(
        self, tag: str, python: Python | None, *, machines_authorities: bool = False
    ) -> Path:
        """Return the archive of an image; the arguments are those of `write_archive`."""
        key = (tag, python, machines_authorities)
        if key not in self._made:
            path = self._folder / f"{len(self._made)}.tar"
            write_archive(path, tag=tag, python=python, machines_authorities=machines_authorities)
            self._made[key] = path
        return self._made[key]


@contextmanager
def started(make: Make, base_images: BaseImages, python: Python) -> Iterator[Engine]:
    """Start an engine that has the base image of a project which does not ask for another."""
    with Engine(make) as made:
        base_images.load(made, f"python:{PYTHON}-slim", python)
        yield made


def write_archive(
    path: Path, *, tag: str, python: Python | None, machines_authorities: bool = False
) -> None:
    """Write an image as `docker load` reads it.

    Args:
        path: where to.
        tag: its name.
        python: which Python it has, if any; as `python3` of `/usr/local/bin`.
        machines_authorities: whether it trusts whatever certificate authorities this machine
            trusts; otherwise, those that the distribution does.
    """
    root = python.root if python else Path("/")
    tree = Tree(root)
    if root == Path("/"):
        for file in _files(_closure([*_PACKAGES, *_packages_of(python)])):
            tree.add(file)
    else:
        for file in root.rglob("*"):
            tree.add(file)
        _configure(tree)
    _add_basics(tree, root)
    tree.write(_CERTIFICATES, _authorities(root, machines_authorities))
    if python is not None:
        _add_python(tree, python)
    layer = tree.layer()
    digest = hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
            "os": "linux",
            "created": _CREATED,
            "config": {"Env": _ENVIRONMENT, "Cmd": ["bash"], "WorkingDir": "/"},
            "history": [{"created": _CREATED, "created_by": "envkit's tests"}],
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        },
        sort_keys=True,
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    listed = [{"Config": name, "RepoTags": [tag], "Layers": ["layer.tar"]}]
    manifest = json.dumps(listed).encode()
    with tarfile.open(path, "w") as archive:
        for member, content in (
            (name, config),
            ("manifest.json", manifest),
            ("layer.tar", layer),
        ):
            archive.addfile(layers.member(member, size=len(content)), io.BytesIO(content))


def _closure(packages: Iterable[str]) -> list[str]:
    """Return packages that are installed, and the installed ones that they need."""
    kinds = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    without = [f"--no-{kind}" for kind in kinds]
    text = _output("apt-cache", "depends", "--recurse", "--installed", *without, *packages)
    names = {line for line in text.splitlines() if line[:1].isalnum()}
    form = "${db:Status-Status} ${binary:Package}\n"
    # It ends with 1 where a name is no package's own, as some are only provided.
    states = _output("dpkg-query", "--show", f"--showformat={form}", *sorted(names), codes=(0, 1))
    pairs = (line.split() for line in states.splitlines())
    return [name for state, name in pairs if state == "installed"]


def _files(packages: Sequence[str]) -> Iterator[Path]:
    """Yield what packages have brought."""
    for line in sorted({*_output("dpkg-query", "--listfiles", *packages).splitlines()}):
        if line.startswith("/") and line != "/.":
            yield Path(line)


def _add_basics(tree: Tree, root: Path) -> None:
    """Add what no package lists, as it is made when one is installed."""
    for name in ("bin", "sbin", "lib", "lib64"):
        if (root / name).is_symlink():
            tree.add(root / name)
    for name in ("etc/alternatives/awk", "usr/bin/awk", "etc/nsswitch.conf"):
        tree.add(root / name)
    for name in ("passwd", "group"):
        users = root / "usr" / "share" / "base-passwd" / f"{name}.master"
        tree.write(f"etc/{name}", users.read_bytes())
    tree.write("etc/shadow", b"root:*:19700:0:99999:7:::\n", 0o640)
    for name in ("dev", "home", "proc", "run", "sys"):
        tree.folder(name)
    tree.folder("root", 0o700)
    tree.folder("tmp", 0o1777)
    tree.folder("var/tmp", 0o1777)


def _configure(tree: Tree) -> None:
    """Add what installing does beside unpacking, and a package in a folder that apt looks into."""
    tree.link("usr/bin/sh", "dash")
    tree.link("usr/bin/awk", "mawk")
    with tempfile.TemporaryDirectory() as folder:
        for name, content in packages.repository(Path(folder)).items():
            tree.write(f"srv/packages/{name}", content)
    source = b"deb [trusted=yes lang=none] file:/srv/packages ./\n"
    tree.write("etc/apt/sources.list.d/tests.list", source)


def _authorities(root: Path, machines: bool) -> bytes:
    """Return the certificates of authorities: the machine's, or the release's own."""
    if machines:
        return Path("/", _CERTIFICATES).read_bytes()
    folder = root / "usr" / "share" / "ca-certificates" / "mozilla"
    return b"".join(path.read_bytes().strip() + b"\n" for path in sorted(folder.glob("*.crt")))


def _packages_of(python: Python | None) -> Sequence[str]:
    """Return the packages that a Python comes from, if it does."""
    if python is None or python.prefix != Path("/usr"):
        return ()
    return (f"python{python.version}", f"python{python.version}-venv")


def _add_python(tree: Tree, python: Python) -> None:
    """Add a Python, and what makes it the one that is found first."""
    if python.prefix == Path("/usr"):
        tree.link("usr/local/bin/python3", f"/usr/bin/python{python.version}")
    else:
        _add_tree(tree, python)
        _add_libraries(tree, python)
        tree.link("usr/local/bin/python3", f"python{python.version}")
        pip = f'#!/bin/sh\nexec /usr/local/bin/python{python.version} -m pip "$@"\n'
        tree.write("usr/local/bin/pip", pip.encode(), 0o755)
    tree.link("usr/local/bin/python", "python3")


def _add_tree(tree: Tree, python: Python) -> None:
    """Add a Python's own program and library: no headers, tests, or what was installed to it."""
    library = f"lib/python{python.version}"
    tree.add(
        python.prefix / "bin" / f"python{python.version}", f"usr/local/bin/python{python.version}"
    )
    for path in (python.prefix / "lib").glob("libpython*.so*"):
        tree.add(path, f"usr/local/lib/{path.name}")
        # Where it is looked for without more ado (ld.so(8)).
        tree.link(f"usr/lib/{path.name}", f"/usr/local/lib/{path.name}")
    for folder, inner, files in os.walk(python.prefix / library):
        below = Path(folder).relative_to(python.prefix)
        inner[:] = [name for name in inner if not _NEEDLESS.match(name)]
        if below == Path(library, "site-packages"):
            inner[:] = [name for name in inner if _KEPT.match(name)]
            files.clear()
        tree.add(Path(folder), str("usr/local" / below))
        for name in files:
            if not _NEEDLESS.match(name):
                tree.add(Path(folder, name), str("usr/local" / below / name))


def _add_libraries(tree: Tree, python: Python) -> None:
    """Add the shared libraries of the machine's that a Python needs."""
    modules = python.prefix.glob(f"lib/python{python.version}/lib-dynload/*.so")
    needing = [path for path in modules if not _NEEDLESS.match(path.name)]
    needing += [python.prefix / "bin" / f"python{python.version}"]
    text = _output("ldd", *map(str, needing))
    for found in sorted({*re.findall(r"=> (/\S+)", text)}):
        path = Path(found)
        if python.prefix not in path.parents:
            tree.add(path)
            tree.add(path.resolve())


def _output(*command: str, codes: Sequence[int] = (0,)) -> str:
    done = subprocess.run(command, check=False, capture_output=True, encoding="utf-8")
    assert done.returncode in codes, f"{command[0]}: {done.stderr}"
    return done.stdout
