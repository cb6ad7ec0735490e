"""Wheels as archives: hostile until shown otherwise (the binary distribution format, PyPA)."""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import NamedTuple

from packaging.utils import canonicalize_name

from envkit import refusals
from envkit.errors import IntegrityError
from envkit.store.manifest import DATA, HEADERS, SCRIPTS, SITE, File

_CHUNK = 1 << 18

# Signature, flags, method, and the lengths of the name and of the extra field.
_LOCAL_HEADER = struct.Struct("<4s2xHH16xHH")
_ENCRYPTED, _UTF8 = 1 << 0, 1 << 11

# Where the folders of `NAME.data` go; the two kinds of library are one folder in an environment.
_SCHEMES = {"purelib": SITE, "platlib": SITE, "data": DATA, "headers": HEADERS, "scripts": SCRIPTS}


class Member(NamedTuple):
    """A file of a wheel: its place in the archive and the one below an entry's tree."""

    info: zipfile.ZipInfo
    place: str


class Wheel:
    """An open wheel, its names checked and its metadata read.

    Raises:
        IntegrityError: the archive is damaged, is no wheel, holds another distribution than it
            should, or has members that lead outside or could be mistaken for one another.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.label = path.name
        self._file = path.open("rb")
        try:
            self._read(name)
        except BaseException:
            self._file.close()
            raise

    def _read(self, name: str) -> None:
        """Read all that is not the files themselves."""
        try:
            self._zip = zipfile.ZipFile(self._file)
        except (zipfile.BadZipFile, OSError) as error:
            if refusals.is_known(error):
                raise
            raise self._damaged(f"not a readable archive: {error}") from None
        self.dist_info = self._find_dist_info(name)
        self.members = tuple(self._place(info) for info in self._checked())
        self.metadata = self._headers("METADATA")
        version = self._headers("WHEEL").get("Wheel-Version", "")
        if version.partition(".")[0] != "1":
            raise self._damaged(f"its format, Wheel-Version {version!r}, is not known")
        if canonicalize_name(self.metadata.get("Name", "")) != name:
            raise self._damaged(f"its metadata names {self.metadata.get('Name')!r}, not {name}")
        self._recorded = dict(self._record())
        self._refuse_unrecorded()

    def __enter__(self) -> Wheel:
        return self

    def __exit__(self, *exception: object) -> None:
        self._zip.close()
        self._file.close()

    def entry_points(self, group: str) -> Mapping[str, str]:
        """Return the entry points of a group: name -> "module:attribute", extras cut off.

        Source: the entry points specification (PyPA).
        """
        parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
        parser.optionxform = str  # type: ignore[assignment, method-assign]
        try:
            parser.read_string(self._text("entry_points.txt", missing=""))
        except configparser.Error as error:
            raise self._damaged(f"entry_points.txt: {error}") from None
        if not parser.has_section(group):
            return {}
        found = {name: value.split("[")[0].strip() for name, value in parser.items(group)}
        for name, value in found.items():
            parts = value.replace(":", ".").split(".")
            if not _is_name(name) or not all(part.isidentifier() for part in parts):
                raise self._damaged(f"entry point {name!r} = {value!r} is not valid")
        return found

    def extract(self, member: Member, target: str) -> File:
        """Write a member to a new file, comparing it with RECORD while it is unpacked.

        Raises:
            IntegrityError: the content is damaged or not what RECORD says.
        """
        executable = bool(member.info.external_attr >> 16 & 0o111)
        digest = hashlib.sha256()
        size = 0
        descriptor = os.open(
            target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o555 if executable else 0o444
        )
        try:
            for chunk in self._content(member.info):
                digest.update(chunk)
                size += len(chunk)
                view = memoryview(chunk)
                with refusals.naming(target):
                    while view:
                        view = view[os.write(descriptor, view) :]
            status = os.fstat(descriptor)
        except (ValueError, zlib.error, struct.error) as error:
            raise self._damaged(f"{member.info.filename}: {error}") from None
        finally:
            os.close(descriptor)
        expected = self._recorded.get(member.info.filename)
        if expected and expected != digest.digest():
            raise self._damaged(f"{member.info.filename} is not what its RECORD says")
        return File(
            name=os.path.basename(target),
            executable=executable,
            size=size,
            mtime=status.st_mtime_ns,
            inode=status.st_ino,
            sha256=digest.hexdigest(),
        )

    def _content(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """Yield the content of a member, in pieces of bounded size.

        zipfile does the same, and checks its CRC, at several times the cost a file: of an
        environment's 20,000 files most are small.

        Source: APPNOTE.TXT (PKWARE), 4.3.7, "Local file header".

        Raises:
            ValueError, zlib.error, struct.error: it is damaged, or stored in a way that wheels
                are not.
        """
        self._file.seek(info.header_offset)
        header = _LOCAL_HEADER.unpack(self._file.read(_LOCAL_HEADER.size))
        signature, flags, method, name_length, extra_length = header
        name = self._file.read(name_length).decode("utf-8" if flags & _UTF8 else "cp437")
        if signature != b"PK\x03\x04" or name != info.orig_filename:
            raise ValueError("the archive's directory does not lead to it")
        if flags & _ENCRYPTED or method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("it is encrypted, or compressed in an unusual way")
        self._file.seek(extra_length, os.SEEK_CUR)
        unpack = zlib.decompressobj(-zlib.MAX_WBITS) if method else None
        left, size, crc = info.compress_size, 0, 0
        while left:
            packed = self._file.read(min(left, _CHUNK))
            left -= len(packed) or left
            while packed:
                chunk = unpack.decompress(packed, _CHUNK) if unpack else packed
                packed = unpack.unconsumed_tail if unpack else b""
                size += len(chunk)
                crc = zlib.crc32(chunk, crc)
                yield chunk
        if unpack and not unpack.eof:
            raise ValueError("it ends too soon")
        if (size, crc) != (info.file_size, info.CRC):
            raise ValueError("its size or its checksum is not what the archive's directory says")

    def _find_dist_info(self, name: str) -> str:
        folders = {info.filename.partition("/")[0] for info in self._zip.infolist()}
        found = [folder for folder in folders if folder.endswith(".dist-info")]
        if len(found) != 1 or canonicalize_name(found[0].split("-")[0]) != name:
            what = ", ".join(sorted(found)) or "none"
            raise self._damaged(f"it should have one .dist-info folder, of {name}; it has {what}")
        return found[0]

    def _checked(self) -> Iterator[zipfile.ZipInfo]:
        """Yield the files among the members, after a look at every name and type."""
        seen: set[str] = set()
        for info in self._zip.infolist():
            name = info.filename
            parts = name.rstrip("/").split("/")
            if not all(map(_is_name, parts)):
                raise self._damaged(f"member {name!r} leads outside or has an unusable name")
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise self._damaged(f"member {name!r} is neither a file nor a folder")
            if info.is_dir():
                continue
            if name in seen:
                raise self._damaged(f"member {name!r} is there twice")
            seen.add(name)
            yield info

    def _place(self, info: zipfile.ZipInfo) -> Member:
        top, _, rest = info.filename.partition("/")
        if top != self.dist_info.removesuffix(".dist-info") + ".data" or not rest:
            return Member(info=info, place=f"{SITE}/{info.filename}")
        scheme, _, rest = rest.partition("/")
        if scheme not in _SCHEMES or not rest:
            raise self._damaged(f"member {info.filename!r} is for an unknown place")
        return Member(info=info, place=f"{_SCHEMES[scheme]}/{rest}")

    def _text(self, name: str, missing: str | None = None) -> str:
        try:
            return self._zip.read(f"{self.dist_info}/{name}").decode()
        except KeyError:
            if missing is not None:
                return missing
            raise self._damaged(f"it has no {name}") from None
        except (
            zipfile.BadZipFile,
            EOFError,
            RuntimeError,
            UnicodeDecodeError,
            ValueError,
        ) as error:
            raise self._damaged(f"{name}: {error}") from None

    def _headers(self, name: str) -> Message:
        return HeaderParser().parsestr(self._text(name))

    def _record(self) -> Iterator[tuple[str, bytes]]:
        """Yield the members in RECORD with their sha256, empty where it gives another hash."""
        try:
            for row in csv.reader(io.StringIO(self._text("RECORD"))):
                if len(row) >= 2:
                    kind, _, value = row[1].partition("=")
                    padded = value + "=" * (-len(value) % 4)
                    yield row[0], base64.urlsafe_b64decode(padded) if kind == "sha256" else b""
        except (csv.Error, ValueError) as error:
            raise self._damaged(f"RECORD: {error}") from None

    def _refuse_unrecorded(self) -> None:
        """Refuse files that RECORD does not name (the format, "Installing a wheel")."""
        record = f"{self.dist_info}/RECORD"
        known = {*self._recorded, record, f"{record}.jws", f"{record}.p7s"}
        for member in self.members:
            if member.info.filename not in known:
                raise self._damaged(f"{member.info.filename} is not in its RECORD")

    def _damaged(self, what: str) -> IntegrityError:
        return IntegrityError(
            f"{self.label}: {what}",
            "The wheel itself is at fault: pin another version, or tell its authors.",
        )


def _is_name(part: str) -> bool:
    """Return whether this can be the name of one file, in any place it may be shown."""
    return (
        part not in ("", ".", "..")
        and part.isprintable()
        and not set(part) & {"\\", "/", ":"}
        and len(part.encode("utf-8", "surrogatepass")) <= 255
    )
