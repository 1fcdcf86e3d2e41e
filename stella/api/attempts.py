"""Trying again where others changed the same thing at the same time."""

import random
import time
from collections.abc import Iterator

LARGEST = 15
_FIRST_SECONDS = 0.002
_LONGEST_SECONDS = 0.2
_CHANCE = random.SystemRandom()


def attempts() -> Iterator[int]:
    """Count attempts, with a growing pause by chance before each but the first: of many who collide, each gets through."""
    for attempt in range(LARGEST):
        if attempt:
            time.sleep(_CHANCE.uniform(0, min(_LONGEST_SECONDS, _FIRST_SECONDS * 2**attempt)))
        yield attempt
