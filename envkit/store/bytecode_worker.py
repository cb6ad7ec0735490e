"""Run as a script by the interpreter that byte-code is for, any CPython from 3.7 on.

The first line of standard input is the settings as JSON. Each line after it names, parted by
tabs, a source, the file to write, and the source's path below site-packages. Several workers are
given the same lines; each begins at another place, and none does what another has done.

Nothing is answered, unless the system refuses something: then the error as JSON, a list of its
number, its text and the file.

What does not compile is passed over, as pip does: many distributions ship templates, or code for
other versions.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import marshal
import os
import signal
import sys
import types
import typing
import warnings

# Hash-based, and not checked against the source when it is loaded (PEP 552).
_UNCHECKED_HASH = (1).to_bytes(4, "little")
_HEADER_SIZE = 16

# From version 3 on, what marshal writes depends on how often an object happens to be referenced
# in the process. Without references the same source gives the same bytes.
_MARSHAL_VERSION = 2


def main() -> None:
    """Compile what standard input names."""
    # Whoever started this says what there is to say when a user interrupts.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    warnings.simplefilter("ignore")
    settings = json.loads(sys.stdin.readline())
    jobs: dict[str, list[tuple[str, str]]] = {}
    for line in sys.stdin:
        source, target, place = line.rstrip("\n").split("\t")
        jobs.setdefault(place, []).append((source, target))
    places = list(jobs)
    share = len(places) * settings["worker"] // settings["workers"]
    # A stack: what a module imports is pushed on it, and so is compiled before the rest.
    waiting = (places[share:] + places[:share])[::-1] + settings["roots"][::-1]
    later: list[str] = []
    met: set[str] = set()
    while waiting or later:
        if not waiting:
            waiting, later, settings["live"] = later, [], None
        place = waiting.pop()
        live = settings["live"]
        if place not in jobs or (live and place in met):
            continue
        target = jobs[place][-1][1]
        # Whoever imports right now may be quicker; then what it imports next is of more use.
        code = load(cached(live, target, place)) if live else None
        if code:
            later.append(place)
            met.add(place)
        else:
            # Of several distributions' files at one place, the last is what an environment has.
            for source, target in jobs.pop(place):
                code = None  # see `dump`
                code = compile_file(source, target, place)
            if code and live and not link(live, target, place):
                settings["live"] = None
        if code and settings["roots"]:
            # The last import first: whoever imports right now begins at the other end.
            waiting += [found for found in imports(code, place) if found in jobs]


def load(path: str) -> types.CodeType | None:
    """Return the code in a byte-code file; None if there is none."""
    try:
        with open(path, "rb") as file:
            code: types.CodeType = marshal.loads(file.read()[_HEADER_SIZE:])  # noqa: S302
            return code
    except (OSError, EOFError, ValueError, TypeError):
        return None


def compile_file(source: str, target: str, place: str) -> types.CodeType | None:
    """Return the code of a source, having written it unless that is done; None if it has none."""
    known = load(target)
    if known:
        return known
    with open(source, "rb") as file:
        text = file.read()
    try:
        code = compile(text, place, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    os.makedirs(os.path.dirname(target), exist_ok=True)
    draft = f"{target}.{os.getpid()}"
    with naming(draft), open(draft, "wb") as file:
        file.write(importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH)
        file.write(importlib.util.source_hash(text) + dump(code))
    os.rename(draft, target)
    return code


@contextlib.contextmanager
def naming(path: str) -> typing.Iterator[None]:
    """Have an error name the file that it is about, as one of a write does not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or path
        raise


def dump(code: types.CodeType) -> bytes:
    """Return code as marshal writes it, the same bytes each time."""
    try:
        return marshal.dumps(code, _MARSHAL_VERSION)
    except ValueError:
        # From Python 3.14 on there are slices among the constants, which take a later version. Its
        # references follow from the source alone too, while the code of no other is alive.
        return marshal.dumps(code)


def imports(code: types.CodeType, place: str) -> list[str]:
    """Return the places of what a module may import when it is itself imported.

    The names that its top level uses have those of the modules among them; which is which shows
    when they are looked up. A relative import has the name without its dots.
    """
    package = os.path.dirname(place)
    found = []
    for name in code.co_names:
        path = name.replace(".", "/")
        for base in ("", package + "/", os.path.dirname(package) + "/"):
            found += [base + path + "/__init__.py", base + path + ".py"]
    return found


def cached(live: dict[str, typing.Any], target: str, place: str) -> str:
    """Return where an environment has the byte-code that is made at a target."""
    return os.path.join(
        live["site"], os.path.dirname(place), "__pycache__", os.path.basename(target)
    )


def link(live: dict[str, typing.Any], target: str, place: str) -> bool:
    """Link byte-code into an environment that is in use, and return whether it may still be.

    The lock keeps installations away meanwhile. When one has been there, which shows by the
    witness, the environment may have another version of the distribution.
    """
    name = cached(live, target, place)
    mutex = os.open(live["mutex"], os.O_RDWR)
    try:
        fcntl.flock(mutex, fcntl.LOCK_EX | fcntl.LOCK_NB)
        witness = os.stat(live["witness"])
        if [witness.st_ino, witness.st_mtime_ns] != live["state"]:
            return False
        os.makedirs(os.path.dirname(name), exist_ok=True)
        os.link(target, name)
    except FileExistsError:
        pass  # the interpreter was quicker; the file is exchanged at the end
    except OSError:
        return False
    finally:
        os.close(mutex)
    return True


if __name__ == "__main__":
    try:
        main()
    except OSError as refused:
        print(json.dumps([refused.errno, refused.strerror, refused.filename]))
