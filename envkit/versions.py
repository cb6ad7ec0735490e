"""Versions of distributions (PEP 440)."""

from __future__ import annotations


def is_pinned(version: str, pin: str) -> bool:
    """Return whether a version is one that a pin names.

    As in `==`, a local part, behind a plus, counts only where the pin has one.

    Args:
        version: a version.
        pin: what stands behind `==` in a lock; what is no version is compared as text.
    """
    from packaging.utils import canonicalize_version

    compared = version if "+" in pin else version.partition("+")[0]
    return canonicalize_version(compared) == canonicalize_version(pin)
