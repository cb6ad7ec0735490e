"""The rows of a context with many small files and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.building.bench import Bench, in_turn
from benchmarks.building.engine import EngineError
from benchmarks.building.sample import Sample
from benchmarks.building.ways import FILES, Way, dockerfile
from benchmarks.recipes import LAST

ROWS = ("files", "one-file")

_FOLDERS = 500

# The file that changes is one of them.
_CHANGED = "data/000/0000000.txt"


class Files:
    """Measures these rows: every file is another one than before, or one of them is."""

    def __init__(self, bench: Bench, count: int) -> None:
        """Begin; ``count`` is the number of files."""
        tools = replace(bench.tools, arguments={})
        self._bench, self._count = replace(bench, tools=tools), count
        self._content = ""

    def measure(self, rows: Sequence[str]) -> Iterator[Sample]:
        """Take the samples of ``rows``."""
        if not set(ROWS) & set(rows):
            return
        for way in FILES:
            self._begin(way)
        for number in range(self._bench.repeats):
            for row in ROWS:
                for way in in_turn(FILES, number):
                    self._content = f"{self._bench.work.name} {row} {number}"
                    self._change(way, row)
                    command = self._bench.tools.build(way, self._bench.project(way))
                    sample = self._bench.measure(row, way, number, command, self._wrong)
                    if row in rows:
                        yield sample

    def _begin(self, way: Way) -> None:
        project = self._bench.project(way)
        project.mkdir(parents=True)
        (project / "Dockerfile").write_text(dockerfile(way, ""))
        lock = self._bench.series.state(LAST).folder
        for name in ("requirements.in", "requirements.txt", "envkit.toml"):
            (project / name).write_bytes((lock / name).read_bytes())
        for number in range(_FOLDERS):
            (project / "data" / f"{number:03}").mkdir(parents=True)

    def _change(self, way: Way, row: str) -> None:
        """Write all files, or one, anew."""
        project = self._bench.project(way)
        if row == "one-file":
            _write(project / _CHANGED, self._content, 0)
            return
        for number in range(self._count):
            name = f"data/{number % _FOLDERS:03}/{number:07}.txt"
            _write(project / name, self._content, number)

    def _wrong(self, way: Way) -> str | None:
        script = f"find data -type f | wc -l; cat {_CHANGED}"
        try:
            said = self._bench.engine.run(way.tag, "sh", "-c", script).splitlines()
        except EngineError as error:
            return str(error)
        if said[0] != str(self._count):
            return f"the image has {said[0]} files"
        return None if said[1] == f"{self._content} 0" else "the image has an older file"


def _write(path: Path, content: str, number: int) -> None:
    """Write a file of about a kilobyte, like no other."""
    line = f"{content} {number}\n"
    path.write_text(line * (1 + 1000 // len(line)))
