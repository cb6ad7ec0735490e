"""Servers of this process."""

import contextlib
import socketserver
import threading
from collections.abc import Iterator
from typing import TypeVar

Server = TypeVar("Server", bound=socketserver.BaseServer)

# Within so many seconds a server notices that it is to stop.
_POLL = 0.02


@contextlib.contextmanager
def answering(server: Server) -> Iterator[Server]:
    """Let a server answer while this is entered; then it is closed."""
    thread = threading.Thread(target=server.serve_forever, args=(_POLL,))
    with server:
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
