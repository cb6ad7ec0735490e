"""The zip file that a wheel is: hostile until shown otherwise."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from envkit.errors import IntegrityError
from envkit.quantities import bytes_text

_CHUNK = 1 << 18

# Signature, flags, method, and the lengths of the name and of the extra field.
_LOCAL_HEADER = struct.Struct("<4s2xHH16xHH")
_ENCRYPTED, _UTF8 = 1 << 0, 1 << 11

# In bytes. Longer paths would reach the limits of a filesystem (1024 on some, store included), and
# deeper ones those of what walks through them.
_LONGEST_PART, _LONGEST_NAME = 255, 512

# What zipfile raises where a file is no sound zip file; that it may be so is documented for the
# first alone.
_UNREADABLE = (
    *(zipfile.BadZipFile, OSError, ValueError, RuntimeError, EOFError),
    *(struct.error, zlib.error, ArithmeticError, LookupError),
)


class Container:
    """An open zip file, all its members looked at and none of them unpacked.

    Attributes:
        label: what messages call it.
        files: the members that are files, in the archive's order.

    Raises:
        IntegrityError: it is damaged, or has members that lead outside, are links or devices,
            overlap, or have names that nobody should see unescaped.
    """

    def __init__(self, path: Path) -> None:
        self.label = path.name if path.name.isprintable() else ascii(path.name)
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise self.damaged(f"not a readable archive: {error.strerror}") from None
        try:
            self._zip = self._opened()
            self.files = tuple(self._checked())
            self._refuse_overlaps()
        except BaseException:
            self._file.close()
            raise
        self._by_name = {info.filename: info for info in self.files}

    def close(self) -> None:
        """Close the file."""
        self._zip.close()
        self._file.close()

    @property
    def size(self) -> int:
        """What all files together unpack to, in bytes; none can unpack to more than it says."""
        return sum(info.file_size for info in self.files)

    def content(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """Yield the content of a file, in pieces of bounded size and never more than it says.

        zipfile does the same, and checks its CRC, at several times the cost a file: of an
        environment's 20,000 files most are small.

        Raises:
            IntegrityError: it is damaged, or stored in a way that wheels are not.
        """
        try:
            yield from self._content(info)
        except (ValueError, zlib.error, struct.error) as error:
            raise self.damaged(f"{info.filename}: {error}") from None

    def text(self, name: str, limit: int) -> str | None:
        """Return a file as text; None if it is not there.

        Args:
            name: the member's name.
            limit: how many bytes it may have; a larger one is not read.

        Raises:
            IntegrityError: it is too large, damaged, or not UTF-8.
        """
        info = self._by_name.get(name)
        if info is None:
            return None
        if info.file_size > limit:
            raise self.damaged(
                f"{name} has {bytes_text(info.file_size)}; more than {bytes_text(limit)} is absurd"
            )
        try:
            return b"".join(self.content(info)).decode()
        except UnicodeDecodeError as error:
            raise self.damaged(f"{name}: not UTF-8 at byte {error.start}") from None

    def damaged(self, what: str) -> IntegrityError:
        """Return the error that says what is wrong with this file."""
        return IntegrityError(
            f"{self.label}: {what}",
            "The wheel itself is at fault: pin another version, or tell its authors.",
        )

    def _opened(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self._file)
        except _UNREADABLE as error:
            raise self.damaged(f"not a readable archive: {error}") from None

    def _content(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """Yield the content of a file.

        Source: APPNOTE.TXT (PKWARE), 4.3.7, "Local file header".
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
        packed = self._packed(info.compress_size)
        size, crc = 0, 0
        for chunk in _inflated(packed) if method else packed:
            size += len(chunk)
            if size > info.file_size:
                raise ValueError("it is larger than the archive's directory says")
            crc = zlib.crc32(chunk, crc)
            yield chunk
        if (size, crc) != (info.file_size, info.CRC):
            raise ValueError("its size or its checksum is not what the archive's directory says")

    def _packed(self, left: int) -> Iterator[bytes]:
        """Yield so many bytes from where the file stands."""
        while left:
            piece = self._file.read(min(left, _CHUNK))
            if not piece:
                raise ValueError("it ends too soon")
            left -= len(piece)
            yield piece

    def _checked(self) -> Iterator[zipfile.ZipInfo]:
        """Yield the files among the members, after a look at every name and type."""
        folders: set[str] = set()
        files: list[zipfile.ZipInfo] = []
        for info in self._zip.infolist():
            name = info.filename
            parts = name.removesuffix("/").split("/")
            if not all(map(is_name, parts)) or len(name.encode()) > _LONGEST_NAME:
                raise self.damaged(f"member {name[:80]!a} leads outside or has an unusable name")
            if info.orig_filename != name:
                raise self.damaged(f"member {name!r} has a second name, {info.orig_filename!a}")
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG) and not (kind == stat.S_IFDIR and info.is_dir()):
                raise self.damaged(f"member {name!r} is neither a file nor a folder")
            if info.is_dir():
                folders.add(name.removesuffix("/"))
            else:
                files.append(info)
        for info in files:
            if info.filename in folders:
                raise self.damaged(f"member {info.filename!r} is both a file and a folder")
            yield info

    def _refuse_overlaps(self) -> None:
        """Refuse members that share bytes of the archive, with which a small one unpacks to a lot.

        Extra fields of local headers, which would have to be read one by one, are not counted:
        without them already, no byte of the archive is counted for two members.
        """
        end = 0
        for info in sorted(self._zip.infolist(), key=lambda info: info.header_offset):
            if info.header_offset < end:
                raise self.damaged(f"member {info.filename!r} overlaps another in the archive")
            end = info.header_offset + _LOCAL_HEADER.size + len(info.filename) + info.compress_size
        if end > self._zip.start_dir:
            raise self.damaged("its last member overlaps the archive's directory")


def _inflated(packed: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what deflated bytes unpack to."""
    unpack = zlib.decompressobj(-zlib.MAX_WBITS)
    for piece in packed:
        if unpack.eof:
            raise ValueError("there is something behind its end")
        chunk = unpack.decompress(piece, _CHUNK)
        yield chunk
        # A full chunk can be followed by more even where all of the input has been taken in.
        while len(chunk) == _CHUNK:
            chunk = unpack.decompress(unpack.unconsumed_tail, _CHUNK)
            yield chunk
    if not unpack.eof:
        raise ValueError("it ends too soon")


def is_name(part: str) -> bool:
    """Return whether this can be the name of one file, in any place it may be shown.

    What is no name on Windows alone, as CON or `aux.py` are, is one here: envkit does not run
    there, and a wheel for Linux may well have such a module.
    """
    return (
        part not in ("", ".", "..")
        # Neither control characters, nor those that turn the direction of writing, nor what
        # stands for bytes that are no text.
        and part.isprintable()
        and not set(part) & {"\\", "/", ":"}
        and len(part.encode()) <= _LONGEST_PART
    )
