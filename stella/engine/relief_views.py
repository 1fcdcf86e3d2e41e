"""What relief decides on, read from the database: hosts with what they miss, what runs there, and where an instance would fit."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stella.admission import verdicts
from stella.control import incurable
from stella.control.relief_view import Guest, HostView, Limits, Miss, Mode
from stella.db import hosts, slos
from stella.db.database import Session
from stella.db.missed import Missed
from stella.db.models import Host, Instance, SloRow
from stella.db.slos import Holding
from stella.model.attainment import Cause
from stella.model.slo import Metric, Slo, parse_slo

LARGEST_DESTINATIONS, LARGEST_SOURCES = 50, 50
_RUNS = "running"
_CLOUD_RUNS = (None, "ACTIVE")


@dataclass(slots=True, kw_only=True)
class Places:
    """Hosts where instances could go, with all that they hold; `take` counts what is placed there.

    ``full``: (uuid, host) for which the cloud's ledger had no room a moment ago.
    """

    hosts: Mapping[str, Host]
    margin: float
    holdings: dict[int, Sequence[Holding]]
    instances: Mapping[str, tuple[Instance, SloRow | None]] = field(default_factory=dict)
    full: Collection[tuple[str, str]] = ()

    def fits(self, uuid: str, host: str) -> bool:
        """Whether the instance would be admitted there, as `stella.control.relief_view.Fits` asks."""
        found, (instance, row) = self.hosts.get(host), self.instances[uuid]
        if found is None or (uuid, host) in self.full:
            return False
        if row is None:
            return True
        slo = slo_of(row)
        return verdicts.may_fit(slo, host=found, instance=instance, margin=self.margin) and verdicts.would_fit(
            slo, host=found, instance=instance, holdings=self.holdings[found.id], margin=self.margin
        )

    def take(self, uuid: str, host: str) -> bool:
        """Whether it fits there; if so, it is counted there from then on."""
        if not self.fits(uuid, host):
            return False
        instance, row = self.instances[uuid]
        if row is not None:
            held = Holding(
                instance_id=instance.id,
                shape=instance.shape,
                reserved_cpu_cores=row.reserved_cpu_cores,
                reserved_io_ratio=row.reserved_io_ratio,
            )
            host_id = self.hosts[host].id
            self.holdings[host_id] = [*self.holdings[host_id], held]
        return True


def slo_of(row: SloRow) -> Slo:
    """The SLO of a row in force."""
    return parse_slo(json.loads(row.objectives or "{}"))


def priority_of(row: SloRow) -> int:
    """The highest of its objectives."""
    return max((objective.priority for objective in slo_of(row).objectives), default=0)


def mode_of(host: Host, cloud: Mode) -> Mode:
    """The mode of a host: its own, else the cloud's. Where the cloud's is off, all are."""
    return Mode(host.relief_mode) if host.relief_mode is not None and cloud is not Mode.OFF else cloud


def destinations(session: Session, *, margin: float, silent_before: float) -> Places:
    """The hosts with most free CPU that enforce and report."""
    found = hosts.candidates(session, except_id=0, limit=LARGEST_DESTINATIONS)
    named = {host.name: host for host in found if host.credential_sha256 and (host.reported_at or 0.0) >= silent_before}
    held = slos.holdings(session, [host.id for host in named.values()])
    return Places(hosts=named, margin=margin, holdings=dict(held))


def by_host(found: Sequence[Missed]) -> Mapping[int, tuple[Miss, ...]]:
    """What is missed, by the host's id."""
    misses: dict[int, list[Miss]] = {}
    for one in found:
        misses.setdefault(one.host_id, []).append(_miss(one))
    return {host_id: tuple(some) for host_id, some in misses.items()}


def troubled(misses: Mapping[int, tuple[Miss, ...]], limits: Limits) -> Sequence[int]:
    """The ids of the hosts that have something that they cannot cure, those with most of it first."""
    lost = {
        host_id: incurable.missed_per_hour(incurable.incurable(some, limits), limits)
        for host_id, some in misses.items()
    }
    worst = sorted((host_id for host_id in lost if lost[host_id] > 0.0), key=lambda host_id: (-lost[host_id], host_id))
    return worst[:LARGEST_SOURCES]


def view(host: Host, cloud: Mode, *, silent_before: float, misses: tuple[Miss, ...] = ()) -> HostView:
    """A host, without what runs on it."""
    used = json.loads(host.reported).get("used")
    told = used.get("cpu_cores") if isinstance(used, dict) else None
    return HostView(
        name=host.name,
        capacity_cores=host.capacity_cpu_cores or 0.0,
        reserved_cores=max(0.0, host.reserved_cpu_cores),
        used_cores=_amount(told),
        mode=mode_of(host, cloud),
        takes=host.mode == "enforce" and host.credential_sha256 is not None,
        is_silent=host.reported_at is None or host.reported_at < silent_before,
        misses=misses,
    )


def with_guests(
    shown: HostView, found: Sequence[tuple[Instance, SloRow | None]], missing: Sequence[Missed]
) -> HostView:
    """The host with what runs on it. What an offender uses is told by those that miss something."""
    taken = {
        one.offender: used
        for one in missing
        if one.offender is not None and (used := _amount(one.evidence.get("offender_used_cores"))) is not None
    }
    return replace(shown, guests=tuple(_guest(instance, row, taken) for instance, row in found))


def _guest(instance: Instance, row: SloRow | None, taken: Mapping[str, float]) -> Guest:
    vcpus = verdicts.shape_of_text(instance.shape).vcpus if instance.shape != "{}" else 1
    used = _amount(json.loads(instance.reported).get("cpu_cores"))
    return Guest(
        uuid=instance.uuid,
        project=instance.project_id,
        priority=priority_of(row) if row is not None else None,
        reserved_cores=row.reserved_cpu_cores if row is not None else 0.0,
        used_cores=taken.get(instance.uuid) if used is None else used,
        move_cost=float(vcpus),
        kept_because=_kept(instance),
    )


def _kept(instance: Instance) -> str:
    if instance.relief_opt_out:
        return "it is opted out of relief"
    if instance.state != _RUNS:
        return f"it is {instance.state}"
    if instance.cloud_state not in _CLOUD_RUNS:
        return f"its status is {instance.cloud_state}"
    return ""


def _miss(one: Missed) -> Miss:
    return Miss(
        instance=one.instance.uuid,
        metric=one.metric,
        cause=Cause(one.cause) if one.cause in set(Cause) else None,
        missed_seconds=one.seconds,
        lasts=one.lasts,
        short_cores=_short_cores(one),
        offender=one.offender,
    )


def _short_cores(one: Missed) -> float | None:
    """The CPU that the objective lacks, from what its host last reported of it, or from the worst second of the violation."""
    if one.slo is None or one.slo.objectives is None or one.metric not in set(Metric):
        return None
    slo, metric = slo_of(one.slo), Metric(one.metric)
    reported = json.loads(one.instance.reported).get("objectives", [])
    now = next((o for o in reported if o.get("metric") == one.metric), {})
    told = [amount for amount in (_amount(now.get("usage")), _amount(one.evidence.get("worst"))) if amount is not None]
    floor = slo.floor(metric)
    if not told or not floor:
        return None
    cost = 1.0
    if metric is not Metric.CPU:
        known = verdicts.priced_costs(one.instance, slo)[metric]
        cost = known.vcpu + known.io
    return incurable.short_cores(floor, usage=min(told), demand=_amount(now.get("demand")), cost=cost)


def _amount(told: object) -> float | None:
    return float(told) if isinstance(told, int | float) and not isinstance(told, bool) and told >= 0 else None
