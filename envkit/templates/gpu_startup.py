"""What this project's processes may see of the GPUs. `envkit install` writes this anew."""

import os
import sys

_SEEN = {}  # type: ignore[var-annotated]
_USED = {}  # type: ignore[var-annotated]

# Beside each variable that envkit sets there is one of this name with the same value, so that it
# can be told from one that was set by hand; and one that says for which environment that was.
_MARK = "_ENVKIT_SET_"
_PLACE = "ENVKIT_GPU_ENVIRONMENT"
_CUDA = "CUDA_VISIBLE_DEVICES"
_ROCM = ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


def apply() -> None:
    """Set the variables that are not set by hand; done twice, it does nothing more."""
    environ = os.environ
    if "ENVKIT_GPU_LEASE" in environ or environ.get(_PLACE) == sys.prefix:
        return
    for mark in [name for name in environ if name.startswith(_MARK)]:
        value, name = environ.pop(mark), mark[len(_MARK) :]
        if environ.get(name) == value:
            del environ[name]
    wanted = {name: value for name, value in _USED.items() if name not in environ}
    if _CUDA not in environ and "SLURM_JOB_ID" not in environ:
        decided = any(name in environ for name in _ROCM)
        for name, value in _SEEN.items():
            if not (decided and name in _ROCM):
                wanted[name] = value
    for name, value in wanted.items():
        environ[name] = environ[_MARK + name] = value
    environ[_PLACE] = sys.prefix
