"""Run as a program of its own, so that several wheels are unpacked at once: `-m` this module.

Each line of standard input is the arguments of one `wheels.add` as JSON. When it is done, a line
comes back: `{}`, the message and hint of what went wrong, or what the system refused.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from envkit import refusals
from envkit.errors import EnvkitError, IntegrityError
from envkit.store import wheels


def main() -> None:
    """Unpack what standard input names, one wheel after the other."""
    # Whoever started this says what there is to say when a user interrupts.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for line in sys.stdin:
        job = json.loads(line)
        answer: dict[str, object] = {}
        try:
            wheels.add(
                Path(job["archive"]),
                name=job["name"],
                sha256=job["sha256"],
                entry=Path(job["entry"]),
                draft=Path(job["draft"]),
                version=job["version"],
            )
        except EnvkitError as error:
            answer = {
                "message": error.message,
                "hint": error.hint,
                "integrity": isinstance(error, IntegrityError),
            }
        except (OSError, MemoryError) as error:
            answer = {"refused": refusals.to_json(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
