"""What settings files say, kept with the environment for as long as they do not change.

To read TOML, Python takes a good part of the time that an installation of a few changes takes.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from envkit.config import read_toml
from envkit.environment import stamp
from envkit.store.layout import write_whole


def read(path: Path) -> dict[str, Any]:
    """Return what a TOML file in a project's folder says.

    Raises:
        UsageError: it cannot be read or is not TOML; the message has the line.
    """
    kept = path.parent / ".venv" / stamp.STATE / f"{path.name}.json"
    state = stamp.state_of(str(path))
    known = _load(kept)
    if known.get("state") == state:
        content: dict[str, Any] = known["content"]
        return content
    content = read_toml(path)
    # JSON has no dates; and where nothing was installed yet there is no place.
    with contextlib.suppress(OSError, TypeError):
        if stamp.is_telling(state):
            write_whole(kept, json.dumps({"state": state, "content": content}))
    return content


def _load(kept: Path) -> dict[str, Any]:
    try:
        known = json.loads(kept.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
