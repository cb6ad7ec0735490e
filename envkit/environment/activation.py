"""What makes a process use an environment."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from envkit.environment.stamp import STATE


def environment(location: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a process in an environment, as its activation scripts set them.

    Args:
        location: the environment's folder.
        environ: the variables to begin with; those of another environment are undone.
    """
    result = dict(environ)
    result.pop("PYTHONHOME", None)
    folders = result.get("PATH", os.defpath).split(os.pathsep)
    other = result.get("VIRTUAL_ENV")
    if other:
        folders = [folder for folder in folders if folder != f"{other}/bin"]
    result["PATH"] = os.pathsep.join([f"{location}/bin", *folders])
    result["VIRTUAL_ENV"] = location
    return result


def command(words: Sequence[str]) -> list[str]:
    """Return a command as it is run: a file of Python's by the environment's Python."""
    is_file = words[0].endswith(".py") and os.path.isfile(words[0])
    return ["python", *words] if is_file else list(words)


def shell(location: str, environ: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return the command and the variables of the user's shell in an environment.

    The shell first reads what it always reads, and then the environment's activation script.

    Args:
        location: the environment's folder.
        environ: the variables to begin with; `SHELL` says which shell is wanted.
    """
    import shlex

    program = environ.get("SHELL") or "/bin/sh"
    kind = os.path.basename(program)
    script = shlex.quote(f"{location}/bin/activate")
    if kind == "bash":
        start = _write(location, "bashrc", f"[ ! -f ~/.bashrc ] || . ~/.bashrc\n. {script}\n")
        return [program, "--rcfile", start, "-i"], dict(environ)
    if kind == "zsh":
        own = environ.get("ZDOTDIR", environ.get("HOME", "/"))
        text = f"ZDOTDIR={shlex.quote(own)}\n[ ! -f ~/.zshrc ] || . ~/.zshrc\n. {script}\n"
        folder = os.path.dirname(_write(location, "zsh/.zshrc", text))
        return [program, "-i"], {**environ, "ZDOTDIR": folder}
    if kind == "fish":
        return [program, "-i", "-C", f"source {script}.fish"], dict(environ)
    return [program, "-i"], environment(location, environ)


def _write(location: str, name: str, text: str) -> str:
    path = f"{location}/{STATE}/{name}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path
