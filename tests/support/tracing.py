"""The real command line under strace: its system calls listed, refused, or answered by a signal.

strace counts calls for each thread and process on its own: "the third mkdir" is the third of
whoever makes three.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .projects import Project, Result

# What changes files, or asks for a lock. Not every machine has all of these calls.
_CHANGING = (
    *("open", "openat", "creat", "write", "pwrite64", "writev", "sendfile", "copy_file_range"),
    *("mkdir", "mkdirat", "rename", "renameat", "renameat2", "link", "linkat"),
    *("symlink", "symlinkat", "unlink", "unlinkat", "rmdir", "ftruncate", "fallocate"),
    *("chmod", "fchmod", "fchmodat", "utimensat", "flock", "fsync", "fdatasync", "syncfs"),
)
_FOR_WRITING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT")
# What was done by strace: a signal that it sent comes from the kernel.
_INJECTED = re.compile(r"\(INJECTED\)|killed by SIGKILL|si_code=SI_KERNEL")
_CALL = re.compile(r"(\d+) +(\w+)\((.*)")


@dataclass(frozen=True, order=True, kw_only=True)
class Call:
    """A system call: its name, and its number among those of that name, from 1."""

    name: str
    number: int


@dataclass(frozen=True, kw_only=True)
class Injection:
    """What becomes of a call.

    Attributes:
        name: the call's name.
        when: which of them, as strace has it: "3", or "1+" for all from the first on.
        outcome: as strace has it: "error=ENOSPC", "signal=SIGKILL".
    """

    name: str
    when: str
    outcome: str

    @classmethod
    def at(cls, call: Call, outcome: str) -> "Injection":
        """Return the injection into one call."""
        return cls(name=call.name, when=str(call.number), outcome=outcome)


@dataclass(frozen=True, kw_only=True)
class Traced:
    """What a traced command left.

    Attributes:
        result: its result; the code is minus the number of the signal that ended it, if one did.
        injected: the lines of the log about what strace did.
    """

    result: Result
    injected: tuple[str, ...]

    def concerned(self, folder: Path) -> bool:
        """Return whether something was injected, and only into calls on files below a folder."""
        return bool(self.injected) and all(_concerns(line, folder) for line in self.injected)


class Tracer:
    """Runs envkit under strace."""

    def calls(self, project: Project, command: Sequence[str]) -> list[Call]:
        """Run a command, which has to succeed, and return its calls that change files.

        Those on what is no file of the project's machine are left out.
        """
        lines: list[str] = []
        names = ",".join(f"?{name}" for name in _CHANGING)
        result = self._run(project, command, ["--seccomp-bpf", "-e", f"trace={names}"], lines)
        assert result.code == 0, result.text
        return sorted(set(_calls(lines, project.machine.folder)))

    def run(
        self, project: Project, command: Sequence[str], injections: Iterable[Injection]
    ) -> Traced:
        """Run a command to its end, and that of all that it started, with injections."""
        lines: list[str] = []
        chosen = list(injections)
        options = ["-e", "trace=" + ",".join(sorted({one.name for one in chosen}))]
        # The short way, on which strace sees only what it is told to, has no signals.
        if all(one.outcome.startswith("error=") for one in chosen):
            options.append("--seccomp-bpf")
        for one in chosen:
            options += ["-e", f"inject={one.name}:{one.outcome}:when={one.when}"]
        result = self._run(project, command, options, lines)
        injected = tuple(line for line in _whole(lines) if _INJECTED.search(line))
        return Traced(result=result, injected=injected)

    def _run(
        self, project: Project, command: Sequence[str], options: Sequence[str], lines: list[str]
    ) -> Result:
        with tempfile.TemporaryDirectory(dir=project.machine.folder) as folder:
            log = Path(folder, "log")
            result = project.call(
                [
                    *("strace", "-f", "-qq", "-y", "-s", "0", "-o", str(log)),
                    *options,
                    *(sys.executable, "-m", "envkit", *command),
                ]
            )
            lines += log.read_text(encoding="utf-8", errors="replace").splitlines()
        return result


def _calls(lines: Iterable[str], folder: Path) -> Iterator[Call]:
    """Yield the calls in a log that change something below a folder, each with its number."""
    counts: dict[tuple[str, str], int] = {}
    for line in lines:
        found = _CALL.match(line)
        if not found:
            continue
        process, name, arguments = found.groups()
        number = counts[process, name] = counts.get((process, name), 0) + 1
        if _concerns(arguments, folder) and (
            not name.startswith("open") or _FOR_WRITING.search(arguments)
        ):
            yield Call(name=name, number=number)


def _whole(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a log, the end of a call that took a while behind its beginning."""
    begun: dict[str, str] = {}
    for line in lines:
        process = line.partition(" ")[0]
        if line.endswith("<unfinished ...>"):
            begun[process] = line
        elif "resumed>" in line:
            yield begun.pop(process, "") + line
        else:
            yield line
    yield from begun.values()


def _concerns(arguments: str, folder: Path) -> bool:
    """Return whether a call is about a file below a folder; its own folder does not count."""
    return f"{folder}{os.sep}" in re.sub(r"AT_FDCWD<[^>]*>", "", arguments)


def works() -> bool:
    """Return whether strace may look into processes here."""
    program = shutil.which("strace")
    if program is None:
        return False
    command = [program, "-o", "/dev/null", "true"]
    return not subprocess.run(command, capture_output=True, check=False).returncode
