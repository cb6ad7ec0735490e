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
from typing import Any, NamedTuple

from envkit.config import GpuConfig
from envkit.gpu import masks
from envkit.gpu.devices import Gpu
from envkit.gpu.holders import Container

# The label by which a container is known that has GPUs on lease.
LABEL = "dev.envkit.gpu.lease"

_KIND = "nvidia.com/gpu"

# Images of CUDA ask for all GPUs by themselves, unless this says that they get none.
VISIBLE = "NVIDIA_VISIBLE_DEVICES"
_NONE = {VISIBLE: "void"}

# How long an engine may take to answer, in seconds, before its containers count as running.
_PATIENCE = 2.0


class Given(NamedTuple):
    """What gives a container these GPUs and no others.

    Attributes:
        uuids: which.
        by_cdi: whether they go by their names as Container Device Interface has them.
        environment: the variables that go with them.
    """

    uuids: tuple[str, ...]
    by_cdi: bool
    environment: Mapping[str, str]

    @classmethod
    def of(cls, gpus: Sequence[Gpu], config: GpuConfig, info: Mapping[str, Any]) -> Given:
        """Return what gives a container these GPUs.

        Args:
            gpus: which.
            config: the settings.
            info: what the engine says of itself (Docker Engine API, "Get system information").
        """
        if not gpus:
            return cls((), False, _NONE)
        uuids = tuple(gpu.uuid for gpu in gpus)
        used = masks.variables(None, order=config.order, memory_growth=config.memory_growth)
        return cls(uuids, _offers_cdi(info, uuids), used)

    def options(self) -> tuple[str, ...]:
        """Return it as options of `docker run`."""
        given: list[str] = []
        if self.by_cdi:
            given = [word for uuid in self.uuids for word in ("--device", f"{_KIND}={uuid}")]
        elif self.uuids:
            # One value of a list of them, as encoding/csv reads it.
            given = ["--gpus", f'"device={",".join(self.uuids)}"']
        said = [f"{name}={value}" for name, value in self.environment.items()]
        return (*given, *(word for one in said for word in ("--env", one)))

    def requests(self) -> list[dict[str, Any]]:
        """Return it as device requests of the API (Docker Engine API, "DeviceRequest")."""
        if not self.uuids:
            return []
        if self.by_cdi:
            return [{"Driver": "cdi", "DeviceIDs": [f"{_KIND}={uuid}" for uuid in self.uuids]}]
        return [{"Driver": "", "DeviceIDs": [*self.uuids], "Capabilities": [["gpu"]]}]


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
