"""Where a user and a machine keep settings of their own, which stand above a project's."""

import os

# For a type checker only, which takes longer to import than all else that `run` needs.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_MACHINE = "/etc/envkit/config.toml"
_VARIABLE = "ENVKIT_MACHINE_CONFIG"


def files(environ: "Mapping[str, str]") -> tuple[str, str]:
    """Return the user's and the machine's own file, which need not exist; the last one decides.

    Source for the user's: XDG Base Directory Specification, $XDG_CONFIG_HOME, which counts for
    nothing unless it is absolute.
    """
    return (
        os.path.join(base(environ, "XDG_CONFIG_HOME", ".config"), "envkit", "config.toml"),
        environ.get(_VARIABLE) or _MACHINE,
    )


def base(environ: "Mapping[str, str]", variable: str, below_home: str) -> str:
    """Return a base directory of the XDG specification: what a variable says, or the default."""
    said = environ.get(variable, "")
    if os.path.isabs(said):
        return said
    home = environ.get("HOME", "")
    return os.path.join(home if os.path.isabs(home) else "/", below_home)
