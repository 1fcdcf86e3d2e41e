"""When a stand-by may take the lease, pure. Only its own monotonic clock is read: clocks of different machines are never compared.

A stand-by watches (token, renewal). It may take the lease when that was released, or has not moved for `lease_seconds` between two
looks of its own. A look that finds it moved starts the wait again, however long the stand-by itself was away before.

The leader renews `RENEWALS` times in `lease_seconds`, and stops leading when the last renewal that worked *began* longer ago than
that: so it knows before another may act. What it still has under way is stopped by the fence (`stella.db.leases.require`), which
does not rest on time at all.
"""

from dataclasses import dataclass

from stella.db.leases import Sighting

RENEWALS = 3
_LOOKS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What was last seen, and since when (monotonic seconds) it has not moved."""

    seen: Sighting
    since: float


def look(before: Watch | None, seen: Sighting, now: float) -> Watch:
    """Take in what the lease is now."""
    if before is not None and before.seen == seen:
        return before
    return Watch(seen=seen, since=now)


def may_take(watch: Watch, now: float, lease_seconds: float) -> bool:
    """Whether the lease may be taken as it was last seen; the swap in the database decides."""
    return watch.seen.holder is None or now - watch.since >= lease_seconds


def is_stale(renewal_began: float, now: float, lease_seconds: float) -> bool:
    """Whether a leader whose last good renewal began then must stop leading."""
    return now - renewal_began >= lease_seconds


def renew_interval_seconds(lease_seconds: float) -> float:
    """How often a leader renews."""
    return lease_seconds / RENEWALS


def look_interval_seconds(lease_seconds: float) -> float:
    """How often a stand-by looks: it acts at most ``lease_seconds`` and one such interval after the last renewal that it saw."""
    return min(1.0, lease_seconds / _LOOKS)
