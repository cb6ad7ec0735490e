"""What a base image has: its Python, asked in a container of it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from envkit import interpreter, tar
from envkit.engines.container import Once, run_once
from envkit.engines.engine import Engine
from envkit.engines.images import Image
from envkit.errors import MissingError
from envkit.fetching import selection
from envkit.interpreter import Interpreter
from envkit.store.layout import write_whole

# Where the library `packaging` is put for the container to be asked with.
_FOLDER = "tmp/envkit-probe"

_QUESTION = f"""
import sys
print(getattr(sys, "_base_executable", "") or sys.executable)
{interpreter.PROBE}
sys.argv = ["", "/{_FOLDER}"]
{selection.TAGS}
"""


class Base(NamedTuple):
    """The Python of a base image.

    Attributes:
        python: the path of its executable in the image.
        interpreter: what identifies it; without a path, as it is not on this machine.
        tags: the tags of the wheels that it can use, the best one with rank 0.
    """

    python: str
    interpreter: Interpreter
    tags: Mapping[str, int]


def ask(engine: Engine, image: Image, *, name: str, cache: Path) -> Base:
    """Return the Python of an image, asking it only once.

    Args:
        engine: the engine that has the image.
        image: the image.
        name: what people call it.
        cache: a folder in which answers are kept.

    Raises:
        MissingError: it has no Python 3, or one that does not run.
        ToolError: the engine fails.
    """
    key = hashlib.sha256(f"{image.id}\0{_QUESTION}".encode()).hexdigest()[:24]
    remembered = cache / f"image-{key}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(remembered.read_bytes())
        return _base(known["answer"], cache)
    question = Once(
        image=image.id,
        command=["python3", "-I", "-S", "-c", _QUESTION],
        files=_library(),
        patience=60,
    )
    hint = "Name another one: the Dockerfile's ARG BASE, or [tool.envkit.image] base."
    try:
        ended = run_once(engine, question)
    except MissingError as error:
        raise MissingError(f"{name} has no python3: {error.message}", hint) from None
    if ended.returncode:
        complaint = ended.stderr.strip().rpartition("\n")[2]
        raise MissingError(f"The python3 of {name} does not run: {complaint}", hint)
    try:
        found = _base(ended.stdout, cache)
    except (ValueError, LookupError, TypeError):
        raise MissingError(f"The python3 of {name} does not answer as Python does", hint) from None
    write_whole(remembered, json.dumps({"answer": ended.stdout}))
    return found


def _base(answer: str, cache: Path) -> Base:
    python, probed, tags = answer.splitlines()
    found = interpreter.told(probed)
    listed = json.loads(tags)
    # Wheels are chosen for it as for an interpreter of this machine.
    selection.remember(found, listed, cache)
    return Base(python, found, {tag: rank for rank, tag in enumerate(listed)})


def _library() -> bytes:
    """Return a tar archive with the library that knows the tags."""
    import packaging

    source = Path(packaging.__file__).parent
    members = []
    for folder in (_FOLDER, f"{_FOLDER}/packaging"):
        members.append(tar.header(os.fsencode(folder), kind=tar.FOLDER, mode=0o755, mtime=0))
    for path in sorted(source.glob("*.py")):
        content = path.read_bytes()
        name = os.path.join(_FOLDER, "packaging", path.name)
        members.append(tar.header(os.fsencode(name), size=len(content), mode=0o644, mtime=0))
        members.append(content + tar.padding(len(content)))
    return b"".join([*members, tar.END])
