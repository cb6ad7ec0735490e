"""GPUs in containers, where they are counted anew from 0 and go by their UUIDs.

No mask of the machine is ever handed on into one: it would hide all but the first GPUs there.
Sources: `docker run --gpus` and `--device` (Docker documentation, "Access an NVIDIA GPU", "CDI
devices"); Container Device Interface specification; NVIDIA Container Toolkit documentation,
NVIDIA_VISIBLE_DEVICES.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from envkit.config import GpuConfig
from envkit.gpu import masks
from envkit.gpu.devices import Gpu
from envkit.gpu.holders import Container

# The label by which a container is known that has GPUs on lease.
LABEL = "dev.envkit.gpu.lease"

_KIND = "nvidia.com/gpu"

# Images of CUDA ask for all GPUs by themselves, unless this says that they get none.
_NONE = ("--env", "NVIDIA_VISIBLE_DEVICES=void")

# How long an engine may take to answer, in seconds, before its containers count as running.
_PATIENCE = 2.0


def options(
    gpus: Sequence[Gpu], config: GpuConfig, info: Mapping[str, Any], label: str
) -> tuple[str, ...]:
    """Return the options of `docker run` that give a container these GPUs and no others.

    Args:
        gpus: which.
        config: the settings.
        info: what the engine says of itself (Docker Engine API, "Get system information").
        label: the value of the label; empty for none.
    """
    if not gpus:
        return _NONE
    uuids = [gpu.uuid for gpu in gpus]
    if _offers_cdi(info, uuids):
        given = [word for uuid in uuids for word in ("--device", f"{_KIND}={uuid}")]
    else:
        # One value of a list of them, as encoding/csv reads it.
        given = ["--gpus", f'"device={",".join(uuids)}"']
    used = masks.variables(None, order=config.order, memory_growth=config.memory_growth)
    said = [word for name, value in used.items() for word in ("--env", f"{name}={value}")]
    return (*given, *said, *(("--label", f"{LABEL}={label}") if label else ()))


def is_running(container: Container) -> bool:
    """Return whether a container still runs, or may do so as this user is not allowed to know."""
    from urllib.parse import quote

    from envkit.engines import glance

    place = container.engine.removeprefix("unix://")
    if place == container.engine or not os.path.isabs(place):
        return False  # no engine of this machine's, whoever wrote that
    wanted = quote(json.dumps({"label": [f"{LABEL}={container.label}"]}))
    try:
        status, found = glance.ask(
            Path(place), "GET", f"/containers/json?filters={wanted}", patience=_PATIENCE
        )
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError, ValueError):
        return False
    except OSError:
        return True
    return status != glance.OK or bool(found)


def _offers_cdi(info: Mapping[str, Any], uuids: Sequence[str]) -> bool:
    """Return whether an engine knows GPUs by these names, as the files say that it reads.

    Source: Container Device Interface specification: JSON or YAML, `kind` and `devices[].name`.
    """
    folders = [Path(str(one)) for one in info.get("CDISpecDirs") or ()]
    names: set[str] = set()
    for path in (path for folder in folders for path in sorted(folder.glob("*.*"))):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if _KIND in text:
            names.update(re.findall(r"""name["']?\s*:\s*["']?([\w.:-]+)""", text))
    return names.issuperset(uuids)
