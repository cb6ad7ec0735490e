"""Commands on a cluster: what Slurm is told, so that it runs one on a node of its choice.

Sources: srun(1), sbatch(1).
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import NamedTuple

# What a node does: the environment there is made what the lock says, then the command runs in it.
_STEPS = '{envkit} --quiet install && exec {envkit} run -- "$@"'


class Job(NamedTuple):
    """A command that a node is to run.

    Attributes:
        command: the program and its arguments.
        envkit: the command that is envkit, on each node as here.
        name: what the job is called.
        gpus: how many GPUs it gets.
        options: more options for Slurm.
    """

    command: Sequence[str]
    envkit: Sequence[str]
    name: str
    gpus: int
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
        return _STEPS.format(envkit=shlex.join(self.envkit))
