"""`envkit install` where the work is done already: nothing changed, or the spare is the answer.

Imported before everything else, so that an answer takes hardly longer than starting Python.
"""

import os

from envkit.environment import stamp


def install() -> str | None:
    """Return what to tell a user in this folder, or None if this needs more than a look."""
    try:
        folder = os.getcwd()
    except OSError:
        return None
    return install_in(folder)


def install_in(folder: str) -> str | None:
    """Return what to tell a user in a folder, given absolute, as `install` does."""
    try:
        environment = _find(folder)
        found = stamp.read(environment) if environment else None
        if not environment or found is None:
            return None
        if _is_abandoned(found):
            return None
        if stamp.is_current(environment, found):
            return _unchanged(found)
        return _look_closer(environment, found["mutex"][0])
    except (OSError, LookupError, ValueError):
        return None


def _unchanged(found: stamp.Stamp) -> str:
    return f"Already up to date: {found['summary'][0]}"


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


def _look_closer(environment: str, mutex: str) -> str | None:
    """Compare what the files hold, while nobody else works on the environment."""
    import fcntl

    descriptor = os.open(mutex, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = stamp.read(environment)
        if found is None:
            return None
        states = _states(found)
        if _is_for(environment, found):
            changed = stamp.changed_folders(environment, found["container"])
            if changed or not stamp.has_record(environment, found):
                return None
            stamp.write(environment, {**found, "input": states})
            return _unchanged(found)
        return _switch(environment, found["spare"][0])
    finally:
        os.close(descriptor)


def _switch(environment: str, spare: str) -> str | None:
    """Let the spare and the environment change places, if the spare is what the lock says now."""
    kept = stamp.read(spare)
    if kept is None:
        return None
    states = _states(kept)
    if not _is_for(environment, kept) or not stamp.has_record(spare, kept):
        return None
    settled = stamp.is_settled(spare)
    folders = kept["container"] if settled else stamp.read_folders(spare)
    if stamp.changed_folders(spare, folders):
        return None
    from envkit.environment.exchange import ExchangeUnavailableError, exchange

    stamp.write(spare, {**kept, "input": states})
    try:
        exchange(spare, environment)
    except ExchangeUnavailableError:
        return None
    return f"Switched back: {kept['summary'][0]}"


def _is_abandoned(found: stamp.Stamp) -> bool:
    """Return whether byte-code is lacking, and whoever was to make it has come to an end."""
    if found["lacking"] == ["nothing"]:
        return False
    import fcntl

    descriptor = os.open(found["lacking"][0], os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _is_for(environment: str, found: stamp.Stamp) -> bool:
    """Return whether a half was made from what the files hold now."""
    paths = [line.partition("\t")[0] for line in found["input"]]
    return stamp.is_usable(environment, found) and found["content"] == [stamp.content_digest(paths)]


def _states(found: stamp.Stamp) -> list[str]:
    """Return the lines for the files that a half was made from, as they are now."""
    paths = [line.partition("\t")[0] for line in found["input"]]
    return [f"{path}\t{stamp.state_of(path)}" for path in paths]
