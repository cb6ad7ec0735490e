"""The program that compiles: what it writes follows from the source alone."""

import json
import marshal
import subprocess
import sys
from pathlib import Path

from envkit.store import bytecode_worker

# What made byte-code differ: slices among the constants need a marshal that writes references,
# and the name of a local class is one object or two, by what else is alive in the process.
SOURCE = """\
def make(values):
    class Local:
        first = values[1:2]
    return Local
"""


def compiled(folder: Path, *sources: str) -> list[bytes]:
    """Return the byte-code of modules that are all at one place, made one after the other."""
    folder.mkdir()
    settings = {"idle": False, "worker": 0, "workers": 1, "roots": [], "live": None}
    lines = [json.dumps(settings)]
    targets = []
    for number, source in enumerate(sources):
        path, target = folder / f"{number}.py", folder / f"{number}.pyc"
        path.write_text(source, encoding="utf-8")
        lines.append(f"{path}\t{target}\tmodule.py")
        targets.append(target)
    command = [sys.executable, "-I", bytecode_worker.__file__]
    subprocess.run(command, input="\n".join(lines) + "\n", encoding="utf-8", check=True)
    return [target.read_bytes() for target in targets]


def test_constant_slices(tmp_path: Path) -> None:
    (content,) = compiled(tmp_path / "a", SOURCE)
    found: dict[str, object] = {}
    exec(marshal.loads(content[16:]), found)  # noqa: S102, S302
    made = found["make"]
    assert callable(made)
    assert made("abc").first == "b"


def test_the_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    other = f"OTHER = True\n{SOURCE}"
    (first,) = compiled(tmp_path / "a", SOURCE)
    (second,) = compiled(tmp_path / "b", other)
    assert compiled(tmp_path / "c", SOURCE, other) == [first, second]
    assert compiled(tmp_path / "d", other, SOURCE) == [second, first]
