"""Builds a folder's image by docker-py alone: ``python docker_py.py FOLDER TAG [NAME=VALUE]...``.

What follows the tag are build arguments. The engine is the one that the environment names.
"""

from __future__ import annotations

import sys

import docker


def main() -> None:
    """Build, printing what the engine says; an error of the build is the exit status 1."""
    folder, tag, *arguments = sys.argv[1:]
    client = docker.from_env(timeout=900).api
    said = client.build(
        path=folder,
        tag=tag,
        buildargs=dict(argument.split("=", 1) for argument in arguments),
        rm=True,
        forcerm=True,
        decode=True,
    )
    for part in said:
        print(part.get("stream", ""), end="")
        if "error" in part:
            sys.exit(str(part["error"]))


if __name__ == "__main__":
    main()
