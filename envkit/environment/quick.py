"""`envkit install` where the work is done already: nothing changed, or the spare is the answer.

Imported before everything else, so that an answer takes hardly longer than starting Python.
"""

import os

from envkit.environment import stamp


def install(folder: str) -> str | None:
    """Return what to tell the user, or None if this needs more than a look.

    Args:
        folder: the folder that the command was given in, absolute.
    """
    environment = _find(folder)
    found = stamp.read(environment) if environment else None
    if not environment or found is None:
        return None
    try:
        if stamp.is_current(environment, found):
            return f"Already up to date: {found['summary'][0]}"
        return _switch(environment, found)
    except (OSError, LookupError, ValueError):
        return None


def _find(folder: str) -> str | None:
    """Return the environment of the nearest folder that can be a project."""
    while True:
        if os.path.exists(f"{folder}/.venv/{stamp.STAMP}"):
            return f"{folder}/.venv"
        if os.path.exists(f"{folder}/envkit.toml") or os.path.exists(f"{folder}/pyproject.toml"):
            return None
        folder, before = os.path.dirname(folder), folder
        if folder == before:
            return None


def _switch(environment: str, found: stamp.Stamp) -> str | None:
    """Let the spare and the environment change places, if the spare is what the lock says now."""
    import fcntl

    spare = found["spare"][0]
    descriptor = os.open(found["mutex"][0], os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        kept = stamp.read(spare)
        if kept is None or not stamp.is_usable(environment, kept):
            return None
        paths = [line.partition("\t")[0] for line in kept["input"]]
        states = [f"{path}\t{stamp.state_of(path)}" for path in paths]
        if kept["content"] != [stamp.content_digest(paths)]:
            return None
        if stamp.changed_folders(spare, stamp.read_folders(spare)):
            return None
        from envkit.environment.exchange import ExchangeUnavailableError, exchange

        stamp.write(spare, {**kept, "input": states})
        try:
            exchange(spare, environment)
        except ExchangeUnavailableError:
            return None
        return f"Switched back: {kept['summary'][0]}"
    finally:
        os.close(descriptor)
