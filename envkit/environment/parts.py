"""What an environment is made of: the skeleton and distributions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from envkit.environment.tree import Copied, Layout, Leaf, Linked, Written
from envkit.errors import AlteredError
from envkit.store import manifest, record
from envkit.store.manifest import HEADERS, SCRIPTS, SITE, TREE, File, Manifest

# Files that people are known to edit in place; as copies of their own they do not reach the store.
_EDITED = {"cacert.pem"}

# The longest first line that every kernel takes (execve(2): 127 bytes before Linux 5.1).
_SHEBANG_LIMIT = 127

Leaves = tuple[str, dict[str, Leaf]]


class Part(Protocol):
    """Something that an environment has as a whole or not at all."""

    @property
    def source(self) -> str:
        """What two parts with the same files, byte-code aside, have in common, in one line."""

    @property
    def compiled(self) -> str:
        """What two parts with the same byte-code have in common; empty without byte-code."""

    @property
    def name(self) -> str:
        """What people call it; for a distribution its normalized name."""

    @property
    def version(self) -> str:
        """Its version; empty if it has none."""

    def leaves(self, layout: Layout) -> Iterator[Leaves]:
        """Yield its files, folder by folder."""


class Distribution(NamedTuple):
    """A distribution from the store.

    Attributes:
        name: normalized.
        version: as the lock has it.
        entry: the folder of its entry in the store.
        bytecode: the folder of its byte-code in the store; empty if it has none yet.
        python: the environment's interpreter, as scripts are to name it.
        copy: whether its files are copied rather than linked.
        direct_url: what `direct_url.json` is to say (PEP 610); empty for an index's file.
    """

    name: str
    version: str
    entry: str
    bytecode: str
    python: str
    copy: bool
    direct_url: str = ""

    @property
    def source(self) -> str:
        kind = "copy" if self.copy else "link"
        return f"{self.entry.rpartition('/')[2]} {kind} {self.direct_url}"

    @property
    def compiled(self) -> str:
        return self.bytecode.rpartition("/")[2]

    def leaves(self, layout: Layout) -> Iterator[Leaves]:
        own = dict(self.own_leaves(layout))
        for folder, leaves in self.stored_leaves(layout):
            yield folder, {**leaves, **own.pop(folder, {})}
        yield from own.items()

    def stored_leaves(self, layout: Layout) -> Iterator[Leaves]:
        """Yield the files that are the store's, byte-code included, folder by folder."""
        wheel = manifest.read(self.entry)
        for entry in filter(None, (self.entry, self.bytecode)):
            for folder, files in manifest.folders(entry).items():
                if folder.partition("/")[0] != SCRIPTS:
                    place = _place(wheel, folder, layout)
                    yield place, self._stored(f"{entry}/{TREE}/{folder}", files)

    def own_leaves(self, layout: Layout) -> Iterator[Leaves]:
        """Yield the files that are this environment's own: scripts, and metadata about them.

        Where one of them has the path of a file of the store, it stands in its place.
        """
        wheel = manifest.read(self.entry)
        scripts = dict(self._scripts(wheel))
        if scripts:
            yield "bin", dict(scripts)
        metadata = self._metadata(wheel, scripts, layout)
        if metadata:
            yield f"{layout.site}/{wheel.dist_info}", metadata

    def _stored(self, source: str, files: Iterable[File]) -> dict[str, Leaf]:
        return {
            file.name: Copied(f"{source}/{file.name}", file.size, file.mtime, file.sha256)
            if self.copy or file.name in _EDITED
            else Linked(f"{source}/{file.name}", file.inode, file.size, file.mtime, file.sha256)
            for file in files
        }

    def _scripts(self, wheel: Manifest) -> Iterator[tuple[str, Written]]:
        for name, target in {**wheel.gui_scripts, **wheel.console_scripts}.items():
            yield name, Written(entry_point_script(self.python, target), True)
        for name in wheel.scripts:
            body = _content(f"{wheel.path}/{TREE}/{SCRIPTS}/{name}").partition(b"\n")[2]
            yield name, Written(shebang(self.python) + body, True)

    def _metadata(
        self, wheel: Manifest, scripts: Mapping[str, Written], layout: Layout
    ) -> dict[str, Leaf]:
        """Return the files of `.dist-info` that are not the store's: RECORD, direct_url.json."""
        written: dict[str, Leaf] = {}
        rows = [("../../../bin/" + name, *_hash(leaf.content)) for name, leaf in scripts.items()]
        if wheel.has_headers:
            for folder, file in manifest.files(manifest.folders(self.entry)):
                if folder.partition("/")[0] == HEADERS:
                    place = f"../../../{_place(wheel, folder, layout)}/{file.name}"
                    rows.append((place, file.sha256, file.size))
        if self.direct_url:
            content = self.direct_url.encode()
            rows.append((f"{wheel.dist_info}/direct_url.json", *_hash(content)))
            written["direct_url.json"] = Written(content, False)
        if rows:
            stored = _content(f"{wheel.path}/{TREE}/{SITE}/{wheel.dist_info}/RECORD")
            own = record.own_line(wheel.dist_info)
            content = stored.removesuffix(own) + record.lines(rows) + own
            written["RECORD"] = Written(content, False)
        return written


def _place(wheel: Manifest, folder: str, layout: Layout) -> str:
    """Return where a folder of a wheel's tree goes, relative to the environment."""
    scheme, _, rest = folder.partition("/")
    if scheme == HEADERS:
        base = f"{layout.headers}/{wheel.name}"
    else:
        base = layout.site if scheme == SITE else ""
    return "/".join(part for part in (base, rest) if part)


def entry_point_script(python: str, target: str) -> bytes:
    """Return the script of an entry point.

    Args:
        python: the interpreter it is run by.
        target: "module:attribute" (entry points specification, PyPA).
    """
    module, _, attribute = target.partition(":")
    first = attribute.partition(".")[0]
    return (
        shebang(python)
        + (
            "import sys\n"
            f"from {module} import {first}\n"
            'if __name__ == "__main__":\n'
            f"    sys.exit({attribute}())\n"
        ).encode()
    )


def shebang(python: str) -> bytes:
    """Return the first line of a script, or the lines that do the same where it cannot.

    A kernel splits the line at blanks and cuts it at a limit. There the script is begun by sh,
    which runs the interpreter with it; to Python the same lines are a string.
    """
    line = f"#!{python}\n".encode("utf-8", "surrogateescape")
    if len(line) <= _SHEBANG_LIMIT and not any(blank in python for blank in " \t"):
        return line
    quoted = "'" + python.replace("'", "'\"'\"'") + "'"
    return f"#!/bin/sh\n'''exec' {quoted} \"$0\" \"$@\"\n' '''\n".encode("utf-8", "surrogateescape")


def direct_url(url: str, sha256: str) -> str:
    """Return what `direct_url.json` says of an archive (PEP 610)."""
    return json.dumps(
        {"archive_info": {"hash": f"sha256={sha256}", "hashes": {"sha256": sha256}}, "url": url}
    )


def _content(path: str) -> bytes:
    """Return what a file of the store holds."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise AlteredError(path) from None


def _hash(content: bytes) -> tuple[str, int]:
    return hashlib.sha256(content).hexdigest(), len(content)
