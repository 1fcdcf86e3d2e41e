"""A shared back end, divided: the caps under which disks of several instances keep their floors and latency targets.

QEMU can bound one instance, nobody can prefer one. So a floor is kept by bounding the *others*, and whoever wants more than it
is granted is bounded by

    cap = weighted max-min share of (capacity x `USED_RATIO`), floors (with a little to spare) first

and nobody is bounded while nobody who is promised something misses it. An idle floor is lent: it has no demand, so `share`
gives it to the others.

The capacity is what the operator configured or, without that and whenever it turns out to be less, what was seen to go through
while it was not enough: those who want more than they get *and are below their caps* are held by the back end itself, and what
all got together then is its capacity. It is looked for upwards again by letting the others have a little more at times; while
that works, at once more.

A latency target is kept by the same knob: the back end is what answers too late when too much is asked of it, so what the
others may have together shrinks while the target is missed and grows slowly while it is kept (additive increase, multiplicative
decrease: Chiu and Jain, Computer Networks 17, 1989).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from stella.control.share import Claim, share

USED_RATIO = 0.98
"""Of the capacity: below it requests wait in our queues, which are fair, not in the back end's, which serves as they come."""
FLOOR_AIM_RATIO = 1.04
_HELD_BY_CAP_RATIO = 0.93
"""From this part of its cap on, an instance is held by the cap; below it, by the back end."""
_MISSING_RATIO = 0.995
_SETTLE_SECONDS = 0.75
"""Caps show in the readings only after so long."""
_WANTS_LINGER_SECONDS = 1.5
"""One that wanted more lately stays bounded: whether its queue ran empty differs from one reading to the next."""
_PROBE_SECONDS = 30.0
_LONGEST_PROBE_SECONDS = 600.0
_DEGRADED_PROBE_SECONDS = 30.0
_PROBE_STEP = 1.08
_RELEASE_SECONDS = 5.0
_LEAST_BYTES = 1e6
"""Nobody is bounded to less, and who uses less is idle."""
_ROOM_TO_GROW = 1.02
"""Kept free above what one uses that does not want more; when it does want more, it shows within a reading."""
_DEADBAND_RATIO = 0.04
_TARGET_AIM_RATIO = 0.85
_TARGET_SLACK_RATIO = 0.6
_DECREASE = 0.85
_NEAR_RATIO = 0.92
_INCREASE_PER_SECOND, _INCREASE_NEAR_PER_SECOND = 0.1, 0.003
"""Up to `_NEAR_RATIO` of where the target was last missed quickly, from there slowly: missing it once more costs a window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskClaim:
    """One instance on one back end: bytes/s, or seconds for ``latency_seconds`` and ``target_seconds``.

    ``wants_more``: its queue never ran empty. ``latency_seconds`` is meaningful only where no cap held it (QEMU counts the time in
    its own throttle too). ``ceiling`` is what it asked to be bounded by.
    """

    uuid: str
    usage: float
    wants_more: bool
    floor: float = 0.0
    ceiling: float = float("inf")
    weight: float = 1.0
    priority: int = 0
    latency_seconds: float | None = None
    target_seconds: float | None = None

    @property
    def promised(self) -> bool:
        """Whether it has a floor or a target here."""
        return self.floor > 0 or self.target_seconds is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendMemory:
    """What is remembered of one back end. Bytes/s; moments on the monotonic clock.

    ``capacity`` is what it is seen to give (None: not known yet). ``caps`` are wanted for each instance since
    ``changed_at_seconds``, ``caps_before`` were until then. ``others`` bounds, for a latency target, what those without one
    get together (None: no bound), and ``too_much`` is what they had when it was last missed. ``needed_at_seconds``: when
    caps were last needed; ``wanted_at_seconds``: when each instance last wanted more than it got. ``probe``: the instance
    that is let have more, to see whether the capacity has grown; that is tried every ``probe_wait_seconds``, less often
    after each failure.
    """

    capacity: float | None = None
    caps: Mapping[str, float] = field(default_factory=dict)
    caps_before: Mapping[str, float] = field(default_factory=dict)
    changed_at_seconds: float = float("-inf")
    others: float | None = None
    too_much: float = float("inf")
    needed_at_seconds: float = float("-inf")
    wanted_at_seconds: Mapping[str, float] = field(default_factory=dict)
    probe: str | None = None
    probed_at_seconds: float = float("-inf")
    probe_wait_seconds: float = _PROBE_SECONDS


def _held_by_backend(claim: DiskClaim, caps: Mapping[str, float]) -> bool:
    """It wants more, and it is not its cap that holds it."""
    cap = caps.get(claim.uuid)
    return claim.wants_more and (cap is None or claim.usage < cap * _HELD_BY_CAP_RATIO)


def _missing(claim: DiskClaim, caps: Mapping[str, float]) -> bool:
    """It misses what it is promised, and the back end is why: not the cap that it has because floors do not fit."""
    late = claim.target_seconds is not None and (claim.latency_seconds or 0.0) > claim.target_seconds
    return late or (claim.usage < claim.floor * _MISSING_RATIO and _held_by_backend(claim, caps))


def _weighted(claims: Sequence[DiskClaim]) -> bool:
    """Whether several want more and are not to get the same."""
    return len({claim.weight for claim in claims if claim.wants_more}) > 1


def _sensed_capacity(
    claims: Sequence[DiskClaim], memory: BackendMemory, configured: float | None, now_seconds: float
) -> BackendMemory:
    """The capacity after this reading: down to what goes through when that is not enough, up again by probing."""
    settled = now_seconds - memory.changed_at_seconds >= _SETTLE_SECONDS
    caps = memory.caps if settled else _lower(memory.caps, memory.caps_before)
    missing = any(_missing(claim, caps) for claim in claims)
    known = memory.capacity if memory.capacity is not None else configured
    if memory.probe is not None and known is not None:
        if not settled and not missing:
            return memory
        return _probed(claims, memory, known, configured, now_seconds, missing=missing)
    if not settled:
        return memory
    through = sum(claim.usage for claim in claims)
    if any(_held_by_backend(claim, memory.caps) for claim in claims) and (missing or _weighted(claims)):
        less = through if known is None else min(known, through)
        return replace(memory, capacity=less, probe_wait_seconds=_PROBE_SECONDS, probed_at_seconds=now_seconds)
    if known is None:
        return memory
    memory = replace(memory, capacity=max(known, _bounded(through, configured)))
    wait = _DEGRADED_PROBE_SECONDS if _degraded(claims, memory.caps) else memory.probe_wait_seconds
    capped = [claim for claim in claims if claim.wants_more and claim.uuid in memory.caps]
    if not capped or known == configured or now_seconds - memory.probed_at_seconds < wait:
        return memory
    chosen = min(capped, key=lambda claim: (claim.promised, claim.priority, claim.uuid))
    return replace(memory, probe=chosen.uuid, probed_at_seconds=now_seconds)


def _lower(caps: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    """Of two sets of caps, of which one is in force, for each instance the lower one."""
    return {u: min(caps.get(u, float("inf")), before.get(u, float("inf"))) for u in {*caps, *before}}


def _degraded(claims: Sequence[DiskClaim], caps: Mapping[str, float]) -> bool:
    """Whether somebody is bounded below its floor, because the floors do not all fit."""
    return any(claim.wants_more and caps.get(claim.uuid, float("inf")) < claim.floor for claim in claims)


def _probed(
    claims: Sequence[DiskClaim],
    memory: BackendMemory,
    known: float,
    configured: float | None,
    now_seconds: float,
    *,
    missing: bool,
) -> BackendMemory:
    """What the probe showed: that there is more (then it goes on), or that there is not."""
    over = replace(memory, probe=None, probed_at_seconds=now_seconds)
    chosen = next((claim for claim in claims if claim.uuid == memory.probe), None)
    if chosen is None or not chosen.wants_more:
        return over
    if missing or any(_held_by_backend(claim, memory.caps) for claim in claims):
        return replace(over, probe_wait_seconds=min(memory.probe_wait_seconds * 2, _LONGEST_PROBE_SECONDS))
    higher = _bounded(known * _PROBE_STEP, configured)
    if higher == configured:
        return replace(over, capacity=higher)
    return replace(memory, capacity=higher, probed_at_seconds=now_seconds, probe_wait_seconds=_PROBE_SECONDS)


def _bounded(capacity: float, configured: float | None) -> float:
    return capacity if configured is None else min(capacity, configured)


def _for_targets(
    claims: Sequence[DiskClaim], memory: BackendMemory, now_seconds: float, seconds: float
) -> BackendMemory:
    """What those without a target may have together, for the sake of those with one."""
    ratios = [
        claim.latency_seconds / claim.target_seconds
        for claim in claims
        if claim.target_seconds and claim.latency_seconds is not None
    ]
    if not ratios:
        return memory
    bound = memory.others
    if max(ratios) > _TARGET_AIM_RATIO:
        if bound is not None and now_seconds - memory.changed_at_seconds < _SETTLE_SECONDS:
            return memory
        others = sum(claim.usage for claim in claims if claim.target_seconds is None)
        had = others if bound is None else min(others, bound)
        return replace(memory, others=max(_LEAST_BYTES, had * _DECREASE), too_much=had)
    if bound is None or max(ratios) > _TARGET_SLACK_RATIO:
        return memory
    pace = _INCREASE_PER_SECOND if bound < memory.too_much * _NEAR_RATIO else _INCREASE_NEAR_PER_SECOND
    return replace(memory, others=bound * (1.0 + pace * seconds))


def _demand(claim: DiskClaim) -> float:
    """What it would use. One below its floor shows first whether that is enough; an active floor is kept whole, an idle one lent."""
    if claim.wants_more:
        return claim.floor * FLOOR_AIM_RATIO if claim.usage < claim.floor * _MISSING_RATIO else float("inf")
    if claim.usage < _LEAST_BYTES:
        return _LEAST_BYTES
    return max(claim.usage * _ROOM_TO_GROW, claim.floor)


def _granted(claims: Sequence[DiskClaim], capacity: float | None, others: float | None) -> dict[str, float]:
    """What each gets in bytes/s, by uuid."""
    total = float("inf") if capacity is None else capacity * USED_RATIO
    found: dict[str, float] = {}
    left = total
    groups = [[c for c in claims if c.target_seconds is not None], [c for c in claims if c.target_seconds is None]]
    if others is None:
        groups = [[], list(claims)]
    for group, bound in zip(groups, (total, others if others is not None else total), strict=True):
        asked = [
            Claim(
                floor=c.floor * FLOOR_AIM_RATIO,
                demand=_demand(c),
                ceiling=c.ceiling,
                weight=c.weight,
                priority=c.priority,
            )
            for c in group
        ]
        within = min(left, bound)
        grants = share(within, asked) if within < float("inf") else [None] * len(asked)
        for claim, grant in zip(group, grants, strict=True):
            found[claim.uuid] = grant.total if grant is not None else float("inf")
        if left < float("inf"):
            left = max(0.0, left - sum(min(c.usage, found[c.uuid]) for c in group))
    return found


def divide_backend(
    claims: Sequence[DiskClaim],
    memory: BackendMemory,
    *,
    configured: float | None,
    now_seconds: float,
    seconds: float,
) -> tuple[Mapping[str, float], BackendMemory]:
    """The cap of each instance that is to be bounded, in bytes/s, and what to remember.

    ``configured``: the capacity in bytes/s as the operator knows it (None: unknown). ``seconds``: since the last reading.
    An asked-for ceiling is not among the caps: it holds anyway.
    """
    memory = _sensed_capacity(claims, memory, configured, now_seconds)
    needs = any(c.promised and (c.wants_more or c.usage > _LEAST_BYTES) for c in claims)
    if needs or _weighted(claims):
        memory = replace(memory, needed_at_seconds=now_seconds)
    if now_seconds - memory.needed_at_seconds > _RELEASE_SECONDS:
        changed = now_seconds if memory.caps else memory.changed_at_seconds
        return {}, replace(memory, caps={}, caps_before=memory.caps, others=None, changed_at_seconds=changed)
    wanted_at = {
        c.uuid: now_seconds if c.wants_more else memory.wanted_at_seconds.get(c.uuid, float("-inf")) for c in claims
    }
    memory = replace(memory, wanted_at_seconds=wanted_at)
    memory = _for_targets(claims, memory, now_seconds, seconds)
    if memory.capacity is None and memory.others is None:
        return memory.caps, memory
    caps = _caps(claims, memory, now_seconds)
    if _about_the_same(memory.caps, caps):
        return memory.caps, memory
    return caps, replace(memory, caps=caps, caps_before=memory.caps, changed_at_seconds=now_seconds)


def _caps(claims: Sequence[DiskClaim], memory: BackendMemory, now_seconds: float) -> dict[str, float]:
    """A cap for each that is granted less than it wants, or was a moment ago."""
    granted = _granted(claims, memory.capacity, memory.others)
    caps = {}
    for claim in claims:
        got = granted[claim.uuid]
        lately = now_seconds - memory.wanted_at_seconds.get(claim.uuid, float("-inf")) < _WANTS_LINGER_SECONDS
        if claim.target_seconds is not None or got == float("inf") or not lately:
            continue
        if got < _demand(claim) or (claim.uuid in memory.caps and not claim.wants_more):
            caps[claim.uuid] = max(got, _LEAST_BYTES)
    if memory.probe in caps and memory.capacity is not None:
        caps[memory.probe] += memory.capacity * (_PROBE_STEP - 1.0)
    return caps


def _about_the_same(now: Mapping[str, float], wanted: Mapping[str, float]) -> bool:
    return now.keys() == wanted.keys() and all(abs(wanted[u] - now[u]) <= _DEADBAND_RATIO * now[u] for u in now)
