"""What images an engine has, asked over its socket without the SDK.

To import the SDK takes as long as to build a change of the code. So these few questions, which need
nothing but a name, are asked as they stand in the protocol, where the engine listens on a socket of
this machine. Whatever is not answered as expected is asked of the SDK, which can explain.

Source: Docker Engine API, "Images".
"""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from envkit.engines import images
from envkit.engines.connecting import Connecting
from envkit.engines.images import Image, Layer

# In seconds.
_PATIENCE = 30.0

# In bytes: what is read at a time, and more than any answer to these questions has.
_PIECE, _MOST = 1 << 16, 1 << 26

OK, _CREATED, _NOT_FOUND = 200, 201, 404


class Glance:
    """Looks at the images of an engine, as `Engine` does."""

    def __init__(self, connecting: Connecting) -> None:
        self._connecting = connecting

    def inspect(self, reference: str) -> Image | None:
        """Return an image by its name or id; None if the engine has none such.

        Raises:
            EnvkitError: as `Engine` raises it.
        """
        status, said = self._ask("GET", f"{_place(reference)}/json")
        if status == OK and isinstance(said, dict) and "Id" in said:
            return images.from_inspection(said)
        return None if status == _NOT_FOUND else self._connecting.engine.inspect(reference)

    def require(self, reference: str) -> Image:
        """Return an image by its name or id.

        Raises:
            MissingError: the engine has none such.
        """
        return self.inspect(reference) or self._connecting.engine.require(reference)

    def history(self, reference: str) -> tuple[Layer, ...]:
        """Return what an image was made by, newest first.

        Raises:
            MissingError: there is no such image.
        """
        status, said = self._ask("GET", f"{_place(reference)}/history")
        if status == OK and isinstance(said, list):
            return tuple(images.from_history(one) for one in said)
        return self._connecting.engine.history(reference)

    def tag(self, reference: str, name: str) -> None:
        """Give an image a name more; an image that had it loses it.

        Raises:
            MissingError: there is no such image.
        """
        repository, _, tag = name.rpartition(":")
        wanted = f"repo={quote(repository, safe='')}&tag={quote(tag, safe='')}"
        status, _ = self._ask("POST", f"{_place(reference)}/tag?{wanted}")
        if status != _CREATED:
            self._connecting.engine.tag(reference, name)

    def _ask(self, method: str, target: str) -> tuple[int, Any]:
        """Return the status and the content of an answer; 0 where there is none that is plain."""
        where = self._connecting.endpoint.socket
        if where is None:
            return 0, None
        try:
            return ask(where, method, target, patience=_PATIENCE)
        except (OSError, ValueError):
            return 0, None


def ask(where: Path, method: str, target: str, *, patience: float) -> tuple[int, Any]:
    """Return the status and the content of an engine's answer.

    Args:
        where: the socket that it listens on.
        method: as in HTTP.
        target: what is asked for, with its query.
        patience: how many seconds it may take.

    Raises:
        OSError: it cannot be asked, or takes longer.
        ValueError: what answers is no engine, or no socket can have such a name.
    """
    request = f"{method} {target} HTTP/1.0\r\nHost: docker\r\nContent-Length: 0\r\n\r\n"
    until = time.monotonic() + patience
    answer = bytearray()
    with socket.socket(socket.AF_UNIX) as talking:
        talking.settimeout(patience)
        talking.connect(str(where))
        talking.sendall(request.encode("ascii"))
        while piece := talking.recv(_PIECE):
            answer += piece
            # What is sent byte by byte would never take longer than a timeout.
            left = until - time.monotonic()
            if left <= 0 or len(answer) > _MOST:
                raise TimeoutError("it does not come to an end")
            talking.settimeout(left)
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    words = head.split(None, 2)
    if len(words) < 2:
        raise ValueError("no answer")
    return int(words[1]), json.loads(body) if body.strip() else None


def _place(reference: str) -> str:
    return f"/images/{quote(reference, safe='/:@')}"
