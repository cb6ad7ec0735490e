"""Plain clients of an index: HTTP without pip, and pip itself."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from .index import Index


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the index said to a plain client."""

    status: int
    body: bytes
    kind: str


def get(url: str, **headers: str) -> Answer:
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as response:
            return Answer(
                status=response.status, body=response.read(), kind=response.headers["Content-Type"]
            )
    except urllib.error.HTTPError as error:
        with error:
            return Answer(status=error.code, body=error.read(), kind=error.headers["Content-Type"])


def file_url(index: Index, filename: str) -> str:
    return f"http://{index.host}/files/{filename}"


def pip(index: Index, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pip", "--quiet", *map(str, arguments)]
    environment = index.pip_environment(os.environ)
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def pip_must(index: Index, *arguments: str | Path) -> None:
    done = pip(index, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def output(*command: str | Path) -> str:
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=True, timeout=60
    ).stdout
