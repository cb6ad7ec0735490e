"""A command on a cluster: `envkit run --on slurm`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence

from envkit import foreground, process
from envkit.cli.output import Output, answer
from envkit.config import GpuOptions
from envkit.errors import MissingError, UsageError
from envkit.gpu import containers, masks, variables
from envkit.installation import plan
from envkit.locks import inputs, lock
from envkit.project import DEFAULT_GROUP, Group, Project
from envkit.slurm import Job
from envkit.store import digest


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
    if gpus.count == "all" or asked.devices or (gpus.count is None and gpus.devices):
        raise UsageError(
            "Slurm chooses the node, and which of its GPUs", "Say how many, as in --gpus 2."
        )
    if asked.wait is not None:
        raise UsageError("Slurm has a queue of its own, in which --wait says nothing")
    groups = plan.installed_groups(project)
    for group in groups:
        inputs.check_fresh(project, group, lock.read(group.lock))
    job = Job(
        command=command,
        envkit=(sys.executable, "-m", "envkit"),
        name=project.name,
        gpus=gpus.count,
        locks={str(one.lock): digest.sha256(one.lock) for one in groups},
        groups=_options(groups),
        options=options,
    )
    # What is set here to hide GPUs, and leases, are of this machine.
    here = {*masks.MASKS, containers.VISIBLE}
    environ = {
        name: value
        for name, value in variables.without_lease(os.environ).items()
        if name not in here
    }
    _require("sbatch" if detach else "srun", environ)
    if not detach:
        foreground.replace(job.attached(), environ)
    submission, script = job.detached()
    done = process.check(submission, what="Slurm did not take the job", stdin=script, env=environ)
    number = done.stdout.strip().partition(";")[0]
    elsewhere = any(re.match(r"-[oa]|--(output|array)", one) for one in options)
    where = "" if elsewhere else f" its output goes to slurm-{number}.out,"
    output.say(f"Submitted;{where} `scancel {number}` ends it")
    answer(number)


def _options(groups: Sequence[Group]) -> list[str]:
    """Return the options of `envkit install` by which these groups are installed and no others."""
    names = [group.name for group in groups]
    chosen = [word for name in names if name != DEFAULT_GROUP for word in ("--group", name)]
    return chosen if DEFAULT_GROUP in names else [*chosen, "--no-default"]


def _require(program: str, environ: Mapping[str, str]) -> None:
    """Make sure that there is a command of Slurm's."""
    try:
        foreground.check([program], environ)
    except MissingError:
        raise MissingError(
            f"There is no Slurm here (no {program})", "Run this where jobs are submitted."
        ) from None
