"""Tops: the paths that say which parts of an environment a change can touch.

A top is what stands directly in a folder that all distributions share: `site-packages/numpy`,
`bin/flask`, `share`. As long as a top's owners are the same and none of its folders changed,
nothing below it has to be looked at.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from envkit.environment import stamp
from envkit.environment.parts import Part
from envkit.environment.record import Record, Recorded, identity
from envkit.environment.tree import Layout, Tree


def owners(
    old: Record | None, parts: Sequence[Part], layout: Layout
) -> tuple[dict[str, tuple[str, ...]], dict[str, list[str]]]:
    """Return each wanted part's tops by its identity, and each top's owners in their order."""
    known = {identity(part): part.tops for part in old.parts} if old else {}
    tops: dict[str, tuple[str, ...]] = {}
    owned: dict[str, list[str]] = {}
    for part in parts:
        own = identity(part)
        if own not in known:
            found: set[str] = set()
            for folder, leaves in part.leaves(layout):
                found |= layout.tops(folder, leaves)
            known[own] = tuple(sorted(found))
        tops[own] = known[own]
        for top in tops[own]:
            owned.setdefault(top, []).append(own)
    return tops, owned


def differing(old: Sequence[Recorded], owned: Mapping[str, list[str]]) -> set[str]:
    """Return the tops whose owners, or their order, are not what they were."""
    before: dict[str, list[str]] = {}
    for part in old:
        for top in part.tops:
            before.setdefault(top, []).append(identity(part))
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
    parts: Sequence[Part], tops: Mapping[str, tuple[str, ...]], touched: set[str], layout: Layout
) -> Tree:
    """Return the wanted files in some tops."""
    tree = Tree()
    for part in parts:
        if touched.isdisjoint(tops[identity(part)]):
            continue
        for folder, leaves in part.leaves(layout):
            if folder in layout.containers:
                prefix = f"{folder}/" if folder else ""
                tree.add(folder, {n: leaf for n, leaf in leaves.items() if prefix + n in touched})
            elif layout.top(folder) in touched:
                tree.add(folder, leaves)
    tree.check()
    return tree
