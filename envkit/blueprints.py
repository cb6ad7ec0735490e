"""Small projects that `envkit init --template` begins with."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from envkit.errors import UsageError

if TYPE_CHECKING:
    from importlib.abc import Traversable

# What stands for something else than a file of the project's.
_OWN = ("requirements.in", "settings.toml", "Dockerfile.end", "gitignore", "next.txt")

# The last line of the Dockerfile, in whose place a blueprint has its own.
_COMMAND = 'CMD ["python"]\n'
_COMMENT = "# In brackets the program is started without a shell in between"


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """A project to begin with.

    Attributes:
        name: what it is called.
        requirements: the content of `requirements.in`.
        settings: what `envkit.toml` says beside the Python.
        dockerfile_end: what the Dockerfile ends in.
        ignored: more lines for `.gitignore`.
        next: what to run once it is there.
        files: its other files: path -> content.
    """

    name: str
    requirements: str
    settings: str
    dockerfile_end: str
    ignored: tuple[str, ...]
    next: tuple[str, ...]
    files: Mapping[str, str]

    @property
    def elsewhere(self) -> str:
        """What to do where the folder has something else already."""
        return f"Begin in a new folder: `envkit init NEW --template {self.name}`."

    def dockerfile(self, text: str) -> str:
        """Return the Dockerfile that every project gets, with another end."""
        start, comment, _ = text.rpartition(_COMMENT)
        assert comment
        assert text.endswith(_COMMAND)
        return start + self.dockerfile_end

    def settings_below(self, prefix: str) -> str:
        """Return the settings as they stand below a table.

        Args:
            prefix: the table's name and a dot, as in "tool.envkit."; empty for a file of their own.
        """
        return re.sub(r"(?m)^(\[+)", rf"\g<1>{prefix}", self.settings)


def names() -> tuple[str, ...]:
    """Return the names of all blueprints."""
    return tuple(sorted(one.name for one in _folder().iterdir()))


def read(name: str) -> Blueprint:
    """Return a blueprint.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in names():
        raise UsageError(f"There is no template {name!r}", f"Templates: {', '.join(names())}.")
    found = dict(_files(_folder() / name, ""))
    return Blueprint(
        name=name,
        requirements=found["requirements.in"],
        settings=found["settings.toml"],
        dockerfile_end=found["Dockerfile.end"],
        ignored=tuple(found.get("gitignore", "").splitlines()),
        next=tuple(found["next.txt"].splitlines()),
        files={path: text for path, text in found.items() if path not in _OWN},
    )


def _folder() -> Traversable:
    return importlib.resources.files("envkit") / "templates" / "projects"


def _files(folder: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    """Yield the files below a folder: path relative to it, content."""
    for one in sorted(folder.iterdir(), key=lambda one: one.name):
        if one.is_dir():
            if one.name != "__pycache__":
                yield from _files(one, f"{prefix}{one.name}/")
        else:
            yield f"{prefix}{one.name}", one.read_text(encoding="utf-8")
