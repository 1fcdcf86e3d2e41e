"""Brings what this host keeps in line with what its sources ask for, once a tick: admits, degrades, suspends, withdraws.

- The first source in `PRECEDENCE` that asks for an instance governs it. What a lower one asks is kept, and comes into force when
  the higher one withdraws.
- What is in force is replaced only by what was admitted: a change that is refused changes nothing.
- An instance that is shut off keeps its SLO, and nothing is set aside for it. One that is gone for `GONE_SECONDS` loses what was
  set by hand; what a file or the cloud asks waits. While the hypervisor does not answer nothing is freed.
- What was accepted before and does not fit when its instance starts again, or comes from another host, is degraded: it gets what is
  free, and the rest as capacity comes free, the highest priority first, before anything new is admitted. Nothing is taken from those
  that are enforced.
"""

import logging
import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from stella.model.allocation import Intent
from stella.model.intent import IntentState, Standing
from stella.model.slo import Slo
from stella.xgos.intents.acknowledgements import Acknowledge, Acknowledgements
from stella.xgos.intents.admission import HostView, Verdict
from stella.xgos.intents.changes import Accepted, IntentEvent, Refused, SloChange
from stella.xgos.intents.cost_following import CostFollowing
from stella.xgos.intents.governing import NOT_HERE, Candidate, Claim, govern
from stella.xgos.intents.presence import Presence, Whereabouts
from stella.xgos.intents.source import CLOUD, FILE, MANUAL, IntentSource
from stella.xgos.intents.store import IntentStore

_LOG = logging.getLogger(__name__)
RETRY_SECONDS = 10.0
ASKS_A_TICK = 4
_FREED_CORES = 0.05
_KEPT_EVENTS = 50
_WAITS = "waits for its turn"
_SHUT_OFF = "the instance is shut off"
_ELSEWHERE = {
    FILE: "its SLO is kept by the SLO file; change it there",
    CLOUD: "its SLO is kept by the cloud; change it through the Stella API",
}


def _held(intents: Mapping[str, Intent]) -> float:
    """What is set aside for these, in cores."""
    return sum(intent.reserved_cpu_cores for intent in intents.values())


class Reconciler:
    """For the loop's thread alone; `standings` and `events` are values that never change."""

    def __init__(
        self, store: IntentStore, sources: Iterable[IntentSource] = (), acknowledge: Acknowledge | None = None
    ) -> None:
        self._store = store
        self._sources = {source.name: source for source in sources}
        self._acknowledgements = Acknowledgements(acknowledge)
        self._whereabouts = Whereabouts()
        self._governed: Mapping[str, Claim] = {}
        self._unverified = set(store.intents)
        self._tried: dict[tuple[str, Slo], float] = {}
        self._free_cores = math.inf
        self._costs = CostFollowing(store)
        self._events: deque[IntentEvent] = deque(maxlen=_KEPT_EVENTS)
        self.standings: Mapping[str, Standing] = {}
        self.refusals = 0

    @property
    def events(self) -> tuple[IntentEvent, ...]:
        """The last events, the oldest first."""
        return tuple(self._events)

    def follow(self, view: HostView) -> None:
        """One step. It never waits for a disk, and asks admission at most `ASKS_A_TICK` times, some milliseconds each."""
        store, snapshot = self._store, view.snapshot
        self._whereabouts.follow(snapshot, {*store.intents, *store.manual})
        self._drop_gone(snapshot.wall_seconds)
        self._suspend()
        self._verify(view)
        self._costs.follow(view)
        sets = {name: source.poll() for name, source in self._sources.items()}
        self._governed, misfits = govern(store, sets, {i.uuid: i.name for i in snapshot.instances})
        self._withdraw()
        found, candidates = self._settle()
        found.update((s.uuid, s) for s in misfits if s.uuid not in found)
        self._note_freed(view)
        found.update(self._admit(candidates, view))
        self._publish(found, snapshot.wall_seconds, snapshot.monotonic_seconds)

    # --- what is not asked for, or not here ---------------------------------------------------------------------------

    def _drop_gone(self, wall_seconds: float) -> None:
        for uuid in list(self._store.manual):
            if self._whereabouts.of(uuid) is Presence.GONE:
                self._store.drop_manual(uuid)
                self._tell(wall_seconds, uuid, "the instance is gone: the SLO that was set by hand is dropped")

    def _suspend(self) -> None:
        for uuid, intent in self._store.intents.items():
            where = self._whereabouts.of(uuid)
            if where in (Presence.SHUT_OFF, Presence.GONE):
                reason = _SHUT_OFF if where is Presence.SHUT_OFF else NOT_HERE
                if (intent.state, intent.reserved_cpu_cores, intent.reason) != (IntentState.PENDING, 0.0, reason):
                    self._store.mark(uuid, IntentState.PENDING, reserved_cpu_cores=0.0, reason=reason)

    def _verify(self, view: HostView) -> None:
        """Once for what was loaded from disk: an earlier release may have accepted what this host cannot enforce."""
        for uuid in [u for u in self._unverified if self._whereabouts.of(u) is Presence.RUNNING]:
            self._unverified.discard(uuid)
            intent = self._store.intents.get(uuid)
            refused = view.unsupported(uuid, intent.slo) if intent else None
            if refused is not None:
                self._store.revoke(uuid)
                self._tell(view.snapshot.wall_seconds, uuid, f"a stored SLO is refused: {refused.reason}")

    def _withdraw(self) -> None:
        """Take out of force what its own source does not ask for any more."""
        for uuid, intent in list(self._store.intents.items()):
            claim = self._governed.get(uuid)
            if claim is None or (intent.source not in claim.sources and intent.slo != claim.wanted.slo):
                self._store.revoke(uuid)

    # --- what is asked for --------------------------------------------------------------------------------------------

    def _settle(self) -> tuple[dict[str, Standing], list[Candidate]]:
        """The standings of those that need no admission now, and the others, the first to be admitted first."""
        found: dict[str, Standing] = {}
        candidates: list[Candidate] = []
        for uuid, claim in self._governed.items():
            intent, slo, where = self._store.intents.get(uuid), claim.wanted.slo, self._whereabouts.of(uuid)
            running = where is Presence.RUNNING
            if intent is not None and intent.slo == slo:
                self._store.adopt(
                    uuid, source=claim.source, revision=claim.wanted.revision, declared_as=claim.declared_as
                )
                if intent.state is IntentState.ENFORCED or uuid in self._costs.dear or not running:
                    found[uuid] = claim.standing(uuid, intent.state, intent.reason)
                else:
                    candidates.append(Candidate(uuid=uuid, slo=slo, claim=claim, accepted_before=True))
                continue
            if slo is None:
                found[uuid] = claim.standing(uuid, IntentState.REFUSED, claim.wanted.error)
            elif running:
                accepted_before = claim.source == MANUAL or claim.wanted.accepted
                candidates.append(Candidate(uuid=uuid, slo=slo, claim=claim, accepted_before=accepted_before))
            else:
                reason = _SHUT_OFF if where is Presence.SHUT_OFF else NOT_HERE
                found[uuid] = claim.standing(uuid, IntentState.PENDING, reason)
            settled = intent is None or intent.state is IntentState.ENFORCED or uuid in self._costs.dear
            if intent is not None and running and not settled:
                candidates.append(Candidate(uuid=uuid, slo=intent.slo, claim=claim, accepted_before=True))
        return found, sorted(candidates, key=lambda one: one.rank)

    def _note_freed(self, view: HostView) -> None:
        """When capacity came free, everything that waits for it is tried again at once."""
        free = view.guaranteeable_cpu_cores - _held(self._store.intents)
        if free > self._free_cores + _FREED_CORES:
            self._tried.clear()
        self._free_cores = free

    def _admit(self, candidates: Sequence[Candidate], view: HostView) -> dict[str, Standing]:
        """Try those that are due, in order. A candidate that is not reached keeps its standing."""
        now = view.snapshot.monotonic_seconds
        waiting = {(c.uuid, c.slo) for c in candidates}
        self._tried = {key: at for key, at in self._tried.items() if key in waiting}
        found: dict[str, Standing] = {}
        asked = 0
        later = {c.uuid for c in candidates if c.accepted_before and self._is_degraded(c.uuid)}
        for one in candidates:
            later.discard(one.uuid)
            due = now - self._tried.get((one.uuid, one.slo), -math.inf) >= RETRY_SECONDS
            if not due or asked >= ASKS_A_TICK:
                found.setdefault(one.uuid, self._unchanged(one))
                continue
            others = {u: i for u, i in self._store.intents.items() if u not in later and u != one.uuid}
            before = self._store.intents.get(one.uuid)
            held = before.reserved_cpu_cores if before is not None and before.state is IntentState.ENFORCED else 0.0
            verdict = view.ask(one.uuid, one.slo, others, held_before_cpu_cores=held)
            asked += not verdict.unsupported
            if not verdict.accepted:
                self._tried[one.uuid, one.slo] = now
            standing = self._decided(one, verdict, view, others)
            if one.slo == one.claim.wanted.slo:
                found[one.uuid] = standing
        self._shrink(candidates, view)
        return found

    def _decided(self, one: Candidate, verdict: Verdict, view: HostView, others: Mapping[str, Intent]) -> Standing:
        """Carry out an answer, and what became of the candidate by it."""
        claim, before = one.claim, self._store.intents.get(one.uuid)
        if verdict.accepted:
            self._keep(one, IntentState.ENFORCED, verdict.reserved_cpu_cores, "", estimated=verdict.estimated)
            return claim.standing(one.uuid, IntentState.ENFORCED)
        if one.accepted_before and not verdict.unsupported:
            free = max(0.0, view.guaranteeable_cpu_cores - _held(others))
            cores = min(free, view.needed_cpu_cores(one.uuid, one.slo))
            self._keep(one, IntentState.DEGRADED, cores, verdict.reason, estimated=verdict.estimated)
            return claim.standing(one.uuid, IntentState.DEGRADED, verdict.reason, verdict.largest)
        if before is not None and before.slo == one.slo:
            self._store.revoke(one.uuid)
        return claim.standing(one.uuid, IntentState.REFUSED, verdict.reason, verdict.largest)

    def _keep(self, one: Candidate, state: IntentState, cores: float, reason: str, *, estimated: bool) -> None:
        before = self._store.intents.get(one.uuid)
        if before is not None and before.slo == one.slo:
            self._store.readmit(one.uuid, reserved_cpu_cores=cores, estimated=estimated)
            self._store.mark(one.uuid, state, reserved_cpu_cores=cores, reason=reason)
            return
        self._store.set(
            one.uuid,
            one.slo,
            reserved_cpu_cores=cores,
            estimated=estimated,
            source=one.claim.source,
            revision=one.claim.wanted.revision,
            declared_as=one.claim.declared_as,
            state=state,
            reason=reason,
        )

    def _shrink(self, candidates: Sequence[Candidate], view: HostView) -> None:
        """What degraded instances hold gives way to those before them, so that never more is set aside than there is."""
        excess = _held(self._store.intents) - view.guaranteeable_cpu_cores
        for one in reversed(candidates):
            intent = self._store.intents.get(one.uuid)
            if excess <= 0 or intent is None or intent.state is not IntentState.DEGRADED:
                continue
            given = min(excess, intent.reserved_cpu_cores)
            excess -= given
            if given > 0:
                cores = intent.reserved_cpu_cores - given
                self._store.mark(one.uuid, intent.state, reserved_cpu_cores=cores, reason=intent.reason)

    def _is_degraded(self, uuid: str) -> bool:
        intent = self._store.intents.get(uuid)
        return intent is not None and intent.state is IntentState.DEGRADED

    def _unchanged(self, one: Candidate) -> Standing:
        known = self.standings.get(one.uuid)
        same = known is not None and (known.source, known.revision) == (one.claim.source, one.claim.wanted.revision)
        if known is not None and same and known.state in (IntentState.REFUSED, IntentState.DEGRADED):
            return known
        return one.claim.standing(one.uuid, IntentState.PENDING, _WAITS)

    # --- by hand ------------------------------------------------------------------------------------------------------

    def change(self, uuid: str, change: SloChange, *, dry_run: bool, view: HostView) -> Accepted:
        """See `AgentApi.change_slo`."""
        store, claim = self._store, self._governed.get(uuid)
        if claim is not None and claim.source in _ELSEWHERE:
            raise Refused("instance", _ELSEWHERE[claim.source])
        slo = change(store.manual.get(uuid))
        if slo is None:
            generation = store.generation(uuid)
            if not dry_run:
                generation = store.unset(uuid) or generation
            return Accepted(uuid=uuid, slo=None, generation=generation, reserved_cpu_cores=0.0, estimated=False)
        before = store.intents.get(uuid)
        verdict = view.ask(
            uuid,
            slo,
            {u: i for u, i in store.intents.items() if u != uuid},
            held_before_cpu_cores=before.reserved_cpu_cores if before else 0.0,
        )
        if not verdict.accepted:
            self.refusals += 1
            raise Refused(verdict.field, verdict.message, largest=dict(verdict.largest))
        reserved, generation = verdict.reserved_cpu_cores, store.generation(uuid)
        if not dry_run:
            kept = store.set(uuid, slo, reserved_cpu_cores=reserved, estimated=verdict.estimated)
            generation = kept.generation
        return Accepted(
            uuid=uuid, slo=slo, generation=generation, reserved_cpu_cores=reserved, estimated=verdict.estimated
        )

    # --- telling ------------------------------------------------------------------------------------------------------

    def _publish(self, found: Mapping[str, Standing], wall_seconds: float, now: float) -> None:
        for uuid, standing in found.items():
            before = self.standings.get(uuid)
            if before is None or before.state is not standing.state or before.revision != standing.revision:
                if standing.state in (IntentState.REFUSED, IntentState.DEGRADED):
                    self.refusals += 1
                    self._tell(
                        wall_seconds, uuid, f"SLO of source {standing.source} {standing.state}: {standing.reason}"
                    )
                elif before is not None and before.state is not IntentState.PENDING:
                    self._tell(wall_seconds, uuid, f"SLO of source {standing.source} {standing.state}", logging.INFO)
        self._acknowledgements.follow(found.values(), now)
        self.standings = found

    def _tell(self, wall_seconds: float, uuid: str, message: str, level: int = logging.WARNING) -> None:
        _LOG.log(level, "%s: %s", uuid, message)
        self._events.append(IntentEvent(wall_seconds=wall_seconds, uuid=uuid, message=message))
