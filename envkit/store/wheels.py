"""Unpacked wheels: from an archive with the right hash to an entry in installed form."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from pathlib import Path

from envkit import refusals
from envkit.errors import EnvkitError, IntegrityError
from envkit.quantities import bytes_text
from envkit.store import digest, manifest, record
from envkit.store.archive import Wheel
from envkit.store.layout import publish
from envkit.store.manifest import DATA, HEADERS, SCRIPTS, SITE, TREE, File, Manifest

# What stands in INSTALLER (PEP 376), so that other tools can tell who put a distribution there.
_INSTALLER = b"envkit\n"

# What an installer writes into `.dist-info`, whatever the wheel may have there.
_ADDED = ("RECORD", "INSTALLER", "REQUESTED")


def add(
    archive: Path, *, name: str, sha256: str, entry: Path, draft: Path, version: str = ""
) -> None:
    """Unpack a wheel into an entry of the store.

    Args:
        archive: the wheel.
        name: the normalized name of the distribution that it has to be.
        sha256: the digest, in hex, that the archive has to have.
        entry: where the entry is to appear; if it is there already, nothing is done.
        draft: a path on the store's filesystem to make it at.
        version: the version that it has to be; any if empty.

    Raises:
        IntegrityError: the archive is not the one meant, or is damaged or hostile.
        EnvkitError: the filesystem has no room for what is in it.
        OSError: the disk refuses.
    """
    if (entry / manifest.MANIFEST).is_file():
        return
    if entry.is_dir():
        # It came whole, and lost something since. Of use to nobody, it goes where the draft goes.
        with contextlib.suppress(FileNotFoundError):
            entry.rename(draft.with_name(f"{draft.name}-damaged"))
    found = digest.sha256(archive)
    if found != sha256:
        raise IntegrityError(
            f"{archive.name}: its sha256 is {found}, not {sha256}",
            "Nothing was installed from it. The index serves another file than the lock names.",
        )
    with Wheel(archive, name, version) as wheel:
        _refuse_too_large(wheel, draft.parent)
        try:
            _unpack(wheel, draft)
        except FileExistsError as error:
            # No two members have one place. To a filesystem that folds case, or composes accents,
            # different names can be one; to others they may well be two.
            name = os.path.basename(str(error.filename))
            raise wheel.damaged(f"{name!r} and another have one name on this filesystem") from None
    publish(draft, entry)


def _refuse_too_large(wheel: Wheel, folder: Path) -> None:
    """Refuse at once what a filesystem has no room for, whether it is hostile or just large.

    No more than this is ever written, since a file that unpacks to more than the archive says is
    refused as well.
    """
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    # Some filesystems, of networks mostly, do not say how large they are.
    if status.f_blocks and wheel.size > free:
        raise EnvkitError(
            f"{wheel.label} unpacks to {bytes_text(wheel.size)}, and the store's filesystem has "
            f"{bytes_text(free)} free",
            "Make room, or name another folder with $ENVKIT_STORE or [tool.envkit] store.",
        )


def _unpack(wheel: Wheel, draft: Path) -> None:
    tree = draft / TREE
    folders: dict[str, list[File]] = {}
    tree.mkdir(parents=True)
    replaced = {f"{SITE}/{wheel.dist_info}/{name}" for name in _ADDED}
    for member in sorted(wheel.members, key=lambda member: member.place):
        if member.place not in replaced:
            folder = _folder(tree, member.place.rpartition("/")[0], folders)
            folder.append(wheel.extract(member, f"{tree}/{member.place}"))
    _sort_scripts(tree, folders)
    _write_metadata(tree, f"{SITE}/{wheel.dist_info}", folders)
    about = Manifest(
        path=str(draft),
        name=wheel.name,
        version=wheel.version,
        dist_info=wheel.dist_info,
        requires=wheel.requires,
        console_scripts=wheel.console_scripts,
        gui_scripts=wheel.gui_scripts,
        scripts=tuple(sorted(file.name for file in folders.get(SCRIPTS, ()))),
        has_headers=any(folder.partition("/")[0] == HEADERS for folder in folders),
    )
    ordered = {
        folder: tuple(sorted(folders[folder])) for folder in sorted(folders) if folders[folder]
    }
    manifest.write(str(draft), about, ordered)


def _folder(tree: Path, folder: str, folders: dict[str, list[File]]) -> list[File]:
    """Return the list of a folder's files, making the folder when it is first met.

    Raises:
        FileExistsError: the filesystem takes its name for that of another one.
    """
    if folder not in folders:
        parent, _, name = folder.rpartition("/")
        if name:
            _folder(tree, parent, folders)
            os.mkdir(os.path.join(tree, folder))
        folders[folder] = []
    return folders[folder]


def _sort_scripts(tree: Path, folders: dict[str, list[File]]) -> None:
    """Move scripts that need no rewriting to where they can be linked from: `bin` below the root.

    Those that begin with `#!python` are rewritten for each environment (binary distribution
    format, "Recommended installer features"); a compiled program is the same in all of them.
    """
    scripts = folders.pop(SCRIPTS, [])
    kept: list[File] = []
    for file in scripts:
        path = os.path.join(tree, SCRIPTS, file.name)
        with open(path, "rb") as opened:
            if opened.read(8) == b"#!python":
                kept.append(file)
                continue
        _folder(tree, f"{DATA}/bin", folders).append(file._replace(executable=True))
        target = os.path.join(tree, DATA, "bin", file.name)
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
        os.rename(path, target)
        os.chmod(target, 0o555)  # noqa: S103
    if kept:
        folders[SCRIPTS] = kept


def _write_metadata(tree: Path, dist_info: str, folders: dict[str, list[File]]) -> None:
    """Write what an installer adds: INSTALLER, REQUESTED and RECORD (PEP 376, PEP 627).

    RECORD has everything but what differs between environments: scripts and headers, for which
    an environment's own RECORD has lines of its own.
    """
    files = _folder(tree, dist_info, folders)
    files.append(_write(os.path.join(tree, dist_info, "INSTALLER"), _INSTALLER))
    files.append(_write(os.path.join(tree, dist_info, "REQUESTED"), b""))
    listed = record.lines(
        (record.place(folder, file.name), file.sha256, file.size)
        for folder in folders
        if folder.partition("/")[0] in (SITE, DATA)
        for file in folders[folder]
    )
    listed += record.own_line(dist_info.rpartition("/")[2])
    files.append(_write(os.path.join(tree, dist_info, "RECORD"), listed))


def _write(path: str, content: bytes) -> File:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
    try:
        with refusals.naming(path), open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return File(
        name=os.path.basename(path),
        executable=False,
        size=len(content),
        mtime=status.st_mtime_ns,
        inode=status.st_ino,
        sha256=hashlib.sha256(content).hexdigest(),
    )
