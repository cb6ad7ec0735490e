"""A package of Debian's, made on the spot, and the index by which apt finds it."""

import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path

# Its name, which is also that of the program that it brings, and what that prints.
NAME, GREETING = "greeting", "good day"

_CONTROL = f"""\
Package: {NAME}
Version: 1.0
Architecture: all
Maintainer: A <a@example.org>
Description: says good day
"""


def repository(folder: Path) -> Mapping[str, bytes]:
    """Return the files of a flat repository, which sources.list(5) describes.

    Args:
        folder: an empty one, to work in.
    """
    tree = folder / NAME
    program = tree / "usr" / "bin" / NAME
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho {GREETING}\n", encoding="utf-8")
    program.chmod(0o755)
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN" / "control").write_text(_CONTROL, encoding="utf-8")
    package = folder / f"{NAME}.deb"
    command = ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(package)]
    environ = {"SOURCE_DATE_EPOCH": "0", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    subprocess.run(command, check=True, capture_output=True, env=environ)
    content = package.read_bytes()
    index = (
        f"{_CONTROL}Filename: ./{package.name}\nSize: {len(content)}\n"
        f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
    )
    return {package.name: content, "Packages": index.encode()}
