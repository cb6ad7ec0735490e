"""A build that failed, as a user is told of it.

Builders say why in words only; what they say was tried with engine 20.10 and 26.1.
"""

from __future__ import annotations

import re

from envkit.builders.build import Build
from envkit.engines import faults
from envkit.engines.progress import Progress, Step
from envkit.errors import EnvkitError, MissingError, RefusedError, ToolError, UsageError

# How many of a failing step's last lines are shown, and how much of its name.
_LINES = 12
_NAME = 100

_WRAPPINGS = re.compile(
    r"^(?:ERROR: |Error response from daemon: |failed to build: |failed to solve(?: with frontend"
    r" [\w.]+)?: |rpc error: code = \w+ desc = |failed to create LLB definition: )+"
)
_SYNTAX = re.compile(r"dockerfile parse error (?:on )?line (\d+): (.*)", re.DOTALL | re.IGNORECASE)
_EXIT_CODE = re.compile(r"(?:exit code: |returned a non-zero code: )(\d+)")
_BASE = re.compile(r"^\[internal\] load metadata for (\S+)$|^resolve image config for (\S+)$")
_FROM = re.compile(r"^(?:\[.*\] )?FROM (?:--\S+ )*(\S+)")
_STAGE_MISSING = re.compile(r"target stage .* could not be found|failed to reach build target")
_EMPTY = ("file with no instructions", "no build stage in current context", "cannot be empty")
_DISCONNECTED = (
    *("Cannot connect to the Docker daemon", "error reading from server", "code = Unavailable"),
    *("failed to receive status", "transport is closing", "unexpected EOF"),
)

# What the kernel says of a full disk reaches us only through what a command printed.
_FULL = "no space left on device"

# Signals 9 and 15: how a step ends when its engine is stopped.
_KILLED = {137, 143}


def explained(said: str, progress: Progress, build: Build) -> EnvkitError:
    """Return the error of a build that failed.

    Args:
        said: what the builder said in the end.
        progress: what went on before.
        build: what was to be built.
    """
    said = _WRAPPINGS.sub("", said.strip())
    syntax = _SYNTAX.search(said)
    if syntax:
        reason = " ".join(syntax[2].split())
        return UsageError(f"{build.dockerfile_name}:{syntax[1]}: {reason}")
    if any(words in said for words in _EMPTY):
        return UsageError(f"{build.dockerfile_name}: {said}")
    if _STAGE_MISSING.search(said):
        return _no_stage(build)
    step = progress.failed
    if step is not None:
        return _of_step(step, said, build)
    if "context canceled" in said:
        return ToolError("The build was called off by the engine", "Run this again.")
    full = faults.said_by_engine(said, "build the image")
    return full or ToolError(f"The build failed: {said or 'the builder does not say why'}")


def may_be_stopped(said: str, progress: Progress) -> bool:
    """Return whether a failure can be due to an engine that was stopped, which should be asked."""
    step = progress.failed
    code = _EXIT_CODE.search(step.error if step else said)
    return any(words in said for words in _DISCONNECTED) or (
        bool(code) and int(code[1]) in _KILLED if code else step is None
    )


def _no_stage(build: Build) -> EnvkitError:
    stages = {one.name for one in build.dockerfile.stages if one.name}
    return UsageError(
        f"{build.dockerfile_name}: there is no stage {build.target!r}",
        f"Its stages are {', '.join(sorted(stages)) or 'none'}.",
    )


def _of_step(step: Step, said: str, build: Build) -> EnvkitError:
    reason = _WRAPPINGS.sub("", step.error or said)
    base = _BASE.match(step.name) or _FROM.match(step.name)
    if base:
        return _no_base(step, base[base.lastindex or 1], reason, build)
    where = f"{build.dockerfile_name}:{step.line}: " if step.line else ""
    what = f"{where}{_shortened(step.name)}"
    last = [line for line in step.lines if line.strip()][-_LINES:]
    printed = "".join(f"\n{line}" for line in last)
    code = _EXIT_CODE.search(reason)
    if _FULL in f"{printed}\n{reason}".lower():
        return RefusedError(
            f"{what} failed: the Docker Engine's disk is full{printed and ':'}{printed}",
            "Make room (`docker system df`, `docker builder prune`), then run this again."
            " No image was changed.",
        )
    if code:
        return ToolError(f"{what} failed with exit code {code[1]}{printed and ':'}{printed}")
    return ToolError(f"{what} failed: {reason}{printed}")


def _no_base(step: Step, image: str, reason: str, build: Build) -> EnvkitError:
    """Return the error of a base image that cannot be had, or of a frontend."""
    bases = build.dockerfile.bases(build.arguments)
    name = image.removeprefix("docker.io/").removeprefix("library/")
    # The classic builder writes names as the Dockerfile does, and tells the line instead.
    name = next((base for base, line in bases.items() if line == step.line), name)
    lines = [line for base, line in bases.items() if _same(base, name)]
    if lines:
        platform = f" for {', '.join(build.platforms)}" if build.platforms else ""
        what = f"{build.dockerfile_name}:{lines[0]}: the base image {name}{platform}"
    else:
        what = f"{build.dockerfile_name}: the image {name}, which `# syntax=` or COPY names,"
    refused = faults.said_by_engine(reason, f"fetch {name}")
    if refused:
        return refused
    if faults.is_unreachable(reason):
        return MissingError(
            f"{what} is not in the engine, and its registry cannot be reached: {reason}",
            f"See that the name is right; bring the image by `docker pull {name}`, or from a"
            " machine that has it by `docker save` and `docker load`.",
        )
    return MissingError(
        f"{what} is not to be had: {reason}",
        f"See that the name is right, and log in if it needs that (`docker pull {name}`).",
    )


def _same(written: str, name: str) -> bool:
    """Return whether a name in a Dockerfile is one that BuildKit wrote out."""
    short = written.removeprefix("docker.io/").removeprefix("library/")
    return name in {short, f"{short}:latest"}


def _shortened(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
