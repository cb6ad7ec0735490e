"""Small real wheels and sdists, the same bytes each time, made without any build backend."""

import gzip
import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from packaging.utils import canonicalize_name

from . import backend
from .backend import PURE, Member, regular

Files: TypeAlias = Mapping[str, str | bytes]

# 2020-01-01: any fixed time will do that a zip can hold too, which is one after 1979.
_TAR_TIME = 1577836800

_PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


def _unchanged(content: bytes) -> bytes:
    return content


@dataclass(frozen=True, kw_only=True)
class Tampering:
    """What is wrong with a wheel on purpose.

    wrong_hash and unrecorded name members (as in the wheel) whose `RECORD` row has another hash,
    or is absent. members are added as they are, names, types and repeats included. file_stem
    replaces `name-version` in the file name only. alter gets the finished wheel's bytes and
    returns those to write.
    """

    wrong_hash: frozenset[str] = frozenset()
    unrecorded: frozenset[str] = frozenset()
    members: tuple[Member, ...] = ()
    file_stem: str | None = None
    alter: Callable[[bytes], bytes] = _unchanged


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """One version of a distribution, from which its wheel and its sdist can be made.

    files are relative to site-packages; those named in executable have the executable bit.
    requires are `Requires-Dist` values. console_scripts and gui_scripts map a command to
    `module:attribute`. scripts, data, headers, purelib and platlib fill the folders of those
    names in the wheel's `.data`. extensions map a module's path without suffix (`a/b`) to its C
    source: such a distribution has no wheel but what its sdist builds. spelling is the name as
    file names have it, where that is not the normalised one (PEP 625). sdist_only says how an
    index offers it, see `archive`. tampering is of the wheel alone.
    """

    name: str
    version: str = "1.0"
    files: Files = field(default_factory=dict)
    executable: frozenset[str] = frozenset()
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    requires_python: str | None = None
    console_scripts: Mapping[str, str] = field(default_factory=dict)
    gui_scripts: Mapping[str, str] = field(default_factory=dict)
    scripts: Files = field(default_factory=dict)
    data: Files = field(default_factory=dict)
    headers: Files = field(default_factory=dict)
    purelib: Files = field(default_factory=dict)
    platlib: Files = field(default_factory=dict)
    extensions: Mapping[str, str] = field(default_factory=dict)
    tag: str = PURE
    root_is_purelib: bool = True
    spelling: str | None = None
    sdist_only: bool = False
    tampering: Tampering = field(default_factory=Tampering)

    @property
    def stem(self) -> str:
        """`name-version` as in file names."""
        spelling = self.spelling or canonicalize_name(self.name).replace("-", "_")
        return f"{spelling}-{self.version}"

    @property
    def wheel_filename(self) -> str:
        """The file name that `wheel` gives."""
        return f"{self.tampering.file_stem or self.stem}-{self.tag}.whl"

    @property
    def sdist_filename(self) -> str:
        """The file name that `sdist` gives."""
        return f"{self.stem}.tar.gz"

    @property
    def filename(self) -> str:
        """The file name that `archive` gives."""
        return self.sdist_filename if self.sdist_only else self.wheel_filename

    @property
    def metadata(self) -> str:
        """The text of `METADATA`, and of `PKG-INFO`."""
        lines = ["Metadata-Version: 2.1", f"Name: {self.name}", f"Version: {self.version}"]
        lines.append(f"Summary: {self.name}, made for the tests")
        if self.requires_python is not None:
            lines.append(f"Requires-Python: {self.requires_python}")
        lines += [f"Requires-Dist: {requirement}" for requirement in self.requires]
        lines += [f"Provides-Extra: {extra}" for extra in self.extras]
        return "\n".join(lines) + "\n"

    def archive(self, folder: Path) -> Path:
        """Make what an index offers of this: the sdist if sdist_only is set, else the wheel."""
        return self.sdist(folder) if self.sdist_only else self.wheel(folder)

    def wheel(self, folder: Path) -> Path:
        """Write the wheel into folder, which need not exist, and return its path.

        Raises ValueError if the distribution has C code.
        """
        if self.extensions:
            raise ValueError(f"{self.stem} has C code: build its sdist")
        info = f"{self.stem}.dist-info"
        wheel = backend.wheel_file(self.tag, root_is_purelib=self.root_is_purelib)
        members = [
            *self._root(),
            *self.tampering.members,
            *self._meta(),
            regular(f"{info}/WHEEL", wheel),
        ]
        listed = [member for member in members if member.name not in self.tampering.unrecorded]
        wrong = dict.fromkeys(self.tampering.wrong_hash, backend.record_digest(b"something else"))
        members.append(backend.record(listed, f"{info}/RECORD", wrong))
        content = self.tampering.alter(backend.pack(members))
        return _written(folder / self.wheel_filename, content)

    def sdist(self, folder: Path) -> Path:
        """Write the sdist into folder, which need not exist, and return its path.

        It carries its own build backend, which needs no network, and which makes a wheel that is
        `py3-none-any`, or of this platform alone if there is C code.
        """
        source = Path(backend.__file__).read_bytes()
        members = [regular("backend.py", source), regular("pyproject.toml", _PYPROJECT)]
        members.append(regular("PKG-INFO", self.metadata))
        members += [_under("src", member) for member in self._root()]
        members += [_under("meta", member) for member in self._meta()]
        members += [regular(f"ext/{path}.c", text) for path, text in self.extensions.items()]
        return _written(folder / self.sdist_filename, _tarball(self.stem, members))

    def _root(self) -> list[Member]:
        return [
            regular(name, content, executable=name in self.executable)
            for name, content in self.files.items()
        ]

    def _meta(self) -> list[Member]:
        schemes = {
            "scripts": self.scripts,
            "data": self.data,
            "headers": self.headers,
            "purelib": self.purelib,
            "platlib": self.platlib,
        }
        members = [
            regular(f"{self.stem}.data/{scheme}/{name}", text, executable=scheme == "scripts")
            for scheme, files in schemes.items()
            for name, text in files.items()
        ]
        members.append(regular(f"{self.stem}.dist-info/METADATA", self.metadata))
        entry_points = _section("console_scripts", self.console_scripts)
        entry_points += _section("gui_scripts", self.gui_scripts)
        if entry_points:
            members.append(regular(f"{self.stem}.dist-info/entry_points.txt", entry_points))
        return members


def _section(name: str, commands: Mapping[str, str]) -> str:
    lines = [f"{command} = {target}\n" for command, target in commands.items()]
    return f"[{name}]\n{''.join(lines)}\n" if lines else ""


def _under(folder: str, member: Member) -> Member:
    return Member(name=f"{folder}/{member.name}", data=member.data, mode=member.mode)


def _tarball(root: str, members: list[Member]) -> bytes:
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w") as archive,
    ):
        for member in members:
            info = tarfile.TarInfo(f"{root}/{member.name}")
            info.size = len(member.data)
            info.mode = member.mode & 0o777
            info.mtime = _TAR_TIME
            archive.addfile(info, io.BytesIO(member.data))
    return buffer.getvalue()


def _written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
