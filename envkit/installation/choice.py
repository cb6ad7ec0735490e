"""Which entry of the store serves a pin on an interpreter: the choice that pip made, remembered."""

from __future__ import annotations

import hashlib

from envkit.interpreter import Interpreter
from envkit.locks.lock import Pin
from envkit.store import selections
from envkit.store.layout import Store


def find(store: Store, pin: Pin, interpreter: Interpreter) -> str | None:
    """Return the folder of a pin's entry; None if the store has nothing for it."""
    return selections.find(store, key(pin, interpreter))


def remember(store: Store, pin: Pin, interpreter: Interpreter, entry: str) -> None:
    """Remember the entry that was made from the file that pip chose."""
    selections.remember(store, key(pin, interpreter), entry)


def key(pin: Pin, interpreter: Interpreter) -> str:
    """Return a name for all that the choice among a pin's files depends on."""
    text = "\0".join(
        [pin.name, pin.version, pin.url, pin.form, interpreter.compatibility, *sorted(pin.hashes)]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:40]
