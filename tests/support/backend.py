"""Writes wheels, and is the build backend (PEP 517, PEP 660) inside every sdist of the tests.

This file is copied into each sdist, so it imports nothing but the standard library. The source
tree that it builds, seen from the folder that holds this file:

    src/                        what goes to the root of the wheel
    meta/<stem>.dist-info/      METADATA and the like; WHEEL and RECORD are made here
    meta/<stem>.data/           scripts, headers and so on, where there are any
    ext/                        C sources; `ext/a/b.c` becomes the extension module `a.b`
"""

import base64
import csv
import hashlib
import io
import itertools
import shutil
import stat
import subprocess
import sys
import sysconfig
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

PURE = "py3-none-any"

# Any fixed time makes archives repeatable; a zip cannot hold one before 1980.
_ZIP_TIME = (2020, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Member:
    """One member of a wheel: its name as written, its bytes, and its `st_mode` with file type."""

    name: str
    data: bytes
    mode: int = stat.S_IFREG | 0o644


def regular(name: str, content: str | bytes, *, executable: bool = False) -> Member:
    """Return a plain file as a member; text is written as UTF-8."""
    data = content.encode() if isinstance(content, str) else content
    return Member(name=name, data=data, mode=stat.S_IFREG | (0o755 if executable else 0o644))


def wheel_file(tag: str, *, root_is_purelib: bool) -> str:
    """Return the text of a `WHEEL` file for a tag, which may be a compressed set (PEP 425)."""
    lines = [
        "Wheel-Version: 1.0",
        "Generator: tests",
        f"Root-Is-Purelib: {'true' if root_is_purelib else 'false'}",
    ]
    parts = (part.split(".") for part in tag.split("-"))
    lines += [f"Tag: {'-'.join(one)}" for one in itertools.product(*parts)]
    return "\n".join(lines) + "\n"


def record_digest(data: bytes) -> str:
    """Return the hash of data in the form that `RECORD` uses."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}"


def record(members: Iterable[Member], name: str, digests: Mapping[str, str]) -> Member:
    """Return the `RECORD` called name for members; digests replaces the true ones of some."""
    rows = {
        member.name: (digests.get(member.name, record_digest(member.data)), str(len(member.data)))
        for member in members
    }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows((path, *row) for path, row in rows.items())
    writer.writerow((name, "", ""))
    return regular(name, text.getvalue())


def pack(members: Iterable[Member]) -> bytes:
    """Return a zip of members in their order; the same members give the same bytes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        # Members of one name are wanted by some tests, and zipfile warns of them.
        warnings.simplefilter("ignore", UserWarning)
        for member in members:
            info = zipfile.ZipInfo(member.name, _ZIP_TIME)
            info.create_system = 3
            info.external_attr = member.mode << 16
            archive.writestr(info, member.data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def platform_tag() -> str:
    """Return the tag of a wheel that only this interpreter on this platform can use."""
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    return f"{python}-{python}{sys.abiflags}-{platform}"


def _tree(folder: Path) -> list[Member]:
    return [
        regular(
            path.relative_to(folder).as_posix(),
            path.read_bytes(),
            executable=bool(path.stat().st_mode & stat.S_IXUSR),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]


def _stem() -> str:
    (info,) = Path("meta").glob("*.dist-info")
    return info.name.removesuffix(".dist-info")


def _extensions() -> list[Member]:
    compiler = (sysconfig.get_config_var("CC") or "cc").split()
    if shutil.which(compiler[0]) is None:
        # The interpreter may have been built with a compiler that this machine lacks.
        compiler = ["cc"]
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    darwin = sys.platform == "darwin"
    sharing = ["-bundle", "-undefined", "dynamic_lookup"] if darwin else ["-shared"]
    built = []
    for source in sorted(Path("ext").rglob("*.c")):
        target = Path("build", source.relative_to("ext")).with_suffix(suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        command = [*compiler, *sharing, "-fPIC", "-O1"]
        command += [f"-I{sysconfig.get_path('include')}", str(source), "-o", str(target)]
        subprocess.run(command, check=True)
        name = target.relative_to("build").as_posix()
        built.append(regular(name, target.read_bytes(), executable=True))
    return built


def _write(wheel_directory: str, content: list[Member], *, tag: str) -> str:
    stem = _stem()
    info = f"{stem}.dist-info"
    wheel = wheel_file(tag, root_is_purelib=tag == PURE)
    members = [*content, *_tree(Path("meta")), regular(f"{info}/WHEEL", wheel)]
    members.append(record(members, f"{info}/RECORD", {}))
    filename = f"{stem}-{tag}.whl"
    Path(wheel_directory, filename).write_bytes(pack(members))
    return filename


def build_wheel(
    wheel_directory: str,
    config_settings: object = None,  # noqa: ARG001
    metadata_directory: str | None = None,  # noqa: ARG001
) -> str:
    """Build the wheel and return its file name (PEP 517)."""
    built = _extensions()
    return _write(
        wheel_directory, _tree(Path("src")) + built, tag=platform_tag() if built else PURE
    )


def build_editable(
    wheel_directory: str,
    config_settings: object = None,  # noqa: ARG001
    metadata_directory: str | None = None,  # noqa: ARG001
) -> str:
    """Build a wheel that leads to `src/` with a path file, and return its file name (PEP 660)."""
    path_file = regular(f"__editable__.{_stem()}.pth", f"{Path('src').resolve()}\n")
    return _write(wheel_directory, [path_file], tag=PURE)


def prepare_metadata_for_build_wheel(
    metadata_directory: str,
    config_settings: object = None,  # noqa: ARG001
) -> str:
    """Write the `.dist-info` without `RECORD`, and return its name (PEP 517)."""
    info = f"{_stem()}.dist-info"
    target = Path(metadata_directory, info)
    shutil.copytree(Path("meta", info), target)
    tag = platform_tag() if any(Path("ext").rglob("*.c")) else PURE
    wheel = wheel_file(tag, root_is_purelib=tag == PURE)
    target.joinpath("WHEEL").write_text(wheel, encoding="utf-8")
    return info
