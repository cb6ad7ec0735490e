"""What it costs to bring large files with ``envkit install``, beside curl, sha256sum, tar and cp.

One command: ``python benchmarks/files.py``. benchmarks/README.md says what the rows mean. Progress
goes to standard error, the table to standard output. The exit status is 0, or 2 when a tool is
lacking.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.machine import environment, machine, output, program, say
from benchmarks.report import cells, publish

README = Path(__file__).with_name("README.md")

# A file of so many bytes, and an archive of so many files of so many bytes each.
SIZE = 1 << 30
MEMBERS, MEMBER_SIZE = 5000, 20_000

_TOOLS = ("curl", "sha256sum", "tar", "cp")


def main() -> int:
    """Run the benchmark as the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks/files.py", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="rounds (5)")
    parser.add_argument("--envkit", metavar="PATH", help="default: the envkit beside this Python")
    parser.add_argument("--write", action="store_true", help="update the table in the README")
    options = parser.parse_args()
    envkit = program("envkit", options.envkit)
    lacking = [name for name in _TOOLS if shutil.which(name) is None]
    if envkit is None or lacking:
        print(f"error: there is no {', '.join(lacking) or 'envkit'}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        lines = _measure(Path(folder), envkit, options.repeats)
    curl = output(["curl", "--version"]).split()[1]
    facts = {
        "Measured": time.strftime("%Y-%m-%d"),
        "Tools": f"{output([envkit, '--version'])}, curl {curl}",
        "Machine": machine(),
        "Rounds": f"{options.repeats}; a file of {SIZE >> 20} MiB, an archive of {MEMBERS} files",
    }
    publish(README, "files", facts, lines, writing=options.write)
    return 0


def _measure(folder: Path, envkit: str, repeats: int) -> list[str]:
    """Measure all, each way in its turn, round by round, and return a table."""
    served = folder / "served"
    served.mkdir()
    say("making what is fetched")
    digests = {"file": _make_file(served / "file"), "archive": _make_archive(served / "archive")}
    with _serving(served) as address:
        bench = _Bench(folder, envkit, address, digests)
        rows: Mapping[str, Mapping[str, Callable[[], None]]] = {
            "a large file comes": {
                "envkit install": bench.fetch,
                "curl, sha256sum": bench.fetch_by_hand,
            },
            "into another project": {
                "envkit install": bench.link,
                "cp, sha256sum": bench.copy_by_hand,
            },
            "an archive comes and is unpacked": {
                "envkit install": bench.unpack,
                "curl, sha256sum, tar": bench.unpack_by_hand,
            },
            "nothing to do": {
                "envkit install": bench.nothing,
                "sha256sum --check": bench.nothing_by_hand,
            },
        }
        lines = ["| | | median, s | range, s | to doing it by hand (range) |"]
        lines.append("| --- | --- | ---: | ---: | ---: |")
        for title, ways in rows.items():
            say(title)
            seconds: dict[str, dict[int, float]] = {name: {} for name in ways}
            for round_ in range(-1, repeats):  # the first warms what is not warm yet
                for name, work in ways.items():
                    took = bench.timed(work)
                    if round_ >= 0:
                        seconds[name][round_] = took
            *_, by_hand = ways
            for number, name in enumerate(ways):
                shown = cells(seconds[name], seconds[by_hand])
                lines.append(f"| {'' if number else title} | `{name}` | {shown} |")
    return lines


class _Bench:
    """A project whose large files come and go, and the same by hand."""

    def __init__(self, folder: Path, envkit: str, address: str, digests: Mapping[str, str]) -> None:
        self._envkit = envkit
        self._address = address
        self._digests = digests
        self._store = folder / "store"
        self._environ = environment(ENVKIT_STORE=str(self._store), ENVKIT_COMPILE="now")
        self._ours, self._other, self._hand = (folder / name for name in ("ours", "other", "hand"))
        for place in (self._ours, self._other):
            place.mkdir()
            self._call(place, envkit, "-q", "init", ".", "six")
        self._hand.mkdir()
        self._before: Callable[[], None] = lambda: None

    def timed(self, work: Callable[[], None]) -> float:
        """Return how many seconds some work takes, what it needs being arranged before."""
        self._arrange(work)
        os.sync()
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    def fetch(self) -> None:
        self._install(self._ours)

    def fetch_by_hand(self) -> None:
        self._get("file")

    def link(self) -> None:
        self._install(self._other)

    def copy_by_hand(self) -> None:
        self._call(self._hand, "cp", "file", "copy")
        self._check("file", "copy")

    def unpack(self) -> None:
        self._install(self._ours)

    def unpack_by_hand(self) -> None:
        self._get("archive")
        (self._hand / "unpacked").mkdir()
        self._call(self._hand, "tar", "-xf", "archive", "-C", "unpacked")

    def nothing(self) -> None:
        self._install(self._ours)

    def nothing_by_hand(self) -> None:
        self._check("file", "file")

    def _arrange(self, work: Callable[[], None]) -> None:
        """Bring everything to where some work begins."""
        if work in (self.fetch, self.unpack):
            self._declare(self._ours, "file" if work == self.fetch else "archive")
            for place in (self._ours / "large", self._ours / "unpacked"):
                if place.is_dir():
                    shutil.rmtree(place)
                else:
                    place.unlink(missing_ok=True)
            shutil.rmtree(self._store / "assets-v1", ignore_errors=True)
        elif work in (self.link, self.nothing):
            self._declare(self._ours, "file")
            self._install(self._ours)
            self._declare(self._other, "file")
            if work == self.link:
                (self._other / "large").unlink(missing_ok=True)
            else:
                time.sleep(0.1)  # what was written just now is looked at more closely
                self._install(self._ours)
        else:
            for name in ("copy", "archive", "unpacked"):
                place = self._hand / name
                if place.is_dir():
                    shutil.rmtree(place)
                else:
                    place.unlink(missing_ok=True)

    def _declare(self, project: Path, name: str) -> None:
        python = f'python = "{sys.version_info[0]}.{sys.version_info[1]}"\n'
        path, more = ("unpacked", "unpack = true\n") if name == "archive" else ("large", "")
        text = (
            f'{python}[[assets]]\nurl = "{self._address}/{name}"\n'
            f'sha256 = "{self._digests[name]}"\npath = "{path}"\n{more}'
        )
        file = project / "envkit.toml"
        if file.read_text() != text:
            file.write_text(text)

    def _install(self, project: Path) -> None:
        self._call(project, self._envkit, "install")

    def _get(self, name: str) -> None:
        self._call(self._hand, "curl", "-sf", "-o", name, f"{self._address}/{name}")
        self._check(name, name)

    def _check(self, name: str, path: str) -> None:
        line = f"{self._digests[name]}  {path}\n".encode()
        subprocess.run(
            ["/usr/bin/env", "sha256sum", "--check", "--status"],
            cwd=self._hand,
            input=line,
            check=True,
        )

    def _call(self, folder: Path, *command: str) -> None:
        subprocess.run(
            command, cwd=folder, env=self._environ, check=True, stderr=subprocess.DEVNULL
        )


def _make_file(path: Path) -> str:
    """Write a file of bytes that no disk makes smaller, and return its digest."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(SIZE >> 20):
            piece = os.urandom(1 << 20)
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def _make_archive(path: Path) -> str:
    with tarfile.open(path, "w") as archive, tempfile.TemporaryDirectory() as folder:
        member = Path(folder) / "member"
        for index in range(MEMBERS):
            member.write_bytes(os.urandom(MEMBER_SIZE))
            archive.add(member, f"{index % 100}/{index}")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def _serving(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback, from another process, and lend its address."""
    code = (
        "import functools, http.server, sys\n"
        "handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])\n"
        "server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)\n"
        "print(server.server_port, flush=True)\n"
        "server.serve_forever()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        finally:
            server.terminate()


if __name__ == "__main__":
    sys.exit(main())
