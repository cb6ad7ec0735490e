"""Files of the store in the places of a project that they were declared for."""

from __future__ import annotations

import itertools
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Literal

from envkit.declared import AssetConfig
from envkit.environment import placed
from envkit.environment.exchange import ExchangeUnavailableError, exchange
from envkit.environment.placed import Note
from envkit.environment.tree import link, remove
from envkit.errors import MissingError, UsageError
from envkit.store import assets as files
from envkit.store import digest
from envkit.store.layout import Store

# How the place of a file is: as it should be; empty; with another version, or form, that envkit put
# there; with something that somebody changed since, or that envkit knows nothing of.
State = Literal["there", "missing", "outdated", "changed", "unknown"]

_MARK = ".envkit-draft-"


class Placed:
    """What was placed in a project, and how it was then."""

    def __init__(self, root: Path, store: Store, notes: str) -> None:
        """Read the notes; without any, nothing was placed.

        Args:
            root: the project's folder.
            store: where the files come from.
            notes: the file in which it is kept what was placed.
        """
        self._root = root
        self._store = store
        self._notes = notes
        self._contents, self._known = placed.read(notes)

    def lacking(self, assets: Sequence[AssetConfig]) -> tuple[AssetConfig, ...]:
        """Return the assets whose places are not as they should be."""
        return tuple(asset for asset in assets if not self._is_right(asset))

    def state(self, asset: AssetConfig) -> State:
        """Return how the place of an asset is, by a look."""
        target = self._root / asset.path
        if self._is_right(asset):
            return "there"
        if not os.path.lexists(target):
            return "missing"
        known = self._known.get(asset.path)
        if self._leads_outside(asset.path):
            return "changed"
        if known is None:
            return "unknown"
        return "outdated" if known.state == placed.state_of(str(target)) else "changed"

    def superfluous(self, assets: Sequence[AssetConfig]) -> tuple[str, ...]:
        """Return the places that were filled and are no asset's any more."""
        wanted = {asset.path for asset in assets}
        return tuple(path for path in self._known if path not in wanted)

    def refuse_strange(self, asset: AssetConfig) -> None:
        """Make sure that an asset's place is free, or has what was placed there.

        Raises:
            UsageError: something else is there, or the place leads outside of the project.
        """
        target = self._root / asset.path
        self._refuse_outside(asset.path)
        above = next(folder for folder in target.parents if os.path.lexists(folder))
        if not above.is_dir():
            raise UsageError(
                f"{asset.path}: {above.relative_to(self._root)} is a file, and not a folder"
            )
        if not os.path.lexists(target) or self._is_untouched(asset.path):
            return
        if self._is_as_good(asset, target):
            return
        if self._has_lost_its_archive(asset.path):
            raise UsageError(
                f"{asset.path}: the store has the archive no more that it was unpacked from, so "
                "that nobody can tell whether it was changed",
                "Move it away, and run it again.",
            )
        raise UsageError(
            f"{asset.path} is there already, and is not what envkit put there",
            "Move it away, or declare another path.",
        )

    def place(self, asset: AssetConfig) -> None:
        """Put a file of the store into its place, by one rename.

        Raises:
            UsageError: something else is there, or the place leads outside of the project.
            IntegrityError: it is to be unpacked and cannot be.
            OSError: the disk refuses.
        """
        self.refuse_strange(asset)
        target = self._root / asset.path
        target.parent.mkdir(parents=True, exist_ok=True)
        source = files.path(self._store, asset.sha256)
        with _draft(target) as draft:
            if asset.unpack:
                from envkit.assets import unpacking

                draft.mkdir()
                unpacking.unpack(source, draft, asset.path)
            else:
                link(str(source), str(draft))
            _change_places(draft, target)
        self._note(asset)

    def restore(self, asset: AssetConfig) -> str:
        """Make what is in a place, whoever changed it, what was declared.

        What somebody put there in the place of what was placed is kept beside it; in a folder that
        was unpacked what was added stays.

        Returns:
            Where it is kept, relative to the project; empty if nothing had to be.

        Raises:
            UsageError: the place leads outside of the project.
            IntegrityError, OSError: as for `place`.
        """
        self._refuse_outside(asset.path)
        target = self._root / asset.path
        if not (asset.unpack and _is_folder(target) and self._is_ours(asset.path)):
            kept = self._keep_aside(asset.path)
            remove(str(target))
            self.place(asset)
            return kept
        from envkit.assets import unpacking

        source = files.path(self._store, asset.sha256)
        with _draft(target) as draft:
            draft.mkdir()
            unpacking.unpack(source, draft, asset.path)
            for path, kind in list(unpacking.differences(source, target, asset.path)):
                if kind != "added":
                    _put_back(path, draft, target)
        self._note(asset)
        return ""

    def drop(self, path: str) -> bool:
        """Take away what was placed somewhere; return whether that could be done.

        What somebody has changed is left where it is, and is not envkit's any more.
        """
        target = self._root / path
        is_left = self._leads_outside(path) or (
            os.path.lexists(target) and not self._is_untouched(path)
        )
        if target.parent.is_dir() and not self._leads_outside(path):
            with _draft(target) as draft:
                if os.path.lexists(target) and not is_left:
                    target.rename(draft)
        del self._known[path]
        self._write([])
        return not is_left

    def keep(self, content: str) -> None:
        """Note that all is in its place that some settings want.

        Args:
            content: the digest of what the settings files hold.
        """
        if content not in self._contents:
            self._write([*self._contents, content])

    def differences(self, asset: AssetConfig) -> Iterator[tuple[str, str]]:
        """Yield what is not as it was declared, with all that is in the files read.

        Returns:
            Path relative to the project, and "altered", "added" or "missing".

        Raises:
            MissingError: the store has the archive no more that it was unpacked from.
        """
        target = self._root / asset.path
        if not os.path.lexists(target):
            yield asset.path, "missing"
        elif self._leads_outside(asset.path):
            yield asset.path, "altered"
        elif not asset.unpack:
            if not _is_file(target) or digest.sha256(target) != asset.sha256:
                yield asset.path, "altered"
        else:
            from envkit.assets import unpacking

            source = files.path(self._store, asset.sha256)
            if not source.exists():
                raise MissingError(
                    f"{asset.path}: the store has the archive no more that it was unpacked from",
                    "`envkit verify --fix` fetches it anew.",
                )
            for path, kind in unpacking.differences(source, target, asset.path):
                yield f"{asset.path}/{path}", kind

    @property
    def is_noted(self) -> bool:
        """Whether there are notes."""
        return os.path.exists(self._notes)

    def _note(self, asset: AssetConfig) -> None:
        """Write down how a place is, now that it is right."""
        state = placed.state_of(str(self._root / asset.path))
        self._known[asset.path] = Note(asset.sha256, _kind(asset), state)
        # Where others are still to come, these settings are not satisfied.
        self._write([])

    def _refuse_outside(self, path: str) -> None:
        if self._leads_outside(path):
            raise UsageError(f"{path} leads outside of the project, over a symbolic link")

    def _leads_outside(self, path: str) -> bool:
        """Return whether a path leads outside of the project, over a symbolic link above it."""
        above = next(folder for folder in (self._root / path).parents if os.path.lexists(folder))
        inside = os.path.realpath(self._root) + os.sep
        return not (os.path.realpath(above) + os.sep).startswith(inside)

    def _is_ours(self, path: str) -> bool:
        """Return whether what is in a place is what was put there, whatever became of it since."""
        known = self._known.get(path)
        state = placed.state_of(str(self._root / path))
        return known is not None and placed.inode_of(known.state) == placed.inode_of(state)

    def _has_lost_its_archive(self, path: str) -> bool:
        known = self._known.get(path)
        return (
            known is not None
            and known.kind == "unpacked"
            and not files.path(self._store, known.sha256).exists()
        )

    def _keep_aside(self, path: str) -> str:
        """Rename what is in a place, unless it is what was placed, or nothing; return its name."""
        target = self._root / path
        if not os.path.lexists(target) or self._is_ours(path):
            return ""
        names = (f"{path}.orig{number or ''}" for number in itertools.count())
        kept = next(name for name in names if not os.path.lexists(self._root / name))
        target.rename(self._root / kept)
        return kept

    def _is_right(self, asset: AssetConfig) -> bool:
        known = self._known.get(asset.path)
        return (
            known is not None
            and (known.sha256, known.kind) == (asset.sha256, _kind(asset))
            and known.state == placed.state_of(str(self._root / asset.path))
            and not self._leads_outside(asset.path)
        )

    def _is_untouched(self, path: str) -> bool:
        """Return whether a place has what was put there, and nothing else."""
        known, target = self._known.get(path), self._root / path
        if known is None or known.state != placed.state_of(str(target)):
            return False
        if known.kind == "file":
            return True
        from envkit.assets import unpacking

        source = files.path(self._store, known.sha256)
        return source.exists() and not any(unpacking.differences(source, target, path))

    def _is_as_good(self, asset: AssetConfig, target: Path) -> bool:
        """Return whether what is in a place is what was declared, whoever put it there.

        Of a folder that is not known before there is the archive: until then it may be.
        """
        if not asset.unpack:
            return _is_file(target) and digest.sha256(target) == asset.sha256
        if not _is_folder(target):
            return False
        return not files.path(self._store, asset.sha256).exists() or not any(
            self.differences(asset)
        )

    def _write(self, contents: Sequence[str]) -> None:
        self._contents = list(contents)
        os.makedirs(os.path.dirname(self._notes), exist_ok=True)
        placed.write(self._notes, self._contents, self._known)


def _kind(asset: AssetConfig) -> str:
    return "unpacked" if asset.unpack else "file"


def _change_places(draft: Path, target: Path) -> None:
    """Let a draft be what is in a place; what was there, if anything, is the draft then."""
    if not _is_folder(target):
        draft.replace(target)
        return
    try:
        exchange(str(draft), str(target))
    except ExchangeUnavailableError:
        old = draft.with_name(f"{draft.name}-old")
        target.rename(old)
        draft.rename(target)
        remove(str(old))


def _put_back(path: str, source: Path, target: Path) -> None:
    """Let one file or folder below a folder be as it is below another, whatever was in its way."""
    places = [*reversed(PurePosixPath(path).parents), PurePosixPath(path)]
    for place in places:
        wanted, found = source / place, target / place
        if wanted.is_dir():
            if not _is_folder(found):
                remove(str(found))
                found.mkdir()
        else:
            remove(str(found))
            wanted.rename(found)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """Lend a place beside another, of which nothing is left; nor of those of killed commands."""
    # As short for a long name as for a short one.
    mark = f"{_MARK}{zlib.crc32(target.name.encode('utf-8', 'surrogateescape')):08x}-"
    for left in os.listdir(target.parent):
        if re.fullmatch(rf"{re.escape(mark)}[0-9a-f]{{8}}(-old)?", left):
            remove(str(target.with_name(left)))
    draft = target.with_name(f"{mark}{os.urandom(4).hex()}")
    try:
        yield draft
    finally:
        remove(str(draft))
