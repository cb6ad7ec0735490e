"""Wheels as archives: what one says of itself, and its files (binary distribution format, PyPA)."""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import io
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import NamedTuple

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from envkit import refusals
from envkit.errors import IntegrityError
from envkit.store.container import Container, is_name
from envkit.store.manifest import DATA, HEADERS, SCRIPTS, SITE, File
from envkit.versions import is_pinned

# Where the folders of `NAME.data` go; the two kinds of library are one folder in an environment.
_SCHEMES = {"purelib": SITE, "platlib": SITE, "data": DATA, "headers": HEADERS, "scripts": SCRIPTS}

# What is not a wheel's to bring into the root of an environment: that which makes it one, and
# what envkit keeps there.
_NOT_DATA = {"pyvenv.cfg", ".envkit"}

# In bytes. A RECORD has a line a file, of some 150 bytes; the largest of the others is a
# description in METADATA.
_RECORD_LIMIT, _TEXT_LIMIT = 64 << 20, 8 << 20

# Source: core metadata specification (PyPA), "Name".
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")

_SHA256_BYTES = 32


class Member(NamedTuple):
    """A file of a wheel: its place in the archive and the one below an entry's tree."""

    info: zipfile.ZipInfo
    place: str


class Wheel:
    """An open wheel, its names checked and its metadata read.

    Attributes:
        label: what messages call it.
        name: the distribution's name as its metadata writes it.
        version: its version.
        requires: its `Requires-Dist` lines.
        console_scripts: entry points that become scripts: name -> "module:attribute".
        gui_scripts: those that do so without a terminal.
        dist_info: the name of its `.dist-info` folder.
        members: its files.
        size: what they unpack to, in bytes.

    Raises:
        IntegrityError: the archive is damaged, is no wheel, holds another distribution than it
            should, or has members that lead outside or could be mistaken for one another.
    """

    def __init__(self, path: Path, name: str, version: str = "") -> None:
        """Open a wheel.

        Args:
            path: the archive.
            name: the normalized name of the distribution that it has to be.
            version: the version that it has to be; any if empty.
        """
        self._container = Container(path)
        self.label = self._container.label
        self.size = self._container.size
        try:
            self.dist_info = self._find_dist_info(name)
            self.members = tuple(self._placed())
            self._refuse_unknown_format()
            metadata = self._headers("METADATA")
            self.name = self._checked_name(metadata, name)
            self.version = self._checked_version(metadata, version)
            self.requires = tuple(map(str, metadata.get_all("Requires-Dist", ())))
            self.console_scripts, self.gui_scripts = self._commands()
            self._recorded = dict(self._record())
            self._refuse_unrecorded()
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> Wheel:
        return self

    def __exit__(self, *exception: object) -> None:
        self._container.close()

    def damaged(self, what: str) -> IntegrityError:
        """Return the error that says what is wrong with this wheel."""
        return self._container.damaged(what)

    def extract(self, member: Member, target: str) -> File:
        """Write a member to a new file, comparing it with RECORD while it is unpacked.

        Raises:
            IntegrityError: the content is damaged or not what RECORD says.
            FileExistsError: the filesystem takes its name for that of another member.
        """
        executable = bool(member.info.external_attr >> 16 & 0o111)
        digest = hashlib.sha256()
        size = 0
        descriptor = os.open(
            target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o555 if executable else 0o444
        )
        try:
            for chunk in self._container.content(member.info):
                digest.update(chunk)
                size += len(chunk)
                view = memoryview(chunk)
                with refusals.naming(target):
                    while view:
                        view = view[os.write(descriptor, view) :]
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        expected = self._recorded.get(member.info.filename)
        if expected and expected != digest.digest():
            raise self.damaged(f"{member.info.filename} is not what its RECORD says")
        return File(
            name=os.path.basename(target),
            executable=executable,
            size=size,
            mtime=status.st_mtime_ns,
            inode=status.st_ino,
            sha256=digest.hexdigest(),
        )

    def _commands(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return the entry points that become scripts, of both kinds, extras cut off.

        Source: the entry points specification (PyPA).
        """
        # No section has the empty name, so that none is a default for the others.
        parser = configparser.ConfigParser(
            delimiters=("=",), interpolation=None, strict=False, default_section=""
        )
        parser.optionxform = str  # type: ignore[assignment, method-assign]
        try:
            parser.read_string(self._text("entry_points.txt", missing=""))
        except configparser.Error as error:
            reason = str(error).partition("\n")[0]
            raise self.damaged(f"entry_points.txt: {reason!a}") from None
        console, gui = (
            {name: value.split("[")[0].strip() for name, value in parser.items(group)}
            if parser.has_section(group)
            else {}
            for group in ("console_scripts", "gui_scripts")
        )
        for name, value in (*console.items(), *gui.items()):
            parts = value.replace(":", ".").split(".")
            if not _is_command(name) or not all(part.isidentifier() for part in parts):
                raise self.damaged(f"entry point {name[:80]!a} = {value[:80]!a} is not valid")
        return console, gui

    def _find_dist_info(self, name: str) -> str:
        folders = {info.filename.partition("/")[0] for info in self._container.files}
        found = [folder for folder in folders if _is_dist_info(folder)]
        one = found[0] if len(found) == 1 else ""
        if not one.endswith(".dist-info") or canonicalize_name(one.split("-")[0]) != name:
            what = ", ".join(sorted(found)[:3]) or "none"
            raise self.damaged(f"it should have one .dist-info folder, of {name}; it has {what}")
        return one

    def _placed(self) -> Iterator[Member]:
        """Yield the members with their places, of which no two may be in each other's way."""
        files: set[str] = set()
        folders: set[str] = set()
        for info in self._container.files:
            member = Member(info, self._place(info.filename))
            # Most scripts are put where those from the root's own `bin` are.
            scheme, _, rest = member.place.partition("/")
            target = f"{DATA}/bin/{rest}" if scheme == SCRIPTS else member.place
            if target in files:
                raise self.damaged(f"member {info.filename!r} is there twice")
            files.add(target)
            folder = target.rpartition("/")[0]
            while folder and folder not in folders:
                folders.add(folder)
                folder = folder.rpartition("/")[0]
            yield member
        for target in files & folders:
            raise self.damaged(f"{target.partition('/')[2]!r} is both a file and a folder")

    def _place(self, name: str) -> str:
        top, _, rest = name.partition("/")
        if top != self.dist_info.removesuffix(".dist-info") + ".data" or not rest:
            return f"{SITE}/{name}"
        scheme, _, rest = rest.partition("/")
        first = rest.partition("/")[0]
        if (
            scheme not in _SCHEMES
            or not rest
            # Metadata, which nothing here would have looked at.
            or (_SCHEMES[scheme] == SITE and _is_dist_info(first))
            or (scheme == "data" and first.lower() in _NOT_DATA)
            or (scheme == "scripts" and not _is_command(rest))
        ):
            raise self.damaged(f"member {name!r} is for a place where nothing may be put")
        return f"{_SCHEMES[scheme]}/{rest}"

    def _text(self, name: str, missing: str | None = None) -> str:
        limit = _RECORD_LIMIT if name == "RECORD" else _TEXT_LIMIT
        text = self._container.text(f"{self.dist_info}/{name}", limit)
        if text is None and missing is None:
            raise self.damaged(f"it has no {name}")
        return text or missing or ""

    def _headers(self, name: str) -> Message:
        # What stands behind them, a description, is of no interest.
        headers = re.split(r"\r?\n\r?\n", self._text(name), maxsplit=1)[0]
        return HeaderParser().parsestr(headers)

    def _refuse_unknown_format(self) -> None:
        version = str(self._headers("WHEEL").get("Wheel-Version", ""))
        if version.partition(".")[0] != "1":
            raise self.damaged(f"its format, Wheel-Version {version[:80]!a}, is not known")

    def _checked_name(self, metadata: Message, name: str) -> str:
        found = str(metadata.get("Name", ""))
        if not _NAME.fullmatch(found) or canonicalize_name(found) != name:
            raise self.damaged(f"its metadata names {found[:80]!a}, not {name}")
        return found

    def _checked_version(self, metadata: Message, version: str) -> str:
        """Return the version in the metadata, as it will be shown and written down.

        pip, too, refuses what is no version, or another one than was asked for.
        """
        found = str(metadata.get("Version", "")).strip()
        try:
            Version(found)
        except InvalidVersion:
            raise self.damaged(
                f"its metadata has {found[:80]!a} for a version, which is none (PEP 440)"
            ) from None
        if version and not is_pinned(found, version):
            raise self.damaged(f"its metadata has version {found[:80]}, not {version}")
        return found

    def _record(self) -> Iterator[tuple[str, bytes]]:
        """Yield the members in RECORD with their sha256, empty where it gives another hash.

        That it names some which are not there does no harm: the RECORD of an environment is made
        from what is.
        """
        try:
            for row in csv.reader(io.StringIO(self._text("RECORD"), newline="")):
                if len(row) >= 2:
                    kind, _, value = row[1].partition("=")
                    padded = value + "=" * (-len(value) % 4)
                    digest = base64.urlsafe_b64decode(padded) if kind == "sha256" else b""
                    if kind == "sha256" and len(digest) != _SHA256_BYTES:
                        raise self.damaged(f"RECORD: {row[1][:80]!a} is no digest")
                    yield row[0], digest
        except (csv.Error, ValueError) as error:
            raise self.damaged(f"RECORD: {error}") from None

    def _refuse_unrecorded(self) -> None:
        """Refuse files that RECORD does not name (the format, "Installing a wheel")."""
        record = f"{self.dist_info}/RECORD"
        known = {*self._recorded, record, f"{record}.jws", f"{record}.p7s"}
        for member in self.members:
            if member.info.filename not in known:
                raise self.damaged(f"{member.info.filename} is not in its RECORD")


def _is_dist_info(folder: str) -> bool:
    # In any case, since that is how `importlib.metadata` looks for them.
    return folder.lower().endswith(".dist-info")


def _is_command(name: str) -> bool:
    """Return whether a script may have this name: one that no program takes for an option."""
    return is_name(name) and not name.startswith("-")
