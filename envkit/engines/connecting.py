"""An engine that nobody waits for before it is needed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from envkit.engines import endpoint

if TYPE_CHECKING:
    from envkit.engines.engine import Engine


class Connecting:
    """An engine that is connected with when it is first needed, in whichever thread that is.

    Attributes:
        endpoint: where it is.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Find out where the engine is.

        Args:
            environ: the environment, in which DOCKER_HOST and the like say where it is.

        Raises:
            UsageError: what says where it is makes no sense.
        """
        self._environ = environ
        self._mutex = threading.Lock()
        self._engine: Engine | None = None
        self.endpoint = endpoint.find(environ)

    @property
    def engine(self) -> Engine:
        """The engine.

        Raises:
            MissingError: there is none, or it may not be used.
            ToolError: it does not answer.
        """
        with self._mutex:
            if self._engine is None:
                from envkit.engines.engine import Engine

                self._engine = Engine(self._environ)
            return self._engine

    def __enter__(self) -> Connecting:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._engine:
            self._engine.client.close()
