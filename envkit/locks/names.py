"""Names of distributions, as far as they can be told without understanding a whole requirement."""

from __future__ import annotations

import re


def normalize(name: str) -> str:
    """Return a distribution's name in its normal form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def name_of(requirement: str) -> str:
    """Return the normalized name that a requirement begins with."""
    return normalize(re.split(r"[^\w.-]", requirement.strip())[0])
