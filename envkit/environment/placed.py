"""What was put into a project beside its environment, read before anything heavy is imported.

A place counts as right while it is as it was when it was filled: a file by its size, mtime and
inode, a folder by its inode and the names in it. Two settings files that say the same of large
files, such as those of two branches, are both known.
"""

import os
import stat
import zlib

# For a type checker only, which takes longer to import than all else that is needed here.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# The name of the notes, in a project's folder in the store.
NOTES = "placed"

_FORM = "envkit-placed 1"

# So many versions of the files that say what is to be placed are remembered.
_REMEMBERED = 16


class Note:
    """What is known of one place.

    Attributes:
        sha256: the digest of the file that was placed, or unpacked, in hex.
        kind: "file" or "unpacked".
        state: how it was then, as `state_of` tells it.
    """

    __slots__ = ("kind", "sha256", "state")

    def __init__(self, sha256: str, kind: str, state: str) -> None:
        self.sha256 = sha256
        self.kind = kind
        self.state = state


def state_of(path: str) -> str:
    """Return what a place is told by: a short text; empty if nothing is there."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    if stat.S_ISDIR(status.st_mode):
        names = "\0".join(sorted(os.listdir(path)))
        check = zlib.crc32(names.encode("utf-8", "surrogateescape"))
        return f"folder {status.st_ino} {check}"
    return f"file {status.st_ino} {status.st_size} {status.st_mtime_ns}"


def inode_of(state: str) -> str:
    """Return the kind and the inode that a state tells of; empty if nothing is there."""
    return " ".join(state.split(" ")[:2])


def read(notes: str) -> "tuple[list[str], dict[str, Note]]":
    """Return what the notes of a project say; nothing where there are none that can be read.

    Returns:
        The digests of the settings that are known to be satisfied, and each place's note.
    """
    contents: list[str] = []
    places: dict[str, Note] = {}
    try:
        with open(notes, encoding="utf-8", errors="surrogateescape") as file:
            form, *lines = file.read().split("\n")
        if form != _FORM or lines.pop():
            return [], {}
        for line in lines:
            key, *values = line.split("\t")
            if key == "for":
                contents += values
            else:
                path, *note = values
                places[path] = Note(*note)
    except (OSError, ValueError, TypeError, IndexError):
        return [], {}
    return contents, places


def write(notes: str, contents: "Sequence[str]", places: "Mapping[str, Note]") -> None:
    """Write the notes of a project; what `read` returns, with the newest settings last."""
    from envkit.environment import stamp

    lines = [_FORM, *(f"for\t{content}" for content in contents[-_REMEMBERED:])]
    lines += [f"at\t{path}\t{one.sha256}\t{one.kind}\t{one.state}" for path, one in places.items()]
    stamp.replace(notes, "\n".join([*lines, ""]))


def are_right(notes: str, root: str, content: str, has_notes: bool) -> bool:
    """Return whether what settings want is in its places, as far as a look can tell.

    Args:
        notes: the file.
        root: the project's folder.
        content: the digest of what the settings files hold.
        has_notes: whether there have to be notes, as the settings want something.
    """
    if not os.path.exists(notes):
        return not has_notes
    contents, places = read(notes)
    return content in contents and all(
        state_of(f"{root}/{path}") == one.state for path, one in places.items()
    )


def digests(notes: str) -> set[str]:
    """Return the digests of the files that are in the places of a project, as its notes have it."""
    return {one.sha256 for one in read(notes)[1].values()}
