"""Whether the long versions of tests are wanted: ``STELLA_LONG_TESTS=1`` (docs/testing.md)."""

import os
from typing import TypeVar

LONG = os.environ.get("STELLA_LONG_TESTS") == "1"
T = TypeVar("T")


def choose(*, short: T, long: T) -> T:
    """``short`` as CI runs it, ``long`` where that is wanted."""
    return long if LONG else short
