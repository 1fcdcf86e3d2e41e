"""Whether a promise was kept: status, cause, and the account of windows."""

import enum
from dataclasses import dataclass

TOLERANCE_RATIO = 0.95
"""An objective is met from this share of its value on: the same in agent, API, UI and bench."""

WINDOW_SECONDS = 1.0


class Status(enum.StrEnum):
    """What became of an objective in a window; `docs/glossary.md` gives each word in full."""

    MET = "MET"
    NO_DEMAND = "NO_DEMAND"
    SELF_LIMITED = "SELF_LIMITED"
    DEGRADED = "DEGRADED"
    VIOLATED = "VIOLATED"
    UNKNOWN = "UNKNOWN"
    PENDING = "PENDING"

    @property
    def missed(self) -> bool:
        """Whether a window with this status counts against the provider."""
        return self in (Status.VIOLATED, Status.DEGRADED)


class Cause(enum.StrEnum):
    """Why an objective was missed. Never guessed: ``sensor`` when it cannot be known."""

    CPU = "cpu"
    NETWORK = "network"
    BLOCK = "block"
    HOST = "host"
    CAPACITY = "capacity"
    SENSOR = "sensor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Windows of one objective by what became of them."""

    met: int = 0
    missed: int = 0
    no_demand: int = 0
    self_limited: int = 0
    unknown: int = 0

    def counted(self, status: Status) -> "Tally":
        """This tally with one more window of ``status``; PENDING is not counted."""
        met, missed, idle, limited, unknown = (
            self.met,
            self.missed,
            self.no_demand,
            self.self_limited,
            self.unknown,
        )
        match status:
            case Status.MET:
                met += 1
            case Status.VIOLATED | Status.DEGRADED:
                missed += 1
            case Status.NO_DEMAND:
                idle += 1
            case Status.SELF_LIMITED:
                limited += 1
            case Status.UNKNOWN:
                unknown += 1
            case Status.PENDING:
                pass
        return Tally(met=met, missed=missed, no_demand=idle, self_limited=limited, unknown=unknown)

    def plus(self, other: "Tally") -> "Tally":
        """Both tallies together."""
        return Tally(
            met=self.met + other.met,
            missed=self.missed + other.missed,
            no_demand=self.no_demand + other.no_demand,
            self_limited=self.self_limited + other.self_limited,
            unknown=self.unknown + other.unknown,
        )

    @property
    def attainment_ratio(self) -> float | None:
        """Met windows among those with demand; None when there was no demand. Unknown windows are reported separately, not counted."""
        return self.met / (self.met + self.missed) if self.met + self.missed else None
