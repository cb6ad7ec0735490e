"""Some pins fetched by one pip."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from envkit import pip, process
from envkit.errors import IntegrityError, ToolError
from envkit.fetching.progress import Progress
from envkit.interpreter import Interpreter
from envkit.locks.formats import control
from envkit.locks.lock import Pin
from envkit.quantities import few
from envkit.store import digest

# What `--progress-bar raw` prints, in bytes (pip's documentation of that option).
_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")


class Archive(NamedTuple):
    """A wheel on the disk.

    Attributes:
        pin: the pin that it was fetched for.
        path: where it is.
        sha256: its digest, in hex: one of the pin's, unless it was built here.
        build: what it was built from and for, where it was; empty where it was not.
    """

    pin: Pin
    path: Path
    sha256: str
    build: str = ""


class Batch:
    """Fetches some pins with one pip."""

    def __init__(
        self,
        interpreter: Interpreter,
        root: Path,
        environ: Mapping[str, str],
        folder: Path,
        progress: Progress,
    ) -> None:
        self._interpreter = interpreter
        self._root = root
        self._environ = environ
        self._folder = folder
        self._progress = progress
        self._current = 0

    def bring(self, pins: Sequence[Pin]) -> list[Archive]:
        """Return the wheels of pins, those of sdists built.

        Raises:
            ToolError: pip cannot bring or build something.
            IntegrityError: what came is not what the lock names.
        """
        kind = hashlib.sha256(self._interpreter.compatibility.encode()).hexdigest()[:16]
        found = []
        for pin, path, sha256 in self.download(pins):
            if path.suffix == ".whl":
                found.append(Archive(pin, path, sha256))
            else:
                built = self._build(pin, path)
                found.append(Archive(pin, built, digest.sha256(built), f"{sha256}-{kind}"))
        return found

    def download(self, pins: Sequence[Pin]) -> list[tuple[Pin, Path, str]]:
        """Return each pin's file, whose hash pip has compared with the lock's, and that hash.

        Raises:
            ToolError: pip cannot bring something.
            IntegrityError: what came is not what the lock names.
        """
        self._folder.mkdir()
        controls = filter(None, (control(pin.name, pin.form) for pin in pins))
        lines = [*controls, *(pin.requirement() for pin in pins)]
        listed = pip.requirement_file(self._folder, lines)
        target = self._folder / "files"
        arguments = [
            *("download", "--no-deps", "--require-hashes", "--progress-bar", "raw"),
            *("--dest", str(target), "--requirement", str(listed)),
        ]
        completed = self._pip(arguments)
        if pip.hides_cause(completed):
            completed = self._pip([*arguments, "-vv"])
        if completed.returncode:
            raise pip.explain(completed, f"Fetching {few(pins, 3)} failed")
        by_hash = {digest: pin for pin in pins for digest in pin.hashes}
        found = []
        for path in sorted(target.iterdir()):
            sha256 = digest.sha256(path)
            if sha256 in by_hash:
                found.append((by_hash[sha256], path, sha256))
        lacking = {pin.name for pin in pins} - {pin.name for pin, _, _ in found}
        if lacking:
            raise IntegrityError(
                f"What came for {', '.join(sorted(lacking))} has none of the lock's hashes",
                "Run `envkit lock --upgrade` if the change is meant.",
            )
        return found

    def _pip(self, arguments: Sequence[str]) -> process.Completed:
        return pip.run(
            self._interpreter,
            arguments,
            environ=self._environ,
            cwd=self._root,
            on_line=self._follow,
        )

    def _build(self, pin: Pin, sdist: Path) -> Path:
        """Return the wheel that pip builds, in isolation, from an sdist."""
        target = self._folder / f"built-{pin.name}"
        completed = pip.run(
            self._interpreter,
            ["wheel", "--no-deps", "--no-cache-dir", "--wheel-dir", str(target), str(sdist)],
            environ=self._environ,
            cwd=self._root,
        )
        if completed.returncode:
            raise pip.explain(completed, f"Building {pin} from its sdist failed")
        built = list(target.glob("*.whl"))
        if len(built) != 1:
            raise ToolError(f"Building {pin} from its sdist gave {len(built)} wheels, not one")
        return built[0]

    def _follow(self, line: str) -> None:
        """Count the bytes that pip says have come."""
        found = _PROGRESS.match(line)
        if not found:
            self._current = 0
            return
        self._progress.add(fetched=max(0, int(found[1]) - self._current))
        self._current = int(found[1])
