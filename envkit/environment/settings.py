"""What settings files say, kept with the environment for as long as they do not change.

To read TOML, Python takes a good part of the time that an installation of a few changes takes.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from envkit.environment import stamp
from envkit.store.layout import write_whole
from envkit.tables import read_toml


class Reader:
    """Reads the TOML files of a project, those that did not change from what was kept of them."""

    def __init__(self) -> None:
        self._new: dict[Path, tuple[str, dict[str, Any]]] = {}

    def read(self, path: Path) -> dict[str, Any]:
        """Return what a TOML file in a project's folder says.

        Raises:
            UsageError: it cannot be read or is not TOML; the message has the line.
        """
        state = stamp.state_of(str(path))
        known = _load(_kept(path))
        if known.get("state") == state:
            content: dict[str, Any] = known["content"]
            return content
        content = read_toml(path)
        if stamp.is_telling(state):
            self._new[path] = state, content
        return content

    def keep(self) -> None:
        """Keep what was read, now that there is a finished environment to keep it with."""
        for path, (state, content) in self._new.items():
            # JSON has no dates; and what cannot be kept is read again.
            with contextlib.suppress(OSError, TypeError):
                write_whole(_kept(path), json.dumps({"state": state, "content": content}))


def _kept(path: Path) -> Path:
    return path.parent / ".venv" / stamp.STATE / f"{path.name}.json"


def _load(kept: Path) -> dict[str, Any]:
    try:
        known = json.loads(kept.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
