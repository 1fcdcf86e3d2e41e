"""A change of what this host is asked to keep, and its answer: accepted, or refused with what would fit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stella.model.slo import Metric, Slo

SloChange = Callable[[Slo | None], Slo | None]
"""From the SLO an instance has (None: none) to the one it shall have (None: none). May raise `InvalidSlo`."""


class Refused(Exception):
    """A request cannot be granted and nothing was changed. ``largest`` tells for each metric the largest floor that would fit."""

    def __init__(self, field: str, message: str, largest: Mapping[Metric, float] | None = None) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message
        self.largest = dict(largest or {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An intent as it stands now (``slo`` None: withdrawn), or as it would stand after a dry run."""

    uuid: str
    slo: Slo | None
    generation: int
    reserved_cpu_cores: float
    estimated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentEvent:
    """A change of an intent's state that no request caused; ``message`` is one line for a person."""

    wall_seconds: float
    uuid: str
    message: str
