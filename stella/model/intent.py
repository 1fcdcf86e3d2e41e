"""How a host treats what it is asked to keep, and what became of it."""

import enum
from dataclasses import dataclass

from stella.model.slo import Metric, Slo


class Mode(enum.StrEnum):
    """``observe`` senses, evaluates and reports but changes nothing; ``enforce`` acts."""

    OBSERVE = "observe"
    ENFORCE = "enforce"


class IntentState(enum.StrEnum):
    """What became of an intent.

    ``pending``: it waits, for its instance or for its turn. ``enforced``: admitted. ``refused``: it cannot be kept on this host.
    ``degraded``: it was accepted and the host cannot hold it now.
    """

    PENDING = "pending"
    ENFORCED = "enforced"
    REFUSED = "refused"
    DEGRADED = "degraded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The newest intent of the source that governs an instance, and what became of it.

    ``revision`` is the source's own number for it. ``slo`` is None where it could not be read. ``reason`` is one line for a
    person, empty when it is enforced. ``largest`` holds the floors that would fit instead, in base units.
    """

    uuid: str
    source: str
    revision: int
    state: IntentState
    slo: Slo | None = None
    reason: str = ""
    largest: tuple[tuple[Metric, float], ...] = ()
