"""What is done already: `envkit install` where nothing changed, or the spare is the answer; `run`.

Imported before everything else, so that an answer takes hardly longer than starting Python.
"""

import os

from envkit.environment import activation, placed, stamp
from envkit.errors import MissingError
from envkit.foreground import replace
from envkit.gpu.marks import LEASE, MARK, PLACE


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
            return _unchanged(found) if _has_its_files(environment, found) else None
        return _look_closer(environment, found["mutex"][0])
    except (OSError, LookupError, ValueError):
        return None


def run(arguments: list[str]) -> None:
    """Become the command that `run` becomes in this folder.

    Return if there are options, GPUs to be thought of, or something to be said.

    Args:
        arguments: what stands behind `run`.
    """
    command = arguments[1:] if arguments[:1] == ["--"] else arguments
    if not command or (command[0].startswith("-") and command is arguments):
        return
    try:
        environment = _find(os.getcwd())
        found = stamp.read(environment) if environment else None
        if not environment or not found or not is_current(environment, found):
            return
        own = gpu_variables(environment, found)
        if own is None:
            return
    except (OSError, LookupError, ValueError):
        return
    try:
        environ = activation.environment(environment, os.environ)
        replace(activation.command(command), {**environ, **own})
    except MissingError:
        return


def gpu_variables(environment: str, found: stamp.Stamp) -> dict[str, str] | None:
    """Return the variables of a command that say what it sees of the GPUs.

    None if that has to be thought of, as where somebody else has said anything of it.
    """
    said = found["gpu"][0]
    if said == stamp.GPUS_TO_THINK_OF or not stamp.has_overrides(found) or PLACE in os.environ:
        return None
    if said == stamp.NO_GPUS:
        return {}
    wanted = dict(one.split("=", 1) for one in said.split(" "))
    masks = [name for name in os.environ if name.endswith("_VISIBLE_DEVICES")]
    if masks or any(name in os.environ for name in (*wanted, LEASE, "SLURM_JOB_ID")):
        return None
    marks = {f"{MARK}{name}": value for name, value in wanted.items()}
    return {**wanted, **marks, PLACE: environment}


def is_current(environment: str, found: stamp.Stamp) -> bool:
    """Return whether an environment is what the files say that it was made from.

    Other groups and settings than the configured ones were a choice, and change nothing here; nor
    does what stands above the settings, which speaks of GPUs alone.
    """
    known = {
        **found,
        "configured": ["yes"],
        "variables": [stamp.variables()],
        "overrides": stamp.override_lines(),
    }
    return stamp.is_current(environment, known) or (
        stamp.has_record(environment, known)
        and _is_for(environment, known)
        and not stamp.changed_folders(environment, known["container"])
    )


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
            if not _has_its_files(environment, found):
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
    if not _has_its_files(environment, kept):
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


def _has_its_files(environment: str, found: stamp.Stamp) -> bool:
    """Return whether the large files of the project are in their places."""
    has_notes = found["files"] != ["nothing"]
    notes = f"{os.path.dirname(found['mutex'][0])}/{placed.NOTES}"
    return placed.are_right(notes, os.path.dirname(environment), found["content"][0], has_notes)


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
