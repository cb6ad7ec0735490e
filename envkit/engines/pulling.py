"""What an engine tells while it pulls an image."""

from __future__ import annotations

from envkit.engines import faults
from envkit.engines.messages import Message, failure_in
from envkit.engines.progress import Finished, Report, Started, Transfer
from envkit.errors import EnvkitError, MissingError, ToolError

# A registry's answer for what it has not, as engines tell of it.
_ABSENT = ("not found", "manifest unknown", "repository does not exist", "no such manifest")

_MOVING = {"Downloading", "Extracting"}
_DONE = {"Pull complete", "Already exists"}


def absent(name: str) -> EnvkitError:
    """Return the error of an image that there is nowhere."""
    return MissingError(f"There is no image {name!r}, here or in its registry", faults.ABSENT_HINT)


class Pulling:
    """A pull that goes on."""

    def __init__(self, name: str, what: str, report: Report) -> None:
        """Begin.

        Args:
            name: the image's, as the registry has it.
            what: what is being done, for errors.
            report: told of each layer.
        """
        self._name, self._what, self._report = name, what, report
        self._layers: set[str] = set()

    def heard(self, message: Message) -> None:
        """Take a message of the engine.

        Raises:
            MissingError, ToolError: it says that the pull failed.
        """
        said = failure_in(message)
        if said:
            raise failure(said, self._name, self._what)
        layer, status = str(message.get("id", "")), str(message.get("status", ""))
        progress = message.get("progressDetail") or {}
        if status in _MOVING and "current" in progress:
            if layer not in self._layers:
                self._layers.add(layer)
                self._report(Started(layer, f"layer {layer}"))
            current, total = int(progress["current"]), int(progress.get("total") or 0)
            self._report(Transfer(layer, status, current, total))
        elif status in _DONE and layer in self._layers:
            self._report(Finished(layer, "done"))


def failure(said: str, name: str, what: str) -> EnvkitError:
    """Return the error of an image that could not be had from its registry.

    Args:
        said: the engine's words.
        name: the image.
        what: what was to be done.
    """
    if any(words in said.lower() for words in _ABSENT):
        return absent(name)
    found = faults.said_by_engine(said, what, image=name)
    return found or ToolError(f"Could not {what}: {said}")
