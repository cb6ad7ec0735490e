"""The image of the stand-in for TensorFlow Serving, laid out as that of the real one is.

Sources: tensorflow_serving/tools/docker/Dockerfile; elf(5), for what a shared library needs.
"""

import io
import json
import mmap
import os
import re
import shutil
import stat
import struct
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

from .. import layers
from ..base_images import BaseImages, Python
from ..engines import Engine
from .environment import VERSION, TensorFlow

NAME, TAG = "tensorflow/serving", VERSION

# What the stand-in's images have, and the real one's have not.
LABEL = "dev.envkit.tests.stand-in"

# Where its modules are.
_PLACE = "usr/lib/tensorflow-serving-stand-in"

_PROGRAM = f"""\
#!/usr/local/bin/python3 -I
\"\"\"The stand-in for TensorFlow Serving.\"\"\"
import runpy
import sys

sys.path.insert(0, "/{_PLACE}")
runpy.run_module("server", run_name="__main__")
"""

# It does not become the server, and as the first process of a container heeds no SIGTERM.
_ENTRY_POINT = """\
#!/bin/bash

tensorflow_model_server --port=8500 --rest_api_port=8501 \
--model_name=${MODEL_NAME} --model_base_path=${MODEL_BASE_PATH}/${MODEL_NAME} \
"$@"
"""

_CHANGES = (
    "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "ENV MODEL_BASE_PATH=/models",
    "ENV MODEL_NAME=model",
    "EXPOSE 8500",
    "EXPOSE 8501",
    'ENTRYPOINT ["/usr/bin/tf_serving_entrypoint.sh"]',
    f'LABEL {LABEL}="for tensorflow/serving; not the real one"',
)

# What loading and running a SavedModel does without, by the beginnings of names.
_LEFT_OUT = re.compile(
    r"(keras|h5py|optree|namex|rich|pygments|markdown_it|mdurl|clang|grpc|pip|setuptools"
    r"|_distutils_hack|wheel|tensorboard)[^/]*(/|$)"
    r"|[^/]+\.(dist-info/|pth$)"
    r"|tensorflow/include/|tensorflow/xla_aot_runtime_src/"
    r"|tensorflow/compiler/tf2xla/ops/_xla_ops\.so$"
    r"|(.*/)?tests/"
)

# Of libraries that have so many bytes it is worth the while to leave out what only linkers read.
_LARGE = 4 << 20

_BUFFER = 1 << 20


def has_real(engine: Engine, tag: str) -> bool:
    """Return whether an engine has the real image of a tag."""
    found = engine.docker("image", "inspect", f"{NAME}:{tag}")
    if found.code:
        return False
    (about,) = json.loads(found.out)
    return LABEL not in (about["Config"]["Labels"] or {})


def bring_real(engine: Engine, tag: str) -> bool:
    """Let an engine have the real image, if the machine's own engine has it; return whether it has.

    Args:
        engine: an engine of the tests.
        tag: the image's tag.
    """
    docker, name = shutil.which("docker"), f"{NAME}:{tag}"
    if docker is None:
        return False
    inspecting = [docker, "image", "inspect", name]
    found = subprocess.run(inspecting, capture_output=True, check=False, timeout=60)
    if found.returncode or LABEL.encode() in found.stdout:
        return False
    archive = engine.folder / "real.tar"
    subprocess.run([docker, "save", "--output", str(archive), name], check=True, timeout=600)
    engine.ask("load", "--input", str(archive))
    archive.unlink()
    return has_real(engine, tag)


def load(engine: Engine, base_images: BaseImages, tensorflow: TensorFlow, *, tag: str) -> None:
    """Let an engine have the stand-in under the name of the real image, with a tag.

    It takes the place of whatever has that name: `has_real` says whether that is the real one.
    """
    python = Python.of(str(tensorflow.python))
    base = base_images.archive(f"python:{python.version}-slim", python)
    changes = [word for change in _CHANGES for word in ("--change", change)]
    command = [str(engine.make.docker), "import", *changes, "-", f"{NAME}:{tag}"]
    with subprocess.Popen(
        command,
        env=dict(engine.environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as importing:
        assert importing.stdin
        assert importing.stderr
        try:
            with (
                importing.stdin as stream,
                tarfile.open(fileobj=stream, mode="w|", bufsize=_BUFFER) as archive,
            ):
                _pack_base(archive, base)
                _pack_own(archive, tensorflow)
        except BrokenPipeError:
            # What it says tells why.
            pass
        said = importing.stderr.read().decode(errors="replace")
    assert importing.returncode == 0, said


def _pack_base(archive: tarfile.TarFile, base: Path) -> None:
    with tarfile.open(base) as image:
        packed = image.extractfile("layer.tar")
        assert packed
        with tarfile.open(fileobj=packed) as layer:
            for member in layer:
                archive.addfile(member, layer.extractfile(member) if member.isfile() else None)


def _pack_own(archive: tarfile.TarFile, tensorflow: TensorFlow) -> None:
    for name, text in (
        ("usr/bin/tensorflow_model_server", _PROGRAM),
        ("usr/bin/tf_serving_entrypoint.sh", _ENTRY_POINT),
    ):
        content = text.encode()
        made = layers.member(name, size=len(content), mode=0o755)
        archive.addfile(made, io.BytesIO(content))
    for name in ("models", _PLACE):
        _pack_folder(archive, name)
    server = Path(__file__).with_name("server")
    _pack_folder(archive, f"{_PLACE}/{server.name}")
    for path in sorted(server.glob("*.py")):
        _pack_file(archive, f"{_PLACE}/{server.name}/{path.name}", path)
    for folder in (tensorflow.site, tensorflow.messages):
        for name, path in _kept(folder):
            if path.is_dir():
                _pack_folder(archive, f"{_PLACE}/{name}")
            else:
                _pack_file(archive, f"{_PLACE}/{name}", path)


def _kept(top: Path) -> Iterator[tuple[str, Path]]:
    """Yield what is in a folder of modules, as far as it is needed: its name and its path."""
    for place, folders, files in os.walk(top):
        below = Path(place).relative_to(top)
        folders[:] = sorted(one for one in folders if not _LEFT_OUT.match(f"{below / one}/"))
        kept = sorted(one for one in files if not _LEFT_OUT.match(str(below / one)))
        for name in (*folders, *kept):
            yield str(below / name), Path(place, name)


def _pack_folder(archive: tarfile.TarFile, name: str) -> None:
    made = layers.member(name, mode=0o755)
    made.type = tarfile.DIRTYPE
    archive.addfile(made)


def _pack_file(archive: tarfile.TarFile, name: str, path: Path) -> None:
    status = path.stat()
    made = layers.member(name, mode=stat.S_IMODE(status.st_mode) | 0o444)
    # Byte-code is that of a source of a certain time.
    made.mtime = int(status.st_mtime)
    with path.open("rb") as file:
        if status.st_size < _LARGE or ".so" not in path.name:
            made.size = status.st_size
            archive.addfile(made, file)
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as library:
            made.size = _cut(library)
            # tarfile reads no further than that.
            archive.addfile(made, library)


def _cut(library: mmap.mmap) -> int:
    """Take the list of sections out of a library; return how long what is loaded of it is.

    A loader looks at segments only; the sections behind them are symbols, for linkers.
    """
    assert library[:5] == b"\x7fELF\x02", "no library of 64 bits"
    (start,) = struct.unpack_from("<Q", library, 32)
    size, count = struct.unpack_from("<HH", library, 54)
    ends: list[int] = []
    for number in range(count):
        (offset,) = struct.unpack_from("<Q", library, start + number * size + 8)
        (length,) = struct.unpack_from("<Q", library, start + number * size + 32)
        ends.append(offset + length)
    library[40:48] = bytes(8)
    library[60:64] = bytes(4)
    return max(ends)
