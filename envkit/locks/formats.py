"""Format controls: which distributions are taken as wheels only, and which as sdists only.

Source: the pip options `--no-binary` and `--only-binary`, which may stand in requirement files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from envkit.locks.names import normalize

# What may be taken for a distribution: any file, a wheel, or an sdist.
Form = Literal["", "wheel", "sdist"]

_CONTROL = re.compile(r"(?P<option>--no-binary|--only-binary)(?:\s*=\s*|\s+)(?P<names>\S+)")


def is_control(line: str) -> bool:
    """Return whether a line of a requirements file is a format control."""
    return bool(_CONTROL.fullmatch(line))


class Formats:
    """Format controls, as pip adds them up: of two for one name the later one counts."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        """Take into account those of the lines that are format controls."""
        self._forms: dict[str, Form] = {}
        for line in filter(is_control, lines):
            self.add(line)

    def add(self, line: str) -> None:
        """Take a format control into account.

        Args:
            line: one for which `is_control` holds.
        """
        found = _CONTROL.fullmatch(line)
        assert found, line
        form: Form = "sdist" if found["option"] == "--no-binary" else "wheel"
        for name in found["names"].split(","):
            if name == ":all:":
                self._forms = {name: form}
            elif name == ":none:":
                self._forms = {key: one for key, one in self._forms.items() if one != form}
            else:
                self._forms[normalize(name)] = form

    def of(self, name: str) -> Form:
        """Return what may be taken for a distribution, by its normalized name."""
        return self._forms.get(name, self._forms.get(":all:", ""))


def control(name: str, form: Form) -> str:
    """Return the format control that says this of one distribution; empty if there is none."""
    option = {"": "", "sdist": "--no-binary", "wheel": "--only-binary"}[form]
    return option and f"{option} {name}"
