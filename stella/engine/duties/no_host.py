"""Servers that found no host: a decision says why, host by host. Only under OpenStack.

Nova asks Placement first. Where Placement has no room for what a flavor sells, the scheduler's filters are not asked, and with them
neither is stella-api. So Nova's notification that a server could not be built or moved is a hint: the server is looked at, and if it
has an SLO, each host but its own is asked whether it could take it. What the scheduler was told before is not said again, and of a
server that stays where it is nothing where Stella finds room: a resize fails for another flavor than it shows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from keystoneauth1.adapter import Adapter

from stella.admission import changes, verdicts
from stella.clouds.openstack import servers
from stella.clouds.openstack.notifications import Hints
from stella.clouds.openstack.session import Refused
from stella.control.admission import InstanceShape
from stella.control.following import Server
from stella.db import decisions, hosts, slos
from stella.db.database import Session
from stella.db.models import Host, Instance
from stella.db.slos import Holding, system_origin
from stella.engine.duty import Duty, Outcome, Work
from stella.model.flavor import slo_of
from stella.model.slo import InvalidSlo, Slo, show_slo

INTERVAL_SECONDS = 30.0
RECENT_SECONDS = 60.0
ROOM = "Stella finds room here: Placement, or another of Nova's filters, does not"
_LARGEST = 10
_LOOKED_AT = 200
_RECORDED_HOSTS = 50
_FAILED = "ERROR"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """An instance that found no host. ``known``: as Stella has it; ``but``: the host that it is on."""

    slo: Slo
    vcpus: int
    known: Instance | None
    but: str | None


class NoHost:
    """The duty: looks at the servers that are hinted at."""

    def __init__(self, adapter: Adapter, hints: Hints, *, margin: float) -> None:
        """``adapter`` asks Nova; ``margin`` is for hosts that report none."""
        self._adapter, self._hints, self._margin = adapter, hints, margin

    def is_hinted(self) -> bool:
        """Whether a server is to be looked at."""
        return len(self._hints) > 0

    def run(self, work: Work) -> Outcome:
        """Look at the next servers. Raises `stella.clouds.port.Unanswered` where Nova does not answer; then these are forgotten."""
        changed = 0
        for uuid in self._hints.take(_LARGEST):
            try:
                changed += self._explain(work, servers.show(self._adapter, uuid))
            except (Refused, InvalidSlo):
                continue
        return Outcome(changed=changed, more=len(self._hints) > 0)

    def _explain(self, work: Work, server: Server) -> int:
        is_new = server.status == _FAILED and server.host is None
        if server.vcpus is None or not (is_new or server.host):
            return 0
        now, flavor = work.clock(), slo_of(server.extra_specs) if server.extra_specs else None
        with work.store.reader() as session:
            present = changes.read(session, server.uuid)
            slo = changes.union(flavor, present.added if present is not None else None)
            if slo is None:
                return 0
            shown = show_slo(slo)
            if decisions.was_without_candidate(
                session, vcpus=server.vcpus, objectives=shown, start=now - RECENT_SECONDS
            ):
                return 0
            known = present.instance if present is not None else None
            asked = _Asked(slo=slo, vcpus=server.vcpus, known=known, but=server.host)
            found = self._reasons(session, asked, now - work.limits.host_silent_seconds)
        if not is_new and all(reason == ROOM for reason in found.values()):
            return 0
        detail = {
            "instance": server.uuid,
            "project": server.project,
            "vcpus": server.vcpus,
            "objectives": shown,
            "hosts": found,
        }
        one = next(iter(found.items()), None)
        reason = f"Nova found no host for {server.uuid}" + (f"; {one[0]}: {one[1]}" if one is not None else "")
        origin = system_origin(now)
        work.store.write(
            lambda session: decisions.record(
                session, decisions.NO_CANDIDATE, origin=origin, reason=reason, detail=detail
            )
        )
        return 1

    def _reasons(self, session: Session, asked: _Asked, silent_before: float) -> Mapping[str, str]:
        """Why not, by the host's name; those that are enrolled, with most free CPU first."""
        enrolled = [host for host in hosts.freest(session, limit=_LOOKED_AT) if host.credential_sha256 is not None]
        others = [host for host in enrolled if host.name != asked.but][:_RECORDED_HOSTS]
        held = slos.holdings(session, [host.id for host in others])
        return {host.name: self._reason(asked, host, held.get(host.id, ()), silent_before) for host in others}

    def _reason(self, asked: _Asked, host: Host, held: Sequence[Holding], silent_before: float) -> str:
        unfit = verdicts.unfit(asked.slo, host, silent_before)
        if unfit:
            return unfit
        known = asked.known
        shape = verdicts.shape_of_text(known.shape) if known is not None else InstanceShape(vcpus=asked.vcpus)
        verdict, _ = verdicts.ask_shape(
            asked.slo,
            verdicts.learned_costs(known) if known is not None else {},
            shape=replace(shape, vcpus=asked.vcpus, allowed_cpus=None),
            host=host,
            holdings=held,
            instance_id=known.id if known is not None else None,
            margin=self._margin,
        )
        return ROOM if verdict.accepted else f"{verdict.field}: {verdict.message}"


def duty(adapter: Adapter, hints: Hints, *, margin: float) -> Duty:
    """The duty, for an engine under OpenStack that hears Nova's notifications."""
    made = NoHost(adapter, hints, margin=margin)
    return Duty(name="no_host", interval_seconds=INTERVAL_SECONDS, run=made.run, is_hinted=made.is_hinted)
