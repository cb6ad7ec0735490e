"""What Python does at its start is what `envkit run` does, for whatever is set before."""

import os
from importlib import resources
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envkit.config import GpuConfig
from envkit.environment import quick, stamp
from envkit.environment import visibility as parts
from envkit.environment.skeleton import Skeleton
from envkit.gpu import marks, masks, variables
from tests.fuzzing.test_state import PYTHON

HERE = "/project/.venv"

values = st.sampled_from(["", "-1", "0", "0,1", "GPU-1", "PCI_BUS_ID", "FASTEST_FIRST", "true"])
names = [*masks.NAMES, *(f"{marks.MARK}{name}" for name in masks.NAMES)]
places = st.sampled_from([HERE, "/other/.venv"])
environments = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys([*names, marks.LEASE, "SLURM_JOB_GPUS"], values),
        marks.PLACE: places,
        marks.SETTINGS: st.sampled_from(["other", "these"]),
    },
)
configurations = st.builds(
    GpuConfig,
    count=st.none() | st.integers(0, 2),
    devices=st.none() | st.sampled_from([(), ("0",), ("2", "1"), ("GPU-1",)]),
    order=st.sampled_from(["PCI_BUS_ID", "FASTEST_FIRST"]),
    memory_growth=st.none() | st.booleans(),
    leases=st.none(),
)


def started(config: GpuConfig, environ: dict[str, str]) -> dict[str, str]:
    """Return the variables that a Python of the environment goes on with."""
    result = dict(environ)
    template = resources.files("envkit") / "templates" / "gpu_startup.py"
    source = template.read_text(encoding="utf-8").replace("import os\nimport sys\n", "")
    found: dict[str, Any] = {
        "os": SimpleNamespace(environ=result, path=os.path, open=os.open, O_RDONLY=os.O_RDONLY),
        "sys": SimpleNamespace(prefix=HERE),
    }
    exec(compile(source, "gpu_startup.py", "exec"), found)  # noqa: S102
    (part,) = parts.of(config, Skeleton("/entry", PYTHON, (("", ""), ("", ""))))
    found["_SEEN"], found["_USED"], found["_SETTINGS"] = part.seen, part.used, "these"
    found["apply"]()
    once = dict(result)
    found["apply"]()
    assert result == once
    return result


@given(configurations)
def test_what_an_environment_says_of_itself_is_what_a_run_does(config: GpuConfig) -> None:
    skeleton = Skeleton("/entry", PYTHON, (("", ""), ("", "")))
    said = parts.summary(parts.of(config, skeleton))
    by_name = (config.devices or ("",))[0].startswith("GPU-")
    needs_thought = by_name if config.count is None else config.count != 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stamp, "has_overrides", lambda _: True)
        patch.setattr(os, "environ", {"PATH": "/bin"})
        found = quick.gpu_variables(HERE, {"gpu": [said]})
        for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", marks.LEASE, marks.PLACE):
            patch.setattr(os, "environ", {name: ""})
            assert quick.gpu_variables(HERE, {"gpu": [said]}) is None or not config.is_set
    if needs_thought:
        assert found is None
    elif config.is_set:
        assert found == variables.with_own({}, variables.project_variables(config), HERE)
    else:
        assert found == {}


@given(environments, configurations.filter(lambda config: config.is_set))
def test_it_is_what_a_run_does(environ: dict[str, str], config: GpuConfig) -> None:
    found = started(config, environ)
    decided = environ.get(marks.SETTINGS, "these") == "these" and environ.get(marks.PLACE) == HERE
    # Where leases are kept is not said, so that nothing tells that they have ended.
    if marks.LEASE in environ or decided:
        assert found == environ
        return
    before = variables.without_own(environ)
    added = masks.added(before, variables.project_variables(config))
    assert found == {**variables.with_own(before, added, HERE), marks.SETTINGS: "these"}
