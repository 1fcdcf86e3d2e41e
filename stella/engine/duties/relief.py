"""Relief: what a host cannot cure is cured by moving an instance, or suggested to an operator (`stella.control.relief_decision`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from oslo_config import cfg

from stella.clouds.port import Mover
from stella.conf import relief as options
from stella.control import move_effect, relief_decision, relief_news
from stella.control.relief_view import HostView, Kind, Limits, Miss, Mode, MoveDecision, State
from stella.db import hosts, missed, moves
from stella.db.database import Session
from stella.db.missed import Missed
from stella.db.models import Host, Instance, SloRow
from stella.db.moves import Move
from stella.engine import moving, relief_views
from stella.engine.duty import Duty, Outcome, Work
from stella.engine.moving import NoPlace, Parts
from stella.engine.refused_places import RefusedPlaces
from stella.engine.relief_views import Places

INTERVAL_SECONDS = 5.0
_HOUR_SECONDS = 3600.0
_MEASURED_WITHIN_SECONDS = 86_400.0
FOLLOWED_WITHIN_SECONDS = 3600.0
"""So long a suggestion counts: what was missed before it says less and less of what a move does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What was decided, and what it was decided on."""

    decisions: Sequence[MoveDecision] = ()
    parts: Mapping[MoveDecision, Parts] = field(default_factory=dict)
    stopped: int = 0


class Relief:
    """The duty. ``mover`` is None where the cloud cannot move instances: then all is suggested."""

    def __init__(self, mover: Mover | None, *, cloud: Mode, limits: Limits, margin: float) -> None:
        """``cloud`` is the mode of hosts that have none of their own; ``margin`` is for hosts that report none."""
        self._mover = mover
        self._cloud = Mode.SUGGEST if cloud is Mode.ACT and mover is None else cloud
        self._limits = limits
        self._margin = margin
        self._full = RefusedPlaces()

    def run(self, work: Work) -> Outcome:
        """Follow what moves, measure what moved, decide anew. Raises `stella.clouds.port.Unanswered`."""
        changed = moving.follow(work, self._mover, Kind.RELIEF) if self._mover is not None else 0
        changed += _note_followed(work)
        changed += self._measure(work)
        if self._cloud is Mode.OFF:
            return Outcome(changed=changed, hosts={"relief_stopped": 0})
        found = self._decide(work)
        for made in found.decisions:
            parts = found.parts[made]
            if made.state is State.RESERVED and self._mover is not None:
                changed += self._begin(work, self._mover, made, parts)
            else:
                moving.record(work, made, parts)
                changed += 1
        return Outcome(changed=changed, hosts={"relief_stopped": found.stopped})

    def _begin(self, work: Work, mover: Mover, made: MoveDecision, parts: Parts) -> bool:
        try:
            return moving.begin(work, mover, made, parts)
        except NoPlace:
            self._full.add(made.instance, made.destination, work.clock())
            return False

    def _measure(self, work: Work) -> int:
        """Keep the effect of moves whose time after them is over."""
        now = work.clock()
        with work.store.reader() as session:
            found = moves.unmeasured(session, since=now - _MEASURED_WITHIN_SECONDS)
            effects = {move.row.decision_id: self._effect(session, move, now) for move in found}
        for number, measured in effects.items():
            if measured is not None:
                effect, helped = measured
                work.store.write(partial(moves.measure, number=number, effect=effect, helped=helped))
        return sum(measured is not None for measured in effects.values())

    def _effect(self, session: Session, move: Move, now: float) -> tuple[float, bool] | None:
        """The violated seconds an hour that a move ended, and whether it helped; None: that cannot be told, or not yet."""
        row = move.row
        spans = move_effect.spans(row.decided_at, row.ended_at or now, self._limits.settle_seconds)
        if not move_effect.is_due(spans, now):
            return None
        both = [move.source.id, move.destination.id]
        before, after = (missed.missed_seconds(session, both, span) for span in (spans.before, spans.after))
        if before is None or after is None:
            return None
        effect = move_effect.measured_effect(before, after)
        return effect, move_effect.helped(row.predicted_effect, effect)

    def _decide(self, work: Work) -> _Found:
        """What is to be done and to be recorded now."""
        now, limits = work.clock(), self._limits
        with work.store.reader() as session:
            lacking = missed.since(session, now - limits.window_seconds, now)
            misses = relief_views.by_host(lacking)
            troubled = relief_views.troubled(misses, limits)
            if not troubled:
                return _Found()
            past = moves.past(session, since=now - max(_HOUR_SECONDS, limits.stop_seconds + limits.hold_seconds))
            told = moves.told(session, since=now - relief_news.AGAIN_SECONDS)
            silent_hosts, all_hosts = missed.counts(session)
            silent_before = now - work.limits.host_silent_seconds
            places = relief_views.destinations(session, margin=self._margin, silent_before=silent_before)
            known = dict(places.hosts)
            known |= {host.name: host for host in hosts.by_ids(session, troubled)}
            here = missed.guests(session, troubled)
        places.instances = {one.uuid: (one, row) for some in here.values() for one, row in some}
        places.full = self._full.at(now)
        views = [
            self._view(host, misses.get(host.id, ()), here.get(host.id, ()), lacking, silent_before)
            for host in known.values()
        ]
        made = relief_decision.decide(
            views, past, fits=places.fits, limits=limits, now=now, silent_hosts=silent_hosts, all_hosts=all_hosts
        )
        news = [one for one in made if one.state is State.RESERVED or relief_news.is_news(one, told, now)]
        return _Found(
            decisions=news,
            parts={one: _parts(one, known, places) for one in news},
            stopped=sum(one.state is State.STOPPED for one in made),
        )

    def _view(
        self,
        host: Host,
        misses: tuple[Miss, ...],
        guests: Sequence[tuple[Instance, SloRow | None]],
        lacking: Sequence[Missed],
        silent_before: float,
    ) -> HostView:
        shown = relief_views.view(host, self._cloud, silent_before=silent_before, misses=misses)
        if self._mover is None and shown.mode is Mode.ACT:
            shown = replace(shown, mode=Mode.SUGGEST)
        return relief_views.with_guests(shown, guests, [one for one in lacking if one.host_id == host.id])


def _note_followed(work: Work) -> int:
    """Suggestions that an operator followed, in whatever way, are moves now: their effect is measured, and limits count them."""
    now = work.clock()
    with work.store.reader() as session:
        found = moves.followed(session, since=now - FOLLOWED_WITHIN_SECONDS)
    for move in found:
        work.store.write(partial(moves.follow, number=move.row.decision_id, now=now))
    return len(found)


def _parts(made: MoveDecision, known: Mapping[str, Host], places: Places) -> Parts:
    instance, row = places.instances[made.instance] if made.instance else (None, None)
    return Parts(source=known[made.source], destination=known.get(made.destination), instance=instance, row=row)


def duty(config: cfg.ConfigOpts, mover: Mover | None) -> Duty:
    """The duty as the configuration has it."""
    made = Relief(
        mover,
        cloud=Mode(config.relief.mode),
        limits=options.limits_of(config),
        margin=config.link.reservation_margin_ratio,
    )
    return Duty(name="relief", interval_seconds=INTERVAL_SECONDS, run=made.run)
