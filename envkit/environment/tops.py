"""Tops: the paths that say which parts of an environment a change can touch.

A top is what stands directly in a folder that all distributions share: `site-packages/numpy`,
`bin/flask`, `share`. As long as a top's owners are the same and none of its folders changed,
nothing below it has to be looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from envkit.environment import stamp
from envkit.environment.parts import Leaves, Part
from envkit.environment.record import Record, Recorded, identity
from envkit.environment.tree import Layout, Tree


def of_part(part: Part, layout: Layout) -> tuple[str, ...]:
    """Return the tops that a part has files in, having looked at each of its files."""
    found: set[str] = set()
    for folder, leaves in part.leaves(layout):
        found |= layout.tops(folder, leaves)
    return tuple(sorted(found))


def owners(
    parts: Iterable[Part | Recorded], places: Mapping[str, tuple[str, ...]]
) -> dict[str, list[str]]:
    """Return each top's owners in their order.

    Args:
        parts: the parts in their order.
        places: each part's tops, by its identity.
    """
    owned: dict[str, list[str]] = {}
    for own in map(identity, parts):
        for top in places[own]:
            owned.setdefault(top, []).append(own)
    return owned


def known(record: Record | None) -> dict[str, tuple[str, ...]]:
    """Return the tops of each part that a record has, by its identity."""
    return {identity(part): part.tops for part in record.parts} if record else {}


def differing(before: Mapping[str, list[str]], owned: Mapping[str, list[str]]) -> set[str]:
    """Return the tops whose owners, or their order, are not what they were."""
    return {top for top in before.keys() | owned.keys() if before.get(top) != owned.get(top)}


def touched_by(
    path: str, dirty: Sequence[str], owned: Mapping[str, object], old: Record, layout: Layout
) -> set[str]:
    """Return the tops that have to be looked at because something changed in a folder."""
    containers = [folder for folder in dirty if folder in layout.containers]
    touched = {layout.top(folder) for folder in dirty if folder not in layout.containers}
    if containers:
        there = present(path, containers, layout)
        known = {top for part in old.parts for top in part.tops}
        # A top that is a folder tells by its own mtime whether something in it changed; one that
        # is a file, or is missing, does not.
        folders = {top for top in there if os.path.isdir(f"{path}/{top}")}
        touched |= (there - known) | ((known & {*owned}) - folders)
    return touched


def present(path: str, containers: Sequence[str], layout: Layout) -> set[str]:
    """Return the tops that are there, whoever made them."""
    found = set()
    for container in containers:
        try:
            names = os.listdir(f"{path}/{container}")
        except (FileNotFoundError, NotADirectoryError):
            continue
        found |= {f"{container}/{name}" if container else name for name in names}
    return found - {*layout.containers, stamp.STATE}


def tree_of(
    parts: Iterable[Part], places: Mapping[str, tuple[str, ...]], touched: set[str], layout: Layout
) -> Tree:
    """Return the wanted files in some tops."""
    tree = Tree()
    for part in parts:
        if not touched.isdisjoint(places[identity(part)]):
            add(tree, part.leaves(layout), touched, layout)
    tree.check()
    return tree


def add(tree: Tree, leaves: Iterable[Leaves], touched: set[str], layout: Layout) -> None:
    """Put into a tree what lies in some tops."""
    for folder, files in leaves:
        if folder in layout.containers:
            prefix = f"{folder}/" if folder else ""
            tree.add(folder, {n: leaf for n, leaf in files.items() if prefix + n in touched})
        elif layout.top(folder) in touched:
            tree.add(folder, files)
