"""The instances in a report: new, moved here, changed, gone. Only what changed is written.

What each uses changes all the time and is kept by one statement for all of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from stella.api import strict_json
from stella.api.report_work import DEFAULT_PROJECT, Section, Work
from stella.db import hosts, reports, slos
from stella.db.instances import GONE
from stella.db.models import Instance
from stella.db.reports import KnownInstance

_NO_SHAPE = "{}"
_RUNNING, _SHUT_OFF = "running", "shut_off"
"""As a host tells the state of an instance."""


def take(work: Work, found: Iterable[Section]) -> None:
    """Take in all instances that the host has: what is missing is gone."""
    reported: dict[int, str] = {}
    present = set()
    for section in found:
        uuid = section["uuid"].lower()
        present.add(uuid)
        known = work.known.get(uuid) or _new(work, uuid, section)
        if known.host_id != work.host.id:
            if not _moved_here(work, known, is_running=section["state"] == _RUNNING):
                work.ignored.append((uuid, "instances: it runs on another host"))
                continue
            known = replace(known, previous_host_id=known.host_id, host_id=work.host.id)
        changed = _changed(known, section)
        if changed:
            reports.change(work.session, known.id, changed)
            if "shape" in changed and known.shape != _NO_SHAPE:
                work.host.generation += 1  # what it holds lies otherwise on the host's CPUs
        work.known[uuid] = known
        reported[known.id] = strict_json.text({"objectives": section.get("objectives", []), "cpu": section.get("cpu")})
    reports.refresh(work.session, reported, work.origin.at)
    gone = [
        one.id
        for one in work.known.values()
        if one.host_id == work.host.id and one.uuid not in present and one.state != GONE
    ]
    if gone:
        reports.lose(work.session, gone, work.origin.at)


def _new(work: Work, uuid: str, section: Section) -> KnownInstance:
    row = Instance(
        uuid=uuid,
        host_id=work.host.id,
        project_id=section.get("project") or DEFAULT_PROJECT,
        name="",
        state="",
        shape=_NO_SHAPE,
        costs="{}",
        reported_at=work.origin.at,
    )
    work.session.add(row)
    work.session.flush()
    return KnownInstance(**{name: getattr(row, name) for name in KnownInstance.__slots__})


def _changed(known: KnownInstance, section: Section) -> Mapping[str, object]:
    """The columns that are to be set, but for what it uses now."""
    values: dict[str, Any] = {"state": section["state"], "name": section.get("name") or known.name}
    if known.project_id == DEFAULT_PROJECT and section.get("project"):
        values["project_id"] = section["project"]
    if "shape" in section:  # a host cannot tell it of an instance that is shut off: what was known stays
        values["shape"] = strict_json.text(section["shape"])
        values["costs"] = strict_json.text(section.get("costs", {}))
    changed = {name: value for name, value in values.items() if getattr(known, name) != value}
    if known.state == GONE and "state" in changed:
        changed["gone_at"] = None
    return changed


def _moved_here(work: Work, known: KnownInstance, *, is_running: bool) -> bool:
    """Whether this host may take over an instance of another one: that one lost it, or is silent. Its SLO comes along, PENDING.

    One that runs here may be shut off there: until a resize or cold migration is confirmed, Nova keeps its definition on the host that
    it left. A suspended SLO stays suspended: stella-engine resumes it where there is room.
    """
    other = hosts.lock(work.session, known.host_id)
    silent = other.reported_at is None or work.origin.at - other.reported_at > work.silent_seconds
    is_left_behind = is_running and known.state == _SHUT_OFF
    if known.state != GONE and not silent and not is_left_behind:
        return False
    reports.change(work.session, known.id, {"previous_host_id": other.id, "host_id": work.host.id})
    row = slos.find(work.session, known.id)
    if row is not None and row.objectives is not None and row.state != slos.SUSPENDED:
        for host, sign in ((other, -1.0), (work.host, 1.0)):
            host.reserved_cpu_cores += sign * row.reserved_cpu_cores
            host.free_cpu_cores = (host.capacity_cpu_cores or 0.0) - host.reserved_cpu_cores
            host.generation += 1
            host.intent_revision += 1
        row.carried = slos.is_accepted(row)
        row.state, row.reason, row.largest, row.revision = slos.PENDING, "", "{}", work.host.intent_revision
    return True
