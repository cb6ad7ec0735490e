"""What lets every process of an environment see the GPUs that the settings say.

Python's own start obeys the settings through a file in site-packages, in both forms that there are
(site module: `.pth`, and `.start` from Python 3.15, PEP 829), whose name comes first so that
nothing has looked at GPUs before. Shells obey them through their activation scripts.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from envkit.config import GpuConfig
from envkit.environment import shells, stamp
from envkit.environment.parts import Part
from envkit.environment.skeleton import Skeleton
from envkit.environment.tree import Layout, Leaf, Written
from envkit.quantities import count as counted

NAME = "gpu-visibility"

# Modules are imported under their names, so that this one must be nobody else's.
_MODULE = "_envkit_gpu"
_FILE = "000_envkit"
_TEMPLATE = "gpu_startup.py"

# What stands behind its empty tables, for type checkers: older Pythons know of no better way.
_NOTE = "# type: ignore[var-annotated]"

# A single line. Byte-code of so small a module is worth less than that nothing in the environment
# changes when it is first used.
_PTH = (
    "import sys; before, sys.dont_write_bytecode = sys.dont_write_bytecode, True; "
    f"import {_MODULE}; sys.dont_write_bytecode = before; {_MODULE}.apply()\n"
)


class Visibility(NamedTuple):
    """The part that has all this.

    Attributes:
        skeleton: whose activation scripts are extended.
        seen: the variables that say what may be seen.
        used: those that say how it is counted and used.
        telling: what a shell says when it is activated; empty for nothing.
    """

    skeleton: Skeleton
    seen: Mapping[str, str]
    used: Mapping[str, str]
    telling: str

    @property
    def name(self) -> str:
        return NAME

    @property
    def version(self) -> str:
        return ""

    @property
    def variables(self) -> Mapping[str, str]:
        """All that it sets."""
        return {**self.used, **self.seen}

    @property
    def settings(self) -> str:
        """What tells these settings from others."""
        said = json.dumps([self.seen, self.used], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:8]

    @property
    def compiled(self) -> str:
        return ""

    @property
    def source(self) -> str:
        said = _said(self.seen, self.used, self.telling)
        return f"{NAME} {os.path.basename(self.skeleton.entry)} {said}"

    def leaves(self, layout: Layout) -> Iterator[tuple[str, dict[str, Leaf]]]:
        files = {
            f"{_FILE}.pth": _PTH,
            f"{_FILE}.start": f"{_MODULE}:apply\n",
            f"{_MODULE}.py": self._module(),
        }
        yield layout.site, {name: Written(text.encode(), False) for name, text in files.items()}
        scripts = dict(self.skeleton.leaves(layout)).get("bin", {})
        yield (
            "bin",
            {
                name: Written(self._script(name, leaf.content), leaf.executable)
                for name in {**shells.SETTING, **shells.UNDOING}
                if isinstance(leaf := scripts.get(name), Written)
            },
        )

    def _module(self) -> str:
        text = _template()
        for name, variables in (("_SEEN", self.seen), ("_USED", self.used)):
            text = text.replace(f"{name} = {{}}  {_NOTE}\n", f"{name} = {dict(variables)!r}\n")
        return text.replace('_SETTINGS = ""\n', f'_SETTINGS = "{self.settings}"\n')

    def _script(self, name: str, content: bytes) -> bytes:
        text = content.decode("utf-8", "surrogateescape")
        extended = shells.script(name, text, self.seen, self.used, self.telling, self.settings)
        return extended.encode("utf-8", "surrogateescape")


def of(config: GpuConfig, skeleton: Skeleton) -> tuple[Visibility, ...]:
    """Return the part for some settings; nothing if they say nothing of GPUs.

    Args:
        config: the settings.
        skeleton: the environment's.
    """
    return (Visibility(skeleton, *_settings(config)),) if config.is_set else ()


def summary(parts: Iterable[Part]) -> str:
    """Return what a stamp says of the GPUs of a command that is run.

    It has to be thought of where leases are taken, or the driver has to be asked for names.
    """
    from envkit.gpu import masks

    for part in parts:
        if isinstance(part, Visibility):
            mask = part.seen.get(masks.CUDA, "")
            if part.telling or (mask and not masks.is_of_indices(mask)):
                return stamp.GPUS_TO_THINK_OF
            return " ".join(f"{name}={value}" for name, value in part.variables.items())
    return stamp.NO_GPUS


def is_of(config: GpuConfig, sources: Iterable[str]) -> bool:
    """Return whether parts with these sources have what settings say of GPUs, and no more."""
    had = [source.split(" ", 2)[2] for source in sources if source.startswith(f"{NAME} ")]
    return had == ([_said(*_settings(config))] if config.is_set else [])


def _settings(config: GpuConfig) -> tuple[Mapping[str, str], Mapping[str, str], str]:
    """Return the variables that say what may be seen, those that say more, what a shell says."""
    from envkit.gpu import masks, variables

    every = variables.project_variables(config)
    deciding = {*masks.MASKS}
    # A list of numbers comes with the order that they count in.
    if masks.is_of_indices(config.mask or ""):
        deciding.add(masks.ORDER)
    seen = {name: value for name, value in every.items() if name in deciding}
    used = {name: value for name, value in every.items() if name not in masks.MASKS}
    telling = ""
    if config.count:
        number = "all" if config.count == "all" else counted(config.count, "GPU")
        telling = f"This shell sees no GPU: `envkit run -- COMMAND` takes {number} on lease"
    return seen, used, telling


def _said(seen: Mapping[str, str], used: Mapping[str, str], telling: str) -> str:
    return f"{_form()} {json.dumps([seen, used, telling])}"


def again(skeleton: Skeleton, source: str) -> Visibility | None:
    """Return the part that has a source; None if this envkit would make it another one."""
    seen, used, telling = json.loads(source.split(" ", 3)[3])
    found = Visibility(skeleton, seen, used, telling)
    return found if found.source == source else None


def _template() -> str:
    from importlib import resources

    return (resources.files("envkit") / "templates" / _TEMPLATE).read_text(encoding="utf-8")


def _form() -> str:
    """Return what tells the files of one envkit from those of another, for the same settings."""
    texts = (_PTH, _template(), repr((shells.SETTING, shells.UNDOING)))
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:16]
