"""What this project's processes may see of the GPUs. `envkit install` writes this anew."""

import os
import sys

_SEEN = {}  # type: ignore[var-annotated]
_USED = {}  # type: ignore[var-annotated]

# What tells these settings from others.
_SETTINGS = ""

# Beside each variable that envkit sets there is one of this name with the same value, so that it
# can be told from one that was set by hand; and one that says for which environment that was, and
# if its settings have decided, which these were.
_MARK = "_ENVKIT_SET_"
_PLACE = "ENVKIT_GPU_ENVIRONMENT"
_DECIDED = "ENVKIT_GPU_SETTINGS"

# The GPUs on lease, how deep that is, and the folder in which it is kept.
_LEASE = ("ENVKIT_GPU_LEASE", "ENVKIT_GPU_LEASE_DEPTH", "ENVKIT_GPU_LEASE_FOLDER")

# Whoever has a lease, or a part of one, has claimed one of so many first bytes of a file.
_PLACES = 100

_CUDA = "CUDA_VISIBLE_DEVICES"
_ROCM = ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
_SLURM = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS")


def apply() -> None:
    """Set the variables that are not set by hand; done twice, it does nothing more."""
    environ = os.environ
    if _LEASE[0] in environ:
        if _lasts(environ[_LEASE[0]].split(","), environ.get(_LEASE[2], "")):
            return
        for name in _LEASE:
            environ.pop(name, None)
    elif environ.get(_DECIDED, _SETTINGS) == _SETTINGS and _is_here(environ.get(_PLACE, "")):
        return
    for mark in [name for name in environ if name.startswith(_MARK)]:
        value, name = environ.pop(mark), mark[len(_MARK) :]
        if environ.get(name) == value:
            del environ[name]
    wanted = {name: value for name, value in _USED.items() if name not in environ}
    if not any(name in environ for name in (_CUDA, *_SLURM)):
        decided = any(name in environ for name in _ROCM)
        for name, value in _SEEN.items():
            if not (decided and name in _ROCM):
                wanted[name] = value
    for name, value in wanted.items():
        environ[name] = environ[_MARK + name] = value
    environ[_PLACE], environ[_DECIDED] = sys.prefix, _SETTINGS


def _is_here(place: str) -> bool:
    """Return whether an environment is this one, by whichever path it was entered."""
    return place == sys.prefix or os.path.realpath(place) == os.path.realpath(sys.prefix)


def _lasts(uuids: "list[str]", folder: str) -> bool:
    """Return whether somebody has a lease of these GPUs still; it does if that cannot be known.

    Variables stay when it has ended. Source: fcntl(2), "Open file description locks".
    """
    try:
        import fcntl
        import struct

        for uuid in uuids:
            descriptor = os.open(os.path.join(folder, uuid.replace("/", "_")), os.O_RDONLY)
            try:
                asked = struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, 0, _PLACES, 0)
                answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked)
            finally:
                os.close(descriptor)
            if struct.unpack("hhqqi0q", answer)[0] == fcntl.F_UNLCK:
                return False
    except (ImportError, AttributeError, OSError):
        return True
    return True
