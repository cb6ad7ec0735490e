"""What activation scripts say beside what virtualenv has written there: variables, undone again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Wording(NamedTuple):
    """How a shell says it; `@` stands for a variable's name.

    Attributes:
        begin: begins what is done only if nobody has decided what may be seen.
        end: ends it.
        assign: sets a variable to the value behind it, and notes that.
        assign_unset: the same if it is not set.
        undo: takes a variable away that was noted.
        tell: prints what stands behind it on standard error, if that is a terminal.
        anchor: the line in the script before which variables are taken away; empty for its end.
    """

    begin: str
    end: str
    assign: str
    assign_unset: str
    undo: str
    tell: str
    anchor: str


_POSIX = Wording(
    begin='if [ -z "${CUDA_VISIBLE_DEVICES+x}${HIP_VISIBLE_DEVICES+x}${ROCR_VISIBLE_DEVICES+x}'
    '${SLURM_JOB_ID+x}" ]; then',
    end="fi",
    assign="    @=%; export @; _ENVKIT_SET_@=1",
    assign_unset='[ -n "${@+x}" ] || { @=%; export @; _ENVKIT_SET_@=1; }',
    undo='    [ -z "${_ENVKIT_SET_@-}" ] || unset @ _ENVKIT_SET_@',
    tell="    [ ! -t 2 ] || echo % >&2",
    anchor="    unset VIRTUAL_ENV\n",
)
_FISH = Wording(
    begin="if not set -q CUDA_VISIBLE_DEVICES; and not set -q HIP_VISIBLE_DEVICES; "
    "and not set -q ROCR_VISIBLE_DEVICES; and not set -q SLURM_JOB_ID",
    end="end",
    assign="    set -gx @ %; set -g _ENVKIT_SET_@ 1",
    assign_unset="if not set -q @; set -gx @ %; set -g _ENVKIT_SET_@ 1; end",
    undo="    if set -q _ENVKIT_SET_@; set -e @; set -e _ENVKIT_SET_@; end",
    tell="    if test -t 2; echo % >&2; end",
    anchor="    set -e VIRTUAL_ENV\n",
)
_CSH = Wording(
    begin="if (! ($?CUDA_VISIBLE_DEVICES || $?HIP_VISIBLE_DEVICES || $?ROCR_VISIBLE_DEVICES || "
    "$?SLURM_JOB_ID)) then",
    end="endif",
    assign="    setenv @ %\n    set _ENVKIT_SET_@ = 1",
    assign_unset="if (! $?@) then\n    setenv @ %\n    set _ENVKIT_SET_@ = 1\nendif",
    undo="if ($?_ENVKIT_SET_@) then\n    unsetenv @\n    unset _ENVKIT_SET_@\nendif",
    tell="    if ($?prompt) echo %",
    anchor="unsetenv VIRTUAL_ENV\n",
)

# Script -> how it sets, and the script that undoes it -> how.
SETTING = {"activate": _POSIX, "activate.fish": _FISH, "activate.csh": _CSH}
UNDOING = {"activate": _POSIX, "activate.fish": _FISH, "deactivate.csh": _CSH}


def script(
    name: str, text: str, seen: Mapping[str, str], used: Mapping[str, str], telling: str
) -> str:
    """Return an activation script that sets variables as well, as `masks.added` adds them.

    A script that another virtualenv than is known here has written, so that it could not undo
    this, is left as it is.

    Args:
        name: the script's, in SETTING or UNDOING.
        text: what virtualenv has written.
        seen: the variables that say what may be seen.
        used: those that say how it is counted and used.
        telling: a line for who activates it by hand; empty for none.
    """
    undoing = UNDOING.get(name)
    if undoing:
        if undoing.anchor not in text:
            return text
        undo = "\n".join(undoing.undo.replace("@", one) for one in (*seen, *used))
        text = text.replace(undoing.anchor, f"{undo}\n{undoing.anchor}", 1)
    setting = SETTING.get(name)
    if setting is None:
        return text
    lines = ["", "# envkit: what this project's processes may see of the GPUs."]
    if seen:
        lines += [setting.begin, *_assigned(setting.assign, seen)]
        lines += [setting.tell.replace("%", f"'{telling}'")] if telling else []
        lines.append(setting.end)
    lines += _assigned(setting.assign_unset, used)
    return "\n".join([text.rstrip("\n"), *lines, ""])


def _assigned(form: str, variables: Mapping[str, str]) -> list[str]:
    return [form.replace("@", name).replace("%", f"'{value}'") for name, value in variables.items()]
