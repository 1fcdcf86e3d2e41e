"""SLOs follow their instances through what Nova does to the servers. Only under OpenStack.

Which servers to look at is told by Nova's notifications and by the hosts' reports, at once; by Nova's list of what changed, once a
minute; and by the list of all, now and then. What is to be done is decided on what Nova says of the one server
(`stella.control.following`) and done by `stella.admission.changes`: it does not matter what told us, how often, or in which order.

An SLO that does not fit is suspended, with the reason, and is tried again; a decision is kept each time the reason changes.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from keystoneauth1.adapter import Adapter

from stella.admission import changes, verdicts
from stella.admission.changes import Present, Why
from stella.clouds.openstack import servers
from stella.clouds.openstack.notifications import Hints
from stella.clouds.openstack.servers import NoSuchMarker
from stella.clouds.openstack.session import Refused
from stella.clouds.port import NoRoom, Unanswered
from stella.control.following import DELETED, Do, Followed, Server, Step, decide, is_same_reason
from stella.db import decisions, followed, hosts, projects
from stella.db.database import Conflict, Session
from stella.db.followed import FlavorSize
from stella.db.instances import GONE
from stella.db.models import Instance
from stella.db.slos import SUSPENDED, Terms, system_origin
from stella.engine.duty import Duty, Outcome, Work
from stella.model.slo import InvalidSlo, Slo, show_slo

_LOG = logging.getLogger(__name__)
INTERVAL_SECONDS = 5.0
CHANGES_SECONDS = 60.0
ALL_SECONDS = 600.0
AGAIN_SECONDS = 15.0
"""How often an instance is looked at that waits: for room, for a host that reports it, or for Nova to say that it is deleted."""

SOON_SECONDS, RECENT_SECONDS = 2.0, 60.0
"""How often in the time after a hint: then Nova and the hosts differ for a moment only."""

_OVERLAP_SECONDS = 120.0
"""Clocks differ, and Nova's list of what changed counts whole seconds."""

_ASKED_AT_ONCE = 50
_LONGEST_SECONDS = 2.0
"""A slow Nova is asked for the rest in the next run: other duties wait for this one."""

_SHORTEST_PAUSE_SECONDS = 0.5
"""Between two runs for hints: Nova tells of one action several times."""

_SHORTEST_REST_SECONDS, _LONGEST_REST_SECONDS = 5.0, 30.0
_LARGEST_QUEUE = 10_000
_LOOKED_FOR = 1000
_ATTEMPTS = 3


class _DoesNotFit(Exception):
    """Why an SLO cannot be in force where its instance is, for a person."""


class Following:
    """The duty, with what it remembers: which servers are still to be looked at, and how far the present list was read."""

    def __init__(
        self, adapter: Adapter, hints: Hints, *, margin: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """``adapter`` asks Nova; ``margin`` is for hosts that report none; ``monotonic`` gives seconds of this machine."""
        self._adapter = adapter
        self._hints = hints
        self._margin = margin
        self._monotonic = monotonic
        self._queue: dict[str, None] = {}
        self._later: dict[str, None] = {}
        self._asked: dict[str, float] = {}
        self._hinted_at: dict[str, float] = {}
        self._ran_at = self._found_at = float("-inf")
        self._newest_id = 0
        self._rounds = _Rounds()
        self._rest_until, self._rest_seconds = float("-inf"), _SHORTEST_REST_SECONDS
        self._said: dict[str, str] = {}
        self._sees_all = False

    def is_hinted(self) -> bool:
        """Whether there is a hint that can be followed now, or one of before may be followed further."""
        now = self._monotonic()
        pause = _SHORTEST_PAUSE_SECONDS if len(self._hints) > 0 else SOON_SECONDS
        is_any = len(self._hints) > 0 or bool(self._hinted_at)
        return is_any and now >= self._rest_until and now - self._ran_at >= pause

    def run(self, work: Work) -> Outcome:
        """Look at the servers that wait, and at the next of the list. Raises `Unanswered` where Nova or Placement does not answer."""
        began = self._monotonic()
        if began < self._rest_until:
            return Outcome(backlog=self._backlog())
        self._ran_at = began
        try:
            changed = self._run(work, began)
        except Unanswered:
            self._rest_until = self._monotonic() + self._rest_seconds
            self._rest_seconds = min(2 * self._rest_seconds, _LONGEST_REST_SECONDS)
            raise
        self._rest_seconds = _SHORTEST_REST_SECONDS
        return Outcome(changed=changed, more=bool(self._queue) or self._rounds.is_open, backlog=self._backlog())

    def _backlog(self) -> int:
        return len(self._queue) + len(self._later) + len(self._hints)

    def _run(self, work: Work, began: float) -> int:
        self._find(work, began)
        changed = 0
        for server in self._look(began):
            changed += self._follow(work, server)
        if not self._queue and not self._is_late(began):
            changed += self._read_page(work, began)
        return changed

    def _is_late(self, began: float) -> bool:
        return self._monotonic() - began > _LONGEST_SECONDS

    def _find(self, work: Work, now: float) -> None:
        """Queue what was hinted at and is known here, and now and then what is new, and what waits and was not looked at lately."""
        hinted = self._hints.take(_LOOKED_FOR)
        with work.store.reader() as session:
            found = [instance.uuid for instance, _, _ in followed.find(session, hinted)]
            self._hinted_at = {uuid: at for uuid, at in self._hinted_at.items() if now - at < RECENT_SECONDS}
            self._hinted_at |= dict.fromkeys(found, now)
            pause = SOON_SECONDS if self._hinted_at else INTERVAL_SECONDS
            if now - self._found_at >= pause and len(self._queue) < _LARGEST_QUEUE:
                self._found_at = now
                waiting = followed.waiting(session, largest=_LOOKED_FOR)
                fresh, self._newest_id = followed.since(session, self._newest_id, largest=_LOOKED_FOR)
                found += [*self._due(waiting, now), *fresh, *self._later]
                self._later = {}
        self._queue |= dict.fromkeys(found)

    def _due(self, waiting: Sequence[str], now: float) -> Sequence[str]:
        self._asked = {uuid: self._asked[uuid] for uuid in waiting if uuid in self._asked}
        due = [uuid for uuid in waiting if now - self._asked.get(uuid, float("-inf")) >= self._pause(uuid)]
        self._asked |= dict.fromkeys(due, now)
        return due

    def _pause(self, uuid: str) -> float:
        return SOON_SECONDS if uuid in self._hinted_at else AGAIN_SECONDS

    def _look(self, began: float) -> Iterable[Server]:
        """What Nova says of those in the queue. Of one of which it tells nothing, it is asked again later."""
        self._sees_all = False
        for uuid in list(self._queue)[:_ASKED_AT_ONCE]:
            if self._is_late(began):
                return
            try:
                server = self._show(uuid)
            except Refused as error:
                self._later[uuid] = None
                self._say(uuid, str(error))
            else:
                yield server
            del self._queue[uuid]

    def _show(self, uuid: str) -> Server:
        server = servers.show(self._adapter, uuid)
        if server.status == DELETED and not self._sees_all:
            servers.require_all_projects(self._adapter)
            self._sees_all = True
        return server

    def _read_page(self, work: Work, now: float) -> int:
        """Read the next page of the list that is due. What is to be done about its servers is done in the next runs."""
        marker, since = self._rounds.next(now, work.clock())
        if not self._rounds.is_open:
            return 0
        try:
            page = servers.page(self._adapter, marker=marker, changed_since=since)
        except NoSuchMarker:
            self._rounds.restart()
            return 0
        changed = self._sift(work, {server.uuid: server for server in page.servers})
        self._rounds.read(page.marker)
        return changed

    def _sift(self, work: Work, found: Mapping[str, Server]) -> int:
        """Queue those of a list with something to do: Nova is asked again for each. Of the others, the status is kept."""
        states: dict[str, str] = {}
        flavors: dict[str, FlavorSize] = {}
        silent_before = work.clock() - work.limits.host_silent_seconds
        with work.store.reader() as session:
            for instance, host, row in followed.find(session, found):
                present = Present(host=host, instance=instance, row=row, holdings=())
                step = decide(found[instance.uuid], _known(present, silent_before))
                flavors |= _new_flavor(instance, found[instance.uuid])
                if step.do is not Do.KEEP:
                    self._queue[instance.uuid] = None
                elif step.cloud_state not in (None, DELETED, instance.cloud_state):
                    states[instance.uuid] = str(step.cloud_state)
        return _keep_states(work, states, flavors)

    def _follow(self, work: Work, server: Server) -> int:
        """Do what is to be done about one server; how many rows changed. Raises `Unanswered` where Placement does not answer."""
        try:
            for _ in range(_ATTEMPTS):
                changed = self._try(work, server)
                if changed is not None:
                    self._said.pop(server.uuid, None)
                    return changed
            self._later[server.uuid] = None
        except (Refused, Conflict) as error:
            self._later[server.uuid] = None
            self._say(server.uuid, str(error))
        except Unanswered:
            self._later[server.uuid] = None
            raise
        return 0

    def _say(self, uuid: str, text: str) -> None:
        if self._said.get(uuid) != text and len(self._said) < _LARGEST_QUEUE:
            self._said[uuid] = text
            _LOG.warning("instance %s is not followed yet: %s", uuid, text)

    def _try(self, work: Work, server: Server) -> int | None:
        """How many rows changed; None: it was changed by another meanwhile."""
        now = work.clock()
        with work.store.reader() as session:
            present = changes.read(session, server.uuid)
        if present is None:
            return 0
        known = _known(present, now - work.limits.host_silent_seconds)
        step = decide(server, known)
        if step.do is Do.KEEP:
            is_news = step.cloud_state is not None and step.cloud_state != present.instance.cloud_state
            states = {server.uuid: str(step.cloud_state)} if is_news else {}
            return _keep_states(work, states, _new_flavor(present.instance, server))
        if step.do is Do.WITHDRAW:
            return self._change(work, present, step, None, _withdrawn(present, step))
        assert step.slo is not None
        if step.do is Do.SUSPEND:
            return self._suspend(work, present, step, step.slo, Why(kind=decisions.SLO_SUSPENDED, reason=step.reason))
        return self._set(work, present, known, step, step.slo)

    def _set(self, work: Work, present: Present, known: Followed, step: Step, slo: Slo) -> int | None:
        reason = _unable(present, slo)
        if not reason:
            try:
                return self._admit(work, present, step, slo)
            except _DoesNotFit as refusal:
                reason = str(refusal)
        if known.is_suspended and step.flavor == known.flavor and is_same_reason(known.reason, reason):
            return 0
        why = Why(kind=decisions.SLO_DOES_NOT_FIT, reason=reason, detail={"objectives": show_slo(slo)})
        return self._suspend(work, present, replace(step, reason=reason), slo, why)

    def _admit(self, work: Work, present: Present, step: Step, slo: Slo) -> int | None:
        """Set the SLO. Raises `_DoesNotFit`."""
        host, where = present.host, f"does not fit on {present.host.name}"
        verdict = verdicts.ask(
            slo, host=host, instance=present.instance, holdings=present.holdings, margin=self._margin
        )
        if not verdict.accepted:
            raise _DoesNotFit(f"{where}: {verdict.field}: {verdict.message}")
        why = Why(
            kind=decisions.SLO_ACCEPTED,
            reason=f"{step.reason}; {verdict.reserved_cpu_cores:.3f} cores reserved",
            detail={"objectives": show_slo(slo)},
        )
        terms = changes.terms(slo, added=present.added, verdict=verdict, priority=_priority(present))
        try:
            return self._change(work, present, step, terms, why)
        except NoRoom as full:
            raise _DoesNotFit(f"{where}: Placement has room for {full.free} of {full.resource_class}") from None
        except InvalidSlo as error:
            raise _DoesNotFit(f"{where}: {error}") from None

    def _suspend(self, work: Work, present: Present, step: Step, slo: Slo, why: Why) -> int | None:
        terms = changes.suspended(slo, added=present.added, because=step.reason, priority=_priority(present))
        return self._change(work, present, step, terms, why)

    @staticmethod
    def _change(work: Work, present: Present, step: Step, terms: Terms | None, why: Why) -> int | None:
        instance = present.instance

        def also(session: Session) -> bool:
            account = projects.find(session, instance.project_id)
            if not projects.hold(
                session, account, is_counted=True
            ):  # a request that counts the quota meanwhile counts again
                return False
            hosts.lock(session, present.host.id)  # before the instance, as a report does
            flavor = show_slo(step.flavor) if step.flavor is not None else None
            followed.keep_flavor(session, instance.id, flavor, cloud_state=step.cloud_state)
            return True

        origin = system_origin(work.clock())
        if changes.change(work.store, work.ledger, present, terms, origin, why, also=also) is None:
            return None
        _LOG.info("instance %s: %s: %s", instance.uuid, why.kind, why.reason)
        return 1


class _Rounds:
    """Which list is read: of all servers now and then, of those that changed in between. ``is_open``: it has another page."""

    def __init__(self) -> None:
        self.is_open = False
        self._marker: str | None = None
        self._since: float | None = None
        self._covered: float | None = None
        self._began = 0.0
        self._next_changes = self._next_all = float("-inf")

    def next(self, now: float, unix_seconds: float) -> tuple[str | None, float | None]:
        """Marker and ``changed_since`` of the page to read, if there is one: `is_open` tells."""
        if not self.is_open:
            if now < min(self._next_changes, self._next_all):
                return None, None
            with_all = now >= self._next_all or self._covered is None
            self._since = None if with_all or self._covered is None else self._covered - _OVERLAP_SECONDS
            self._marker, self._began, self.is_open = None, unix_seconds, True
            self._next_changes = now + CHANGES_SECONDS
            self._next_all = now + ALL_SECONDS if with_all else self._next_all
        return self._marker, self._since

    def read(self, marker: str | None) -> None:
        """A page was read; ``marker`` leads to the next one, None: there is none."""
        self._marker = marker
        if marker is None:
            self.is_open, self._covered = False, self._began

    def restart(self) -> None:
        """The server that the marker names is gone: from the first page again."""
        self._marker = None


def _known(present: Present, silent_before: float) -> Followed:
    host, row, instance = present.host, present.kept, present.instance
    is_suspended = row is not None and row.state == SUSPENDED
    return Followed(
        host=host.name,
        is_reported=instance.state != GONE,
        is_silent=host.reported_at is None or host.reported_at < silent_before,
        flavor=present.flavor,
        added=present.added,
        is_held=row is not None and not is_suspended,
        is_suspended=is_suspended,
        reason=row.reason if row is not None else "",
        cloud_state=instance.cloud_state,
    )


def _unable(present: Present, slo: Slo) -> str:
    """Why the host takes no SLO such as this, whatever its values; empty where it does."""
    host = present.host
    if host.mode != "enforce":
        return f"the host {host.name} is in mode {host.mode}"
    if host.capacity_cpu_cores is None:
        return f"the host {host.name} has not reported its capacity yet"
    missing = verdicts.unsupported(slo, host)
    return f"the host {host.name} cannot enforce {missing[0]}: {missing[1]}" if missing is not None else ""


def _withdrawn(present: Present, step: Step) -> Why:
    freed = present.kept.reserved_cpu_cores if present.kept is not None else 0.0
    return Why(
        kind=decisions.INSTANCE_GONE if step.cloud_state == DELETED else decisions.SLO_WITHDRAWN,
        reason=f"{step.reason}; its SLO is withdrawn, {freed:.3f} cores are free",
        detail={"freed_cpu_cores": freed},
    )


def _priority(present: Present) -> int:
    return present.row.priority if present.row is not None and present.added is not None else 0


def _new_flavor(instance: Instance, server: Server) -> Mapping[str, FlavorSize]:
    """The flavor of an instance by its uuid where it is not known so; its SLA class may rest on it."""
    told = (server.flavor, server.disk_bytes)
    return {instance.uuid: told} if server.flavor and told != (instance.flavor, instance.disk_bytes) else {}


def _keep_states(work: Work, states: Mapping[str, str], flavors: Mapping[str, FlavorSize]) -> int:
    def keep(session: Session) -> None:
        followed.keep_states(session, states)
        followed.keep_flavors(session, flavors)

    if states or flavors:
        work.store.write(keep)
    return len(states) + len(flavors)


def duty(adapter: Adapter, hints: Hints, *, margin: float) -> Duty:
    """The duty, for an engine under OpenStack."""
    following = Following(adapter, hints, margin=margin)
    return Duty(name="following", interval_seconds=INTERVAL_SECONDS, run=following.run, is_hinted=following.is_hinted)
