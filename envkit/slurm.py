"""Commands on a cluster: what Slurm is told, so that it runs one on a node of its choice.

Sources: srun(1), sbatch(1).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

# What a node does: the environment there is made what the lock says, which is that of when the job
# was submitted, then the command runs in it.
_STEPS = """\
if ! echo {sums} | sha256sum --check --status; then
  echo 'error: the lock has changed since this job was submitted' >&2
  exit 2
fi
{envkit} --quiet install {groups} && exec {envkit} run {masking} "$@\""""


class Job(NamedTuple):
    """A command that a node is to run.

    Attributes:
        command: the program and its arguments.
        envkit: the command that is envkit, on each node as here.
        name: what the job is called.
        gpus: how many GPUs it gets; None if nothing is said of them.
        locks: the files of the locks, and the SHA-256 of each.
        groups: the options of `envkit install` that say which groups are installed.
        options: more options for Slurm.
    """

    command: Sequence[str]
    envkit: Sequence[str]
    name: str
    gpus: int | None
    locks: Mapping[str, str]
    groups: Sequence[str] = ()
    options: Sequence[str] = ()

    def attached(self) -> list[str]:
        """Return the command that runs it, with its output and its exit code for one's own.

        The first Ctrl-C cancels it: by default srun takes that for a question.
        """
        own = ["srun", "--quit-on-interrupt", *self._options(), *self.options]
        return [*own, "sh", "-c", self._steps(), "sh", *self.command]

    def detached(self) -> tuple[list[str], str]:
        """Return the command that submits it and prints its number, and the script it is given."""
        script = f"#!/bin/sh\nset -- {shlex.join(self.command)}\n{self._steps()}\n"
        return ["sbatch", "--parsable", *self._options(), *self.options], script

    def _options(self) -> list[str]:
        gpus = [f"--gpus={self.gpus}"] if self.gpus else []
        return [f"--job-name={self.name}", "--nodes=1", "--ntasks=1", *gpus]

    def _steps(self) -> str:
        return _STEPS.format(
            sums=shlex.quote("\n".join(f"{sha256}  {path}" for path, sha256 in self.locks.items())),
            envkit=shlex.join(self.envkit),
            groups=shlex.join(self.groups),
            # Where Slurm does not confine a job it sees all of a node, unless it is told otherwise.
            masking="--gpus 0 --" if self.gpus == 0 else "--",
        )
