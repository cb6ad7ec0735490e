"""What a build system needs, taken from what the locks name and the store has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from packaging.requirements import Requirement

from envkit.environment.parts import Distribution
from envkit.environment.tree import Layout, Tree, apply
from envkit.interpreter import Interpreter
from envkit.locks.names import normalize
from envkit.store import manifest


def among(
    locked: Sequence[Distribution], needs: Iterable[str], markers: Mapping[str, str]
) -> list[Distribution] | None:
    """Return the distributions that satisfy requirements, with all that they require in turn.

    Args:
        locked: what there is to choose from.
        needs: requirements (PEP 508).
        markers: the interpreter's marker values.

    Returns:
        None if something that is needed is not there, or is there in another version.
    """
    there = {one.name: one for one in locked}
    found: dict[str, Distribution] = {}
    met: dict[str, set[str]] = {}  # the extras of each whose requirements are in the list already
    waiting = [(one, "") for one in needs]
    while waiting:
        text, extra = waiting.pop()
        try:
            wanted = Requirement(text)
            if wanted.marker and not wanted.marker.evaluate({**markers, "extra": extra}):
                continue
        except (ValueError, KeyError):
            return None  # pip says what is wrong with it
        one = there.get(normalize(wanted.name))
        about = manifest.read(one.entry) if one else None
        if not one or not about or not wanted.specifier.contains(about.version, prereleases=True):
            return None
        found[one.name] = one
        for new in {"", *wanted.extras} - met.get(one.name, set()):
            met.setdefault(one.name, set()).add(new)
            waiting += [(line, new) for line in about.requires]
    return list(found.values())


def link(found: Iterable[Distribution], root: Path, interpreter: Interpreter) -> None:
    """Put distributions into a virtual environment that has none.

    Raises:
        AlteredError: a file of the store is not what it was.
        OSError: the disk refuses.
    """
    layout = Layout.of(interpreter.short_version)
    tree = Tree()
    tops: set[str] = set()
    for one in found:
        for folder, leaves in one._replace(python=str(root / "bin" / "python")).leaves(layout):
            tree.add(folder, leaves)
            tops |= layout.tops(folder, leaves)
    tree.check()
    apply(str(root), tree, tops)
