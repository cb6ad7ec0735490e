"""Becoming another program; a module of its own since it is needed before anything else is."""

import os

from envkit.errors import MissingError

# For a type checker only, which takes longer to import than all else that `run` needs.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn


def replace(command: "Sequence[str]", env: "Mapping[str, str]") -> "NoReturn":
    """Become another program, so that signals, terminal and exit code are its own.

    Raises:
        MissingError: the program is not there or may not be executed.
    """
    try:
        os.execvpe(command[0], list(command), dict(env))  # noqa: S606
    except (FileNotFoundError, ValueError):  # ValueError: no command can have this name
        raise MissingError(f"{command[0] or repr('')}: no such command") from None
    except OSError as error:
        raise MissingError(f"{command[0]}: cannot be executed: {error.strerror}") from None
