"""A buildx that builds nothing: it does again what was recorded of a real one.

`test_fake_buildx.py` compares the two.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .builds import RECORDED

_PROGRAM = """#!{python} -IS
import json, os, sys

settings = json.loads({settings!r})
arguments = sys.argv[1:]
options = dict(zip(arguments, arguments[1:]))
form = next(one for one in arguments if one.startswith("--progress=")).partition("=")[2]
if form not in settings["forms"]:
    sys.exit("ERROR: invalid progress mode " + form)

def read(name):
    with open(name, encoding="utf-8") as file:
        return file.read()

dockerfile = options["--file"]
call = [arguments, dict(os.environ), read(dockerfile), read(dockerfile + ".dockerignore")]
with open(settings["calls"], "a", encoding="utf-8") as file:
    file.write(json.dumps(call) + "\\n")
recorded = settings["recorded"]
sys.stderr.write(read(recorded + "." + form))
if not os.path.exists(recorded + ".metadata"):
    sys.exit(1)
metadata = read(recorded + ".metadata")
with open(options["--metadata-file"], "w", encoding="utf-8") as file:
    file.write(metadata)
with open(options["--iidfile"], "w", encoding="utf-8") as file:
    file.write(json.loads(metadata)["containerimage.config.digest"])
"""


class Call(NamedTuple):
    """How it was run: arguments, environment, and what its Dockerfile and the rules said."""

    arguments: list[str]
    environ: dict[str, str]
    dockerfile: str
    ignore: str

    def values(self, option: str) -> list[str]:
        """Return the values of an option that may be given several times."""
        pairs = zip(self.arguments, self.arguments[1:], strict=False)
        return [value for name, value in pairs if name == option]


class FakeBuildx:
    """The plugin, in a folder as that of a user's settings.

    Attributes:
        program: the plugin.
        environ: the variables with which it is found.
    """

    def __init__(
        self,
        folder: Path,
        recorded: str,
        *,
        forms: Sequence[str] = ("auto", "plain", "tty", "rawjson"),
    ) -> None:
        """Make it.

        Args:
            folder: the folder.
            recorded: what it does again, by its name in `recorded`.
            forms: the forms of progress that it knows.
        """
        self._calls = folder / "calls"
        settings = {"recorded": str(RECORDED / recorded), "calls": str(self._calls), "forms": forms}
        self.program = folder / "cli-plugins" / "docker-buildx"
        self.program.parent.mkdir(parents=True)
        text = _PROGRAM.format(python=sys.executable, settings=json.dumps(settings))
        self.program.write_text(text, encoding="utf-8")
        self.program.chmod(0o755)
        self.environ: Mapping[str, str] = {"DOCKER_CONFIG": str(folder)}

    def calls(self) -> list[Call]:
        """Return how it was run until now, where it was asked for what it knows."""
        if not self._calls.exists():
            return []
        lines = self._calls.read_text(encoding="utf-8").splitlines()
        said: list[Any] = [json.loads(line) for line in lines]
        return [Call(*one) for one in said]
