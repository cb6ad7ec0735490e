"""Files of the store in the places of a project that they were declared for."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from envkit.declared import AssetConfig
from envkit.environment import placed
from envkit.environment.exchange import ExchangeUnavailableError, exchange
from envkit.environment.placed import Note
from envkit.environment.tree import remove
from envkit.errors import UsageError
from envkit.store import assets as files
from envkit.store import digest
from envkit.store.layout import Store

# What `link` answers where a copy will do (as in `environment.tree`).
_COPY_INSTEAD = {errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP}

_MARK = ".envkit-"


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
        above = next(folder for folder in target.parents if os.path.lexists(folder))
        inside = os.path.realpath(self._root) + os.sep
        if not (os.path.realpath(above) + os.sep).startswith(inside):
            raise UsageError(f"{asset.path} leads outside of the project, over a symbolic link")
        if not above.is_dir():
            raise UsageError(
                f"{asset.path}: {above.relative_to(self._root)} is a file, and not a folder"
            )
        if not os.path.lexists(target) or self._is_untouched(asset.path):
            return
        if self._is_as_good(asset, target):
            return
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
                _link(source, draft)
            _change_places(draft, target)
        state = placed.state_of(str(target))
        self._known[asset.path] = Note(asset.sha256, _kind(asset), state)
        # Where others are still to come, these settings are not satisfied.
        self._write([])

    def restore(self, asset: AssetConfig) -> None:
        """Make what is in a place, whoever changed it, what was declared; nothing else goes.

        Raises:
            IntegrityError, OSError: as for `place`.
        """
        target = self._root / asset.path
        if not asset.unpack or not _is_folder(target):
            remove(str(target))
            self.place(asset)
            return
        from envkit.assets import unpacking

        source = files.path(self._store, asset.sha256)
        with _draft(target) as draft:
            draft.mkdir()
            unpacking.unpack(source, draft, asset.path)
            for path, kind in list(unpacking.differences(source, target, asset.path)):
                if kind != "added":
                    _put_back(path, draft, target)

    def drop(self, path: str) -> bool:
        """Take away what was placed somewhere; return whether that could be done.

        What somebody has changed is left where it is, and is not envkit's any more.
        """
        target = self._root / path
        is_left = os.path.lexists(target) and not self._is_untouched(path)
        if target.parent.is_dir():
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
        """
        target = self._root / asset.path
        if not os.path.lexists(target):
            yield asset.path, "missing"
        elif not asset.unpack:
            if not _is_file(target) or digest.sha256(target) != asset.sha256:
                yield asset.path, "altered"
        else:
            from envkit.assets import unpacking

            source = files.path(self._store, asset.sha256)
            for path, kind in unpacking.differences(source, target, asset.path):
                yield f"{asset.path}/{path}", kind

    def _is_right(self, asset: AssetConfig) -> bool:
        known = self._known.get(asset.path)
        return (
            known is not None
            and (known.sha256, known.kind) == (asset.sha256, _kind(asset))
            and known.state == placed.state_of(str(self._root / asset.path))
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
    mark = f".{target.name}{_MARK}"
    for left in os.listdir(target.parent):
        if left.startswith(mark):
            remove(str(target.with_name(left)))
    draft = target.with_name(f"{mark}{os.urandom(4).hex()}")
    try:
        yield draft
    finally:
        remove(str(draft))


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _COPY_INSTEAD:
            raise
        import shutil

        shutil.copy2(source, target)
