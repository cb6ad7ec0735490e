"""What a test needs and this machine has not."""

import os
from typing import NoReturn

import pytest


def lacking(reason: object) -> NoReturn:
    """Skip a test, as something is not there; in CI it has to be."""
    if os.environ.get("CI"):
        pytest.fail(str(reason))
    pytest.skip(str(reason))
