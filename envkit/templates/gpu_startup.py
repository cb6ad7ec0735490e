"""What this project's processes may see of the GPUs. `envkit install` writes this anew."""

import os

_SEEN: dict[str, str] = {}
_USED: dict[str, str] = {}

# Where one of these is set, be it to nothing, somebody has decided what may be seen.
_DECIDING = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "SLURM_JOB_ID")


def apply() -> None:
    """Set the variables that are not set; done twice, it does nothing more."""
    if not any(name in os.environ for name in _DECIDING):
        os.environ.update(_SEEN)
    for name, value in _USED.items():
        os.environ.setdefault(name, value)
