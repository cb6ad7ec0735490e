"""The large files of a project: what is lacking of them, bringing it, and putting it in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from envkit.assets.placing import Placed
from envkit.declared import AssetConfig
from envkit.environment.home import Home
from envkit.errors import MissingError
from envkit.project import Project
from envkit.store import assets as files
from envkit.store.layout import Store

if TYPE_CHECKING:
    from envkit.assets.transfer import Report


class Plan(NamedTuple):
    """What is lacking of a project's large files; nothing has been done yet.

    Attributes:
        lacking: those that are not in their places.
        fetch: those of them that the store has not.
        superfluous: the places that were filled and are none's any more.
    """

    lacking: tuple[AssetConfig, ...] = ()
    fetch: tuple[AssetConfig, ...] = ()
    superfluous: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything has to be done."""
        return bool(self.lacking or self.superfluous)


class Outcome(NamedTuple):
    """What was done with large files.

    Attributes:
        placed: the places that were filled.
        dropped: the places that were emptied, being nobody's any more.
        left: those that should have been, and have something else by now.
    """

    placed: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def plan(project: Project, store: Store) -> Plan:
    """Return what is lacking of a project's large files.

    Raises:
        EnvkitError: the filesystem refuses.
    """
    found = _placed(project, store)
    assets = project.config.assets
    lacking = found.lacking(assets)
    return Plan(
        lacking=lacking,
        fetch=tuple(asset for asset in lacking if not files.has(store, asset.sha256)),
        superfluous=found.superfluous(assets),
    )


def check(chosen: Plan, project: Project, store: Store) -> None:
    """Make sure that what is lacking can be put into its places.

    Raises:
        UsageError: a place has something else, or leads outside of the project.
    """
    found = _placed(project, store)
    for asset in chosen.lacking:
        found.refuse_strange(asset)


def bring(chosen: Plan, store: Store, *, offline: bool, report: Report) -> None:
    """Bring into the store what it lacks.

    Args:
        chosen: what `plan` returned.
        store: the store.
        offline: ask nobody.
        report: called as something comes, from any thread.

    Raises:
        MissingError: there is no such file, or it may not be fetched now.
        EnvkitError: it cannot be had, or is not what it was declared as.
    """
    if not chosen.fetch:
        return
    if offline:
        paths = ", ".join(asset.path for asset in chosen.fetch)
        raise MissingError(f"The store lacks {paths}", "Run it once without --offline.")
    from envkit.assets.transfer import Transfer, Wish

    Transfer(store, report).bring([Wish(asset.url, asset.sha256) for asset in chosen.fetch])


def place(project: Project, store: Store, content: str) -> Outcome:
    """Put what the store has into its places, while nobody else works on the project.

    Args:
        project: the project.
        store: the store, which has all that is lacking.
        content: the digest of what the settings files hold.

    Raises:
        UsageError: a place has something else.
        IntegrityError: something is to be unpacked and cannot be.
        OSError: the disk refuses.
    """
    found = _placed(project, store)
    assets = project.config.assets
    dropped = {path: found.drop(path) for path in found.superfluous(assets)}
    lacking = found.lacking(assets)
    for asset in lacking:
        found.place(asset)
    if assets or dropped or found.is_noted:
        found.keep(content)
    return Outcome(
        placed=tuple(asset.path for asset in lacking),
        dropped=tuple(path for path, gone in dropped.items() if gone),
        left=tuple(path for path, gone in dropped.items() if not gone),
    )


def states(project: Project, store: Store) -> list[tuple[str, str]]:
    """Return the path of each asset and how its place is, by a look (`placing.State`).

    Places that were filled and are none's any more are "superfluous".
    """
    found = _placed(project, store)
    assets = project.config.assets
    superfluous = [(path, "superfluous") for path in found.superfluous(assets)]
    return [*((asset.path, found.state(asset)) for asset in assets), *superfluous]


def differences(project: Project, store: Store, *, closely: bool) -> list[tuple[str, str]]:
    """Return in what the places of large files are not as declared.

    Args:
        project: the project.
        store: the store.
        closely: whether every byte is read, rather than only of what nothing is known of.

    Returns:
        Path relative to the project, and "altered", "added" or "missing".
    """
    found = _placed(project, store)
    differing: list[tuple[str, str]] = []
    for asset in project.config.assets:
        state = found.state(asset)
        if closely or state == "unknown":
            differing += found.differences(asset)
        elif state != "there":
            differing.append((asset.path, "missing" if state == "missing" else "altered"))
    return differing


def restore(project: Project, store: Store, *, offline: bool) -> tuple[str, ...]:
    """Make the places of large files what was declared; what was added to unpacked ones stays.

    Returns:
        Where it is kept what somebody had put into these places.

    Raises:
        EnvkitError, OSError: as for `bring` and `place`.
    """
    found = _placed(project, store)
    assets = project.config.assets
    fetch = tuple(one for one in assets if not files.has(store, one.sha256))
    bring(Plan(fetch=fetch), store, offline=offline, report=lambda _: None)
    differing = [one for one in assets if any(found.differences(one))]
    return tuple(kept for asset in differing if (kept := found.restore(asset)))


def _placed(project: Project, store: Store) -> Placed:
    return Placed(project.root, store, Home(project.root, store).placed)
