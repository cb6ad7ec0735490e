"""Whether every file of an environment, or of the store, is what the lock's hashes vouch for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from envkit import mutex
from envkit.assets import installation as assets
from envkit.changes import Change
from envkit.environment import comparison, halves, patch, usage
from envkit.environment.comparison import Comparison, Depth, Expected
from envkit.environment.halves import Half, Wanted
from envkit.environment.home import Home
from envkit.environment.tree import Copied, Leaf, Linked, Tree, differences
from envkit.errors import AlteredError, EnvkitError, MissingError, UsageError
from envkit.installation import composition
from envkit.installation import plan as plans
from envkit.installation.request import Request
from envkit.store import manifest
from envkit.store.layout import Store
from envkit.store.manifest import TREE

Say = Callable[[str], None]
Report = comparison.Report


class Difference(NamedTuple):
    """A file that is not as it should be.

    Attributes:
        distribution: whose it is; empty if nobody's.
        path: relative to the environment, or to the store.
        kind: "altered", "added" or "missing".
    """

    distribution: str
    path: str
    kind: str


class Verification(NamedTuple):
    """What the verification of an environment found.

    Attributes:
        environment: the folder.
        depth: how close it was looked at.
        files: how many files were looked at.
        differences: those that are not as they should be.
        unknown: how many byte-code files are there that Python wrote and nothing is known of.
        files_differing: large files, and files unpacked from them, that are not as they should be;
            their paths are relative to the project.
        left: those of them that are not put right, having been added by somebody.
        kept: where it is kept what somebody had put in the place of large files.
        changes: what is different between the environment and the lock.
        reason: why the lock cannot be compared; empty if it could be.
    """

    environment: str
    depth: Depth
    files: int
    differences: tuple[Difference, ...]
    unknown: int
    files_differing: tuple[Difference, ...]
    changes: tuple[Change, ...]
    reason: str
    left: tuple[Difference, ...] = ()
    kept: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether everything is as it should be."""
        return not self.differences and not self.files_differing and self.is_lock

    @property
    def is_lock(self) -> bool:
        """Whether it has the distributions that the lock says."""
        return not self.changes and not self.reason


class BadEntry(NamedTuple):
    """An entry of the store that is not what it was when it was made.

    Attributes:
        entry: its path relative to the store.
        name: the distribution, with its version.
        differences: what is different.
        projects: the folders of the projects that have files of it, and have to look at them.
    """

    entry: str
    name: str
    differences: tuple[Difference, ...]
    projects: tuple[str, ...]


def verify(request: Request, depth: Depth, *, report: Report, say: Say) -> Verification:
    """Compare an environment with its lock, and each of its files with the store's manifests.

    Raises:
        MissingError: there is no environment, or the store has something of it no more.
        UsageError: it is not envkit's, or not finished.
    """
    home = Home(request.project.root, request.store)
    with home.locked(say):
        half = _half(home)
        wanted = _recomposed(half, home, request)
        compared = comparison.compare(half.path, patch.whole_tree(wanted), depth, report)
    changes, reason = _against_lock(request)
    return Verification(
        environment=home.live,
        depth=depth,
        files=compared.files,
        differences=_attributed(wanted, compared),
        unknown=len(compared.unknown),
        files_differing=_files_differing(request, depth),
        changes=changes,
        reason=reason,
    )


def _files_differing(request: Request, depth: Depth) -> tuple[Difference, ...]:
    """Return in what large files differ from what was declared: in content, or as far as a look."""
    found = assets.differences(request.project, request.store, closely=depth == "hashes")
    return tuple(Difference("", path, kind) for path, kind in found)


def fix(request: Request, depth: Depth, *, report: Report, say: Say) -> Verification:
    """Restore the files that are not as they should be, those alone; return what they were.

    Entries of the store that are not what they were are set aside and fetched anew.

    Raises:
        EnvkitError: something cannot be fetched; what could not be restored is as it was.
    """
    _refetch(request, say)
    found = verify(request, depth, report=report, say=say)
    paths = [one.path for one in found.differences]
    if paths:
        home = Home(request.project.root, request.store)
        with home.locked(say):
            half = _half(home)
            _restore(half, _recomposed(half, home, request), paths, request, depth, say)
    if found.files_differing:
        with Home(request.project.root, request.store).locked(say):
            kept = assets.restore(request.project, request.store, offline=request.offline)
        found = found._replace(left=_files_differing(request, depth), kept=kept)
    return found


def verify_store(
    store: Store, depth: Depth, *, report: Report, say: Say
) -> tuple[int, tuple[BadEntry, ...]]:
    """Compare every entry of the store with its manifest, and set aside those that differ.

    Args:
        store: the store.
        depth: how close it is looked at.
        report: called while contents are read.
        say: called with a line if somebody has to be waited for.

    Returns:
        How many entries there are, and the bad ones, which nothing uses any more.
    """
    with store.in_use(say):
        entries = store.entries()
        bad = _bad_entries(store, entries, depth, report)
    if not bad:
        return len(entries), ()
    found = []
    with mutex.hold(store.collection, what="who uses the store", say=say):
        for entry, different in sorted(bad.items()):
            place, name = str(entry.relative_to(store.root)), manifest.title(str(entry))
            _, projects = usage.set_aside(store, str(entry))
            found.append(BadEntry(place, name, tuple(different), tuple(projects)))
    return len(entries), tuple(found)


def _bad_entries(
    store: Store, entries: Sequence[Path], depth: Depth, report: Report
) -> dict[Path, list[Difference]]:
    """Return the entries that are not what their manifests say, with what is different."""
    bad: dict[Path, list[Difference]] = {}
    expected: list[Expected] = []
    for entry in entries:
        different, files = _listed(entry, store)
        if different:
            bad[entry] = different
        else:
            expected += files
    if depth != "names":
        for path in comparison.altered(str(store.root), expected, depth, report):
            entry = store.root.joinpath(*Path(path).parts[:2])
            bad.setdefault(entry, []).append(
                Difference(manifest.title(str(entry)), path, "altered")
            )
    return bad


def _half(home: Home) -> Half:
    half = Half(home.live)
    if not half.exists:
        raise MissingError("There is no environment yet", "Run `envkit install`.")
    halves.refuse_foreign(home.live)
    if half.record is None:
        raise UsageError(f"{home.live} is not finished", "Run `envkit install`.")
    return half


def _recomposed(half: Half, home: Home, request: Request) -> Wanted:
    return composition.recompose(half, home, store=request.store, prompt=request.project.name)


def _against_lock(request: Request) -> tuple[tuple[Change, ...], str]:
    """Return how the environment differs from the lock, or why that cannot be said."""
    try:
        return plans.make(request).changes, ""
    except EnvkitError as error:
        return (), error.message


def _refetch(request: Request, say: Say) -> None:
    """Bring what the store lacks for the locks."""
    chosen = plans.make(request)
    if chosen.lacking:
        from envkit.installation.supply import supply

        supply(chosen, report=lambda _: None, say=say)


def _restore(
    half: Half, wanted: Wanted, paths: Sequence[str], request: Request, depth: Depth, say: Say
) -> None:
    while True:
        try:
            tree = patch.whole_tree(wanted)
            _refuse_bad_sources(tree, paths, depth)
            patch.repair(half, wanted, tree, paths)
        except AlteredError as altered:
            # Each time there is one entry less that could be altered.
            entry, _ = usage.set_aside(request.store, altered.source)
            say(f"{entry} was altered in the store; it is set aside and made anew")
            _refetch(request, say)
            # The other files of it are still links to what was set aside.
            paths = [*paths, *_paths_from(entry, wanted)]
        else:
            return


def _paths_from(entry: Path, wanted: Wanted) -> Iterator[str]:
    """Yield the files of an environment that come from an entry of the store."""
    for folder, leaves in patch.whole_tree(wanted).files.items():
        for name, leaf in leaves.items():
            if isinstance(leaf, (Linked, Copied)) and leaf.source.startswith(f"{entry}/"):
                yield f"{folder}/{name}" if folder else name


def _refuse_bad_sources(tree: Tree, paths: Iterable[str], depth: Depth) -> None:
    """Raise an AlteredError if a file was altered through its link, and with it the store's."""
    for path in paths:
        folder, _, name = path.rpartition("/")
        leaf = tree.files.get(folder, {}).get(name)
        if isinstance(leaf, Linked) and depth != "names":
            source = Expected(leaf.source, leaf.size, leaf.mtime, leaf.sha256)
            if comparison.altered("", [source], depth, lambda _, __: None):
                raise AlteredError(leaf.source)


def _attributed(wanted: Wanted, compared: Comparison) -> tuple[Difference, ...]:
    """Return differences, each with the distribution that the file is of."""
    if not compared.differences:
        return ()
    places = {path for path, _ in compared.differences}
    owners: dict[str, str] = {}
    for part in wanted.parts:
        for folder, leaves in part.leaves(wanted.layout):
            if folder not in wanted.layout.containers:
                owners[folder] = part.name
            for name in leaves:
                path = f"{folder}/{name}" if folder else name
                if path in places:
                    owners[path] = part.name
    return tuple(
        Difference(owners.get(path) or owners.get(path.rpartition("/")[0], ""), path, kind)
        for path, kind in compared.differences
    )


def _listed(entry: Path, store: Store) -> tuple[list[Difference], list[Expected]]:
    """Return how an entry's names and inodes differ from its manifest, and all files it lists."""
    place = str(entry.relative_to(store.root))
    try:
        about, folders = manifest.read(str(entry)), manifest.folders(str(entry))
    except AlteredError:
        return [Difference(entry.name, f"{place}/{manifest.MANIFEST}", "altered")], []
    root = f"{entry}/{TREE}"
    tree = Tree()
    for folder, files in folders.items():
        leaves: dict[str, Leaf] = {
            file.name: Linked(
                f"{root}/{folder}/{file.name}", file.inode, file.size, file.mtime, file.sha256
            )
            for file in files
        }
        tree.add(folder, leaves)
    found = [
        Difference(f"{about.name} {about.version}", f"{place}/{TREE}/{path}", kind)
        for folder in tree.files
        if os.path.isdir(root) or not folder
        for path, kind in differences(root, folder, tree)
    ]
    listed = comparison.expected(tree)
    return found, [one._replace(path=f"{place}/{TREE}/{one.path}") for one in listed]
