"""What is to be installed, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from envkit.project import DEFAULT_GROUP, Group, Project
from envkit.store import layout
from envkit.store.layout import Store


class Request(NamedTuple):
    """What is to be installed, and how.

    Attributes:
        project: the project.
        groups: its groups, in their order.
        store: the store.
        environ: the environment, with pip's configuration.
        offline: ask no index.
        overridden: whether options stand against the settings, so that `install` without them
            would make another environment.
        replace: take the place of a `.venv` that somebody else made.
        revision: the commit in git whose locks are meant; empty for those that are there now.
    """

    project: Project
    groups: tuple[Group, ...]
    store: Store
    environ: Mapping[str, str]
    offline: bool = False
    overridden: bool = False
    replace: bool = False
    revision: str = ""

    @classmethod
    def of(
        cls,
        project: Project,
        groups: tuple[Group, ...],
        environ: Mapping[str, str],
        *,
        offline: bool = False,
    ) -> Request:
        """Return the request for groups of a project, with the store that its settings name.

        Raises:
            UsageError: they name none, and there is no home folder to have one in.
        """
        store = layout.locate(project.config.store, environ)
        return cls(project, groups, store, environ, offline)

    @property
    def has_project(self) -> bool:
        """Whether the project itself is installed, which needs what the default group asks for."""
        return self.project.editable and any(group.name == DEFAULT_GROUP for group in self.groups)
