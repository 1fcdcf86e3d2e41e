"""When to ask again."""

import random
from collections.abc import Callable

MOST_SECONDS = 30.0
_FIRST_SECONDS = 1.0


class BackOff:
    """Doubles with each failure up to `MOST_SECONDS`, with jitter, so that hosts do not all come back at once."""

    def __init__(self, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._uniform = uniform
        self.failures = 0

    def failed(self) -> float:
        """Seconds to wait after one more failure."""
        seconds = min(MOST_SECONDS, _FIRST_SECONDS * 2.0 ** min(self.failures, 10))
        self.failures += 1
        return self._uniform(0.5 * seconds, seconds)

    def draw(self, seconds: float) -> float:
        """Up to this many seconds, by chance."""
        return self._uniform(0.0, seconds)

    def succeeded(self, seconds: float) -> float:
        """Seconds to wait after a success, about ``seconds``."""
        self.failures = 0
        return self._uniform(0.9 * seconds, seconds)
