"""Which source governs each instance: the first in the order of precedence that asks for it. Values in, values out."""

from collections.abc import Mapping
from dataclasses import dataclass

from stella.model.allocation import Intent
from stella.model.intent import IntentState, Standing
from stella.model.slo import Metric, Slo
from stella.xgos.intents.instance_names import assign, is_uuid
from stella.xgos.intents.source import FILE, MANUAL, PRECEDENCE, IntentSet, Wanted
from stella.xgos.intents.store import IntentStore

NOT_HERE = "the instance is not on this host"
_AMBIGUOUS = "instance: several instances of this host have the name {!r}; name its uuid in the SLO file instead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the governing source asks for an instance. ``sources``: all that ask for it, the governing one first.

    ``declared_as`` is the SLO file's word for it; empty for another source.
    """

    source: str
    wanted: Wanted
    sources: tuple[str, ...]
    declared_as: str = ""

    def standing(
        self, uuid: str, state: IntentState, reason: str = "", largest: tuple[tuple[Metric, float], ...] = ()
    ) -> Standing:
        """What became of it."""
        return Standing(
            uuid=uuid,
            source=self.source,
            revision=self.wanted.revision,
            state=state,
            slo=self.wanted.slo,
            reason=reason,
            largest=largest,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An SLO to be admitted for an instance that runs here."""

    uuid: str
    slo: Slo
    claim: Claim
    accepted_before: bool

    @property
    def rank(self) -> tuple[bool, int, int, str]:
        """Lower comes first: what was accepted before, then by priority, then by source."""
        priority = max((o.priority for o in self.slo.objectives), default=0)
        return (not self.accepted_before, -priority, PRECEDENCE.index(self.claim.source), self.uuid)


_Asked = Mapping[str, tuple[Wanted, str]]  # by uuid: what, and as what the file names it


def govern(
    store: IntentStore, sets: Mapping[str, IntentSet | None], running: Mapping[str, str]
) -> tuple[Mapping[str, Claim], tuple[Standing, ...]]:
    """The claim on each instance, and the refusals of what cannot be given to any instance.

    ``sets``: what each source asks for; None or missing: not known, then what it asked for before stands. ``running``: the names of
    all instances that were seen, by uuid.
    """
    misfits = [
        Standing(uuid=uuid, source=MANUAL, revision=0, state=IntentState.REFUSED, reason=why)
        for uuid, why in store.unread.items()
    ]
    asked: dict[str, _Asked] = {MANUAL: {uuid: (Wanted(slo=slo), "") for uuid, slo in store.manual.items()}}
    for name in PRECEDENCE:
        if name == MANUAL:
            continue
        found = sets.get(name)
        in_force = {uuid: i for uuid, i in store.intents.items() if i.source == name}
        if found is None:
            asked[name] = {uuid: _as_in_force(store, i) for uuid, i in in_force.items()}
        elif name == FILE:
            asked[name], ambiguous = _of_file(store, found, running, in_force)
            misfits += ambiguous
        else:
            asked[name] = {uuid: (one, "") for uuid, one in found.wanted.items()}
    claims: dict[str, Claim] = {}
    for uuid in {uuid: None for name in PRECEDENCE for uuid in asked[name]}:
        sources = tuple(name for name in PRECEDENCE if uuid in asked[name])
        wanted, declared_as = asked[sources[0]][uuid]
        claims[uuid] = Claim(source=sources[0], wanted=wanted, sources=sources, declared_as=declared_as)
    return claims, tuple(misfits)


def _as_in_force(store: IntentStore, intent: Intent) -> tuple[Wanted, str]:
    return Wanted(slo=intent.slo, revision=intent.revision), store.declared_as(intent.uuid)


def _of_file(
    store: IntentStore, found: IntentSet, running: Mapping[str, str], in_force: Mapping[str, Intent]
) -> tuple[_Asked, list[Standing]]:
    """What the file asks, by uuid. An instance that does not run keeps the name under which it was taken from the file."""
    keys, several = assign(found.wanted.keys(), running)
    asked = {uuid: (found.wanted[key], key) for uuid, key in keys.items()}
    asked.update((key, (one, key)) for key, one in found.wanted.items() if is_uuid(key) and key not in asked)
    ambiguous = []
    for uuid, intent in in_force.items():
        key = store.declared_as(uuid)
        if uuid in asked:
            continue
        if uuid not in running and key in found.wanted:
            asked[uuid] = (found.wanted[key], key)
        elif running.get(uuid) in several:
            asked[uuid] = _as_in_force(store, intent)
    for uuid, name in running.items():
        if name in several and uuid not in asked:
            reason = _AMBIGUOUS.format(name[:80])
            ambiguous.append(
                Standing(uuid=uuid, source=FILE, revision=found.revision, state=IntentState.REFUSED, reason=reason)
            )
    return asked, ambiguous
