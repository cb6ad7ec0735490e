"""What an engine tells while it pushes an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from envkit.engines.messages import Message, failure_in
from envkit.engines.progress import Finished, Line, Report, Started, Transfer
from envkit.errors import ToolError

_HAD = ("Layer already exists", "Mounted from")


class Pushed(NamedTuple):
    """An image in a registry.

    Attributes:
        name: "host/app:1".
        digest: of its manifest there; empty if the engine did not say it.
        size: bytes of that manifest.
        layers: how many layers were sent.
        sent: bytes that were, compressed as the registry keeps them; about, as the engine counts.
        had: how many layers the registry had already.
    """

    name: str
    digest: str
    size: int = 0
    layers: int = 0
    sent: int = 0
    had: int = 0


class Pushing:
    """A push that goes on."""

    def __init__(self, name: str, what: str, report: Report) -> None:
        """Begin.

        Args:
            name: the image's, as the registry will have it.
            what: what is being done, for errors.
            report: told of each layer.
        """
        self._name, self._what, self._report = name, what, report
        self._bytes: dict[str, int] = {}
        self._sent: set[str] = set()
        self._had: set[str] = set()
        self._digest, self._size = "", 0

    def heard(self, message: Message) -> None:
        """Take a message of the engine.

        Raises:
            ToolError: it says that the push failed.
        """
        said = failure_in(message)
        if said:
            raise self._failure(said)
        extra = message.get("aux")
        if isinstance(extra, dict) and "Digest" in extra:
            self._digest, self._size = str(extra["Digest"]), int(extra.get("Size") or 0)
        layer, status = str(message.get("id", "")), str(message.get("status", ""))
        if layer:
            self._layer(layer, status, message.get("progressDetail") or {})

    def done(self) -> Pushed:
        """Return what was pushed, when the engine has no more to say."""
        sent = sum(self._bytes[layer] for layer in self._sent if layer in self._bytes)
        return Pushed(self._name, self._digest, self._size, len(self._sent), sent, len(self._had))

    def _layer(self, layer: str, status: str, progress: Mapping[str, Any]) -> None:
        if layer not in self._bytes:
            self._bytes[layer] = 0
            self._report(Started(layer, f"layer {layer}"))
        if status == "Pushing" and "current" in progress:
            current, total = int(progress["current"]), int(progress.get("total") or 0)
            self._bytes[layer] = max(self._bytes[layer], current)
            self._report(Transfer(layer, layer, current, total))
        elif status == "Pushed":
            self._sent.add(layer)
            self._report(Finished(layer, "done"))
        elif status.startswith(_HAD):
            self._had.add(layer)
            self._report(Finished(layer, "cached"))
        elif status.startswith("Retrying"):
            self._report(Line(layer, status))

    def _failure(self, said: str) -> Exception:
        from envkit.engines import faults

        found = faults.said_by_engine(said, self._what, image=self._name)
        return found or ToolError(f"Could not {self._what}: {said}")
