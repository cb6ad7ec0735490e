"""Draws docs/terminal.svg: real commands, run in a temporary folder on a pseudo-terminal.

Run it with the development environment: `.venv/bin/python docs/picture.py`.
"""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

_WIDTH = 84
_COMMANDS = (
    "envkit init demo numpy requests flask",
    "cd demo",
    "envkit install",
    "envkit run -- python -c 'import numpy; print(numpy.__version__)'",
    "envkit status",
)


def main() -> None:
    """Run the commands and draw what they print."""
    console = Console(record=True, width=_WIDTH, file=io.StringIO())
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        environ = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": str(_WIDTH),
            "TERM": "xterm-256color",
        }
        for command in _COMMANDS:
            console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
            if command.startswith("cd "):
                folder /= command.removeprefix("cd ")
            else:
                console.print(Text.from_ansi(_settled(_run(command, folder, environ))))
    picture = console.export_svg(title="envkit")
    # The reader's own monospaced font will do; nothing is fetched from elsewhere.
    picture = re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL)
    (Path(__file__).parent / "terminal.svg").write_text(picture, encoding="utf-8")


def _run(command: str, folder: Path, environ: dict[str, str]) -> str:
    """Return what a command writes to a terminal."""
    reader, writer = pty.openpty()
    with subprocess.Popen(
        ["/bin/sh", "-c", command], cwd=folder, env=environ, stdout=writer, stderr=writer
    ):
        os.close(writer)
        written = b""
        while True:
            try:
                chunk = os.read(reader, 65536)
            except OSError:  # what a pseudo-terminal answers when its other end is closed
                break
            if not chunk:
                break
            written += chunk
    os.close(reader)
    return written.decode()


def _settled(text: str) -> str:
    """Return the lines as they stand at the end, what was drawn over taken away."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(line.rpartition("\x1b[2K")[2] for line in lines).strip("\n")


if __name__ == "__main__":
    main()
