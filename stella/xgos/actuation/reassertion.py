"""How often a knob that another program keeps changing is set again: a few times, then it is left alone.

A weight (or a thread's policy) that was changed behind our back is set again and counted. `MOST_TIMES` within `SPAN_SECONDS` mean
that another program manages this knob: it is given up, and taken up again when its value has stood for `REST_SECONDS`. Quotas and
CPU sets are never given up: what others set there is a bound (`stella.xgos.actuation.host`). Nor is lifting a restraint.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from stella.linux import cgroup
from stella.model.allocation import Write
from stella.model.target import Target
from stella.xgos.actuation.actuators import same
from stella.xgos.actuation.journal import Journal

MOST_TIMES = 5
SPAN_SECONDS = 60.0
REST_SECONDS = 600.0
_CONTESTED = frozenset((cgroup.V1.weight, cgroup.V2.weight, "policy"))


@dataclass(slots=True)
class _Contested:
    """One knob: when it was set again, and since when it is given up with which value."""

    times: list[float] = field(default_factory=list)
    given_up_at: float | None = None
    value: str = ""


class Reassertion:
    """Tells which writes to make. For one thread; memory only for knobs that were changed by others."""

    def __init__(self) -> None:
        self._contested: dict[Target, _Contested] = {}

    def sift(
        self, writes: Sequence[Write], journal: Journal, now_seconds: float
    ) -> tuple[tuple[Write, ...], int, tuple[Write, ...]]:
        """(the writes to make, how many of them set again what another had changed, those given up just now).

        ``now_seconds`` is monotonic. A knob not yet written by this process counts as unchanged.
        """
        made: list[Write] = []
        left: list[Write] = []
        count = 0
        for write in writes:
            ours = journal.written(write.target)
            changed = ours is not None and not same(write.target.kind, ours, write.previous)
            known = self._contested.get(write.target)
            if write.lifts or write.target.knob not in _CONTESTED or (known is None and not changed):
                count += changed and not write.lifts
                made.append(write)
                continue
            known = self._contested.setdefault(write.target, _Contested())
            if known.given_up_at is not None:
                if not self._rested(known, write, now_seconds):
                    continue
                del self._contested[write.target]
                made.append(write)
                continue
            if changed:
                known.times = [at for at in known.times if now_seconds - at < SPAN_SECONDS]
                if len(known.times) >= MOST_TIMES:
                    known.given_up_at, known.value = now_seconds, write.previous
                    left.append(write)
                    continue
                known.times.append(now_seconds)
                count += 1
            made.append(write)
        return tuple(made), count, tuple(left)

    def _rested(self, known: _Contested, write: Write, now_seconds: float) -> bool:
        if known.value != write.previous:
            known.given_up_at, known.value = now_seconds, write.previous
        return known.given_up_at is not None and now_seconds - known.given_up_at >= REST_SECONDS

    def forget_absent(self, instances: frozenset[str]) -> None:
        """Let go of instances that are no longer here; ``instances``: those that are."""
        self._contested = {t: c for t, c in self._contested.items() if not t.instance or t.instance in instances}
