"""Who may ask for SLOs, and in what order of precedence: the cloud, the SLO file, a person through the control socket.

A source publishes a frozen set from a thread of its own; the loop takes it with `poll`, which never blocks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from stella.model.slo import InvalidSlo, Slo, parse_slo

CLOUD = "cloud"
FILE = "file"
MANUAL = "manual"
PRECEDENCE = (CLOUD, FILE, MANUAL)
"""The first of these that asks for an instance governs it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An SLO that a source asks for; ``slo`` is None where it could not be read, and ``error`` says why.

    ``accepted``: a host has kept it, perhaps the one that its instance came from: where it does not fit it is degraded, not refused.
    """

    slo: Slo | None
    revision: int = 0
    error: str = ""
    accepted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentSet:
    """All that a source asks for at one ``revision``, by uuid (the SLO file also by name)."""

    revision: int
    wanted: Mapping[str, Wanted] = field(default_factory=dict)


class IntentSource(Protocol):
    """A source of intents. `poll` returns the same object as long as nothing changed."""

    @property
    def name(self) -> str:
        """One of `PRECEDENCE`."""

    def poll(self) -> IntentSet | None:
        """What is asked for now; None while that is not known: then what it asked for before stands. Never blocks."""


def wanted(keys: object, revision: int, *, accepted: bool = False) -> Wanted:
    """Read one SLO, as `parse_slo` does; one that cannot be read is kept with its error, so that it can be refused by name."""
    try:
        return Wanted(slo=parse_slo(keys), revision=revision, accepted=accepted)
    except InvalidSlo as error:
        return Wanted(slo=None, revision=revision, error=str(error))
