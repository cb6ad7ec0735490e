"""A command on a cluster: `envkit run --on slurm`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from envkit import foreground, process
from envkit.cli.output import Output, answer
from envkit.config import GpuOptions
from envkit.errors import UsageError
from envkit.gpu import variables
from envkit.locks import inputs, lock
from envkit.project import Project
from envkit.slurm import Job


def run(
    command: Sequence[str],
    project: Project,
    asked: GpuOptions,
    output: Output,
    *,
    options: Sequence[str],
    detach: bool,
) -> None:
    """Become the command of Slurm that runs a job, or submit one and print its number.

    Args:
        command: what is run on the node.
        project: the project in whose environment it is run.
        asked: what GPUs are asked for.
        output: where it is said what was submitted.
        options: more options for srun or sbatch.
        detach: whether it is submitted only.

    Raises:
        UsageError: it asks for GPUs that only the machine itself could name, or a lock is stale.
        MissingError: there is no Slurm.
        ToolError: Slurm refuses the job.
    """
    gpus = asked.over(project.config.gpu)
    if gpus.count == "all" or asked.devices:
        raise UsageError(
            "Slurm chooses the node, and which of its GPUs", "Say how many, as in --gpus 2."
        )
    if asked.wait is not None:
        raise UsageError("Slurm has a queue of its own, in which --wait says nothing")
    for group in project.choose():
        inputs.check_fresh(project, group, lock.read(group.lock))
    job = Job(
        command=command,
        envkit=(sys.executable, "-m", "envkit"),
        name=project.name,
        gpus=gpus.count or 0,
        options=options,
    )
    environ = variables.without_own(os.environ)
    if not detach:
        foreground.replace(job.attached(), environ)
    submission, script = job.detached()
    done = process.check(submission, what="Slurm did not take the job", stdin=script, env=environ)
    number = done.stdout.strip().partition(";")[0]
    output.say(f"Submitted; its output goes to slurm-{number}.out, `scancel {number}` ends it")
    answer(number)
