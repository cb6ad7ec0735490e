"""What activation scripts say beside what virtualenv has written there: variables, undone again.

They do in shells what `templates/gpu_startup.py` does in Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from envkit.gpu import masks


class Wording(NamedTuple):
    """How a shell says it; `@` stands for a variable's name, `%` for a value.

    Attributes:
        leaving: begins what is done when an environment is left, unless there is a lease; `end`
            ends it, as it does the others.
        entering: begins what is done when one is entered, unless there is a lease, or it was done
            for this very environment and its settings, `%`.
        unless_decided: begins what is done if nobody has decided what may be seen.
        unless_rocm: begins, within that, what is done if nobody has decided it for ROCm.
        end: ends each of these.
        settle: says for which environment and settings this was done.
        forget: takes that back.
        assign: sets a variable.
        assign_unset: sets it if it is not set.
        remember: keeps the value of one that is set, for `undo`.
        undo: takes a variable away that was set so, and is as it was set.
        tell: prints what stands behind it on standard error, if that is a terminal.
        anchor: the line in the script before which variables are taken away.
    """

    leaving: str
    entering: str
    unless_decided: str
    unless_rocm: str
    end: str
    settle: str
    forget: str
    assign: str
    assign_unset: str
    remember: str
    undo: str
    tell: str
    anchor: str


_POSIX = Wording(
    leaving='if [ -z "${ENVKIT_GPU_LEASE+x}" ] && [ "${1-}" != nondestructive ]; then',
    entering='if [ -z "${ENVKIT_GPU_LEASE+x}" ] && '
    '{ [ "${ENVKIT_GPU_ENVIRONMENT-}" != "$VIRTUAL_ENV" ] || '
    '[ "${ENVKIT_GPU_SETTINGS-%}" != % ]; }; then',
    unless_decided='if [ -z "${CUDA_VISIBLE_DEVICES+x}'
    '${SLURM_JOB_GPUS+x}${SLURM_STEP_GPUS+x}" ]; then',
    unless_rocm='if [ -z "${HIP_VISIBLE_DEVICES+x}${ROCR_VISIBLE_DEVICES+x}" ]; then',
    end="fi",
    settle='ENVKIT_GPU_ENVIRONMENT="$VIRTUAL_ENV"; export ENVKIT_GPU_ENVIRONMENT; '
    "ENVKIT_GPU_SETTINGS=%; export ENVKIT_GPU_SETTINGS",
    forget="unset ENVKIT_GPU_ENVIRONMENT ENVKIT_GPU_SETTINGS",
    assign="@=%; export @; _ENVKIT_SET_@=%; export _ENVKIT_SET_@",
    assign_unset='if [ -z "${@+x}" ]; then @=%; export @; _ENVKIT_SET_@=%; '
    "export _ENVKIT_SET_@; fi",
    remember='if [ -n "${@+x}" ]; then _ENVKIT_OLD_@="$@"; fi',
    undo='if [ -n "${_ENVKIT_SET_@+x}" ]; then\n'
    'if [ "${@-}" = "$_ENVKIT_SET_@" ]; then unset @; fi\n'
    "unset _ENVKIT_SET_@\n"
    "fi\n"
    'if [ -n "${_ENVKIT_OLD_@+x}" ]; then @="$_ENVKIT_OLD_@"; export @; unset _ENVKIT_OLD_@; fi',
    tell="if [ -t 2 ]; then echo % >&2; fi",
    anchor="    unset VIRTUAL_ENV\n",
)
_FISH = Wording(
    leaving='if not set -q ENVKIT_GPU_LEASE; and test "$argv[1]" != nondestructive',
    entering="set -q ENVKIT_GPU_SETTINGS; and set -l _envkit_settings $ENVKIT_GPU_SETTINGS; "
    "or set -l _envkit_settings %\n"
    'if not set -q ENVKIT_GPU_LEASE; and test "$ENVKIT_GPU_ENVIRONMENT $_envkit_settings" != '
    '"$VIRTUAL_ENV %"',
    unless_decided="if not set -q CUDA_VISIBLE_DEVICES; and not set -q SLURM_JOB_GPUS; "
    "and not set -q SLURM_STEP_GPUS",
    unless_rocm="if not set -q HIP_VISIBLE_DEVICES; and not set -q ROCR_VISIBLE_DEVICES",
    end="end",
    settle='set -gx ENVKIT_GPU_ENVIRONMENT "$VIRTUAL_ENV"; set -gx ENVKIT_GPU_SETTINGS %',
    forget="set -e ENVKIT_GPU_ENVIRONMENT; set -e ENVKIT_GPU_SETTINGS",
    assign="set -gx @ %; set -gx _ENVKIT_SET_@ %",
    assign_unset="if not set -q @; set -gx @ %; set -gx _ENVKIT_SET_@ %; end",
    remember="if set -q @; set -g _ENVKIT_OLD_@ $@; end",
    undo="if set -q _ENVKIT_SET_@\n"
    'if test "$@" = "$_ENVKIT_SET_@"; set -e @; end\n'
    "set -e _ENVKIT_SET_@\n"
    "end\n"
    "if set -q _ENVKIT_OLD_@; set -gx @ $_ENVKIT_OLD_@; set -e _ENVKIT_OLD_@; end",
    tell="if test -t 2; echo % >&2; end",
    anchor="    set -e VIRTUAL_ENV\n",
)
_CSH = Wording(
    leaving="if (! $?ENVKIT_GPU_LEASE) then",
    entering="set _envkit_place = ''\n"
    "if ($?ENVKIT_GPU_ENVIRONMENT) then\n"
    'set _envkit_place = "$ENVKIT_GPU_ENVIRONMENT:q %"\n'
    "if ($?ENVKIT_GPU_SETTINGS) then\n"
    'set _envkit_place = "$ENVKIT_GPU_ENVIRONMENT:q $ENVKIT_GPU_SETTINGS:q"\n'
    "endif\n"
    "endif\n"
    'if (! $?ENVKIT_GPU_LEASE && "$_envkit_place:q" != "$VIRTUAL_ENV:q %") then',
    unless_decided="if (! ($?CUDA_VISIBLE_DEVICES || $?SLURM_JOB_GPUS || $?SLURM_STEP_GPUS)) then",
    unless_rocm="if (! ($?HIP_VISIBLE_DEVICES || $?ROCR_VISIBLE_DEVICES)) then",
    end="endif",
    settle='setenv ENVKIT_GPU_ENVIRONMENT "$VIRTUAL_ENV:q"\nsetenv ENVKIT_GPU_SETTINGS %',
    forget="unsetenv ENVKIT_GPU_ENVIRONMENT\nunsetenv ENVKIT_GPU_SETTINGS",
    assign="setenv @ %\nsetenv _ENVKIT_SET_@ %",
    assign_unset="if (! $?@) then\nsetenv @ %\nsetenv _ENVKIT_SET_@ %\nendif",
    remember='if ($?@) then\nset _ENVKIT_OLD_@ = "$@:q"\nendif',
    undo="if ($?_ENVKIT_SET_@) then\n"
    "if ($?@) then\n"
    'if ("$@:q" == "$_ENVKIT_SET_@:q") unsetenv @\n'
    "endif\n"
    "unsetenv _ENVKIT_SET_@\n"
    "endif\n"
    "if ($?_ENVKIT_OLD_@) then\n"
    'setenv @ "$_ENVKIT_OLD_@:q"\n'
    "unset _ENVKIT_OLD_@\n"
    "endif",
    tell="if ($?prompt) echo %",
    anchor="unsetenv VIRTUAL_ENV\n",
)

# Script -> how it sets, and the script that undoes it -> how.
SETTING = {"activate": _POSIX, "activate.fish": _FISH, "activate.csh": _CSH}
UNDOING = {"activate": _POSIX, "activate.fish": _FISH, "deactivate.csh": _CSH}


def script(
    name: str,
    text: str,
    seen: Mapping[str, str],
    used: Mapping[str, str],
    telling: str,
    settings: str,
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
        settings: what tells these settings from others.
    """
    undoing, setting = UNDOING.get(name), SETTING.get(name)
    if undoing:
        if undoing.anchor not in text:
            return text
        undo = "\n".join([undoing.leaving, *_undone(undoing), undoing.end])
        text = text.replace(undoing.anchor, f"{undo}\n{undoing.anchor}", 1)
    if setting is None:
        return text
    lines = [
        *("", "# envkit: what this project's processes may see of the GPUs."),
        # Another environment may have been entered before, in this shell or in one that began it.
        setting.entering.replace("%", settings),
        *_undone(setting),
        setting.settle.replace("%", settings),
        *(*_set(setting, seen, used, telling), setting.end, ""),
    ]
    return "\n".join([text.rstrip("\n"), *lines])


def _undone(wording: Wording) -> list[str]:
    """Return what takes away whatever any environment may have set."""
    return [*(wording.undo.replace("@", name) for name in masks.NAMES), wording.forget]


def _set(
    wording: Wording, seen: Mapping[str, str], used: Mapping[str, str], telling: str
) -> list[str]:
    rocm = {name: value for name, value in seen.items() if name in (masks.HIP, masks.ROCR)}
    others = {name: value for name, value in seen.items() if name not in rocm}
    lines: list[str] = []
    if seen:
        remember = wording.remember.replace("@", masks.ORDER)
        lines += [
            *(wording.unless_decided, *([remember] if masks.ORDER in seen else [])),
            *_filled(wording.assign, others),
            *(wording.unless_rocm, *_filled(wording.assign, rocm), wording.end),
            *([wording.tell.replace("%", f"'{telling}'")] if telling else []),
            wording.end,
        ]
    return lines + _filled(wording.assign_unset, used)


def _filled(form: str, variables: Mapping[str, str]) -> list[str]:
    return [form.replace("@", name).replace("%", f"'{value}'") for name, value in variables.items()]
