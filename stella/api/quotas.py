"""Quotas of projects on what their SLOs hold: read with the host, checked before and after admission, held by compare-and-swap."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from oslo_config import cfg

from stella.api.errors import ApiError
from stella.conf.quota import OPTION_OF, UNLIMITED
from stella.db import projects
from stella.db.database import Session
from stella.db.models import Instance, SloRow
from stella.db.projects import RESERVED, RESOURCES, SLOS, Account
from stella.model import units
from stella.model.slo import Metric, Slo
from stella.model.wire import Json

Amounts = Mapping[str, float]
_TOLERANCE_RATIO = 1e-9
"""A sum of floors is exact to about this much of the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What counts for one SLO: its project as it was read, the limits in force, what the other SLOs hold and what it held itself.

    Without any limit nothing is summed: then ``others`` is empty.
    """

    account: Account
    limits: Amounts
    others: Amounts
    held: Amounts

    @property
    def is_limited(self) -> bool:
        """Whether anything is limited."""
        return any(limit != UNLIMITED for limit in self.limits.values())

    def refusal(self, slo: Slo, reserved_cpu_cores: float | None = None) -> ApiError | None:
        """The answer (403) for the first resource of which ``slo`` asks for more than the quota leaves; None: there is none.

        ``reserved_cpu_cores``: what admission sets aside for it, once that is known. An SLO with no larger floor than before is never
        refused, also where a limit was lowered below what is held.
        """
        floors = {o.metric.value: o.floor for o in slo.objectives if o.floor is not None}
        growing = {name: value for name, value in floors.items() if not _at_most(value, self.held.get(name, 0.0))}
        if self.held and not growing:
            return None
        asked = growing if self.held else {SLOS: 1.0, **growing}
        if reserved_cpu_cores is not None:
            asked[RESERVED] = reserved_cpu_cores
        for resource, value in asked.items():
            limit, held = self.limits[resource], self.held.get(resource, 0.0)
            others = self.others.get(resource, 0.0)
            if limit != UNLIMITED and not _at_most(value, held) and not _at_most(others + value, limit):
                return _exceeded(
                    resource, limit=limit, used=others, asked=value, largest=max(held, limit - others, 0.0)
                )
        return None

    def within(self, largest: Amounts) -> Amounts:
        """The largest floors by metric, no more than the quota leaves. Nothing where reserved CPU is limited: what each would take
        of that is not known here."""
        if self.is_limited and self.limits[RESERVED] != UNLIMITED:
            return {}
        return {metric: min(value, self._left(metric)) for metric, value in largest.items()}

    def _left(self, metric: str) -> float:
        limit = self.limits[metric]
        return math.inf if limit == UNLIMITED else max(self.held.get(metric, 0.0), limit - self.others.get(metric, 0.0))


def _at_most(value: float, limit: float) -> bool:
    return value <= limit * (1 + _TOLERANCE_RATIO)


def limits_in_force(config: cfg.ConfigOpts, own: Amounts) -> dict[str, float]:
    """The limit of every resource: the project's own, else as configured; -1 is none."""
    return {name: own.get(name, float(config.quota[OPTION_OF[name]])) for name in RESOURCES}


def read(config: cfg.ConfigOpts, session: Session, instance: Instance, row: SloRow | None) -> Quota:
    """The quota that an SLO of ``instance`` counts against; ``row`` is the present one."""
    account = projects.find(session, instance.project_id)
    quota = Quota(account=account, limits=limits_in_force(config, account.limits), others={}, held={})
    if not quota.is_limited:
        return quota
    others = projects.used(session, [account.project_id], except_instance_id=instance.id)[account.project_id]
    return Quota(account=account, limits=quota.limits, others=others, held=_held(row))


def _held(row: SloRow | None) -> Amounts:
    if row is None or row.objectives is None:
        return {}
    floors = {metric: float(o["floor"]) for metric, o in json.loads(row.objectives).items() if "floor" in o}
    return {**floors, RESERVED: row.reserved_cpu_cores, SLOS: 1.0}


def show_amount(resource: str, value: float) -> str:
    """For a person: ``4 cores``, ``200 kpps``, ``10``."""
    if resource == SLOS:
        return f"{value:g}"
    return units.show(value, "cores" if resource == RESERVED else Metric(resource).unit)


def _exceeded(resource: str, *, limit: float, used: float, asked: float, largest: float) -> ApiError:
    field = "objectives" if resource in (RESERVED, SLOS) else f"objectives.{resource}.floor"
    shown = {name: show_amount(resource, value) for name, value in (("limit", limit), ("used", used), ("asked", asked))}
    detail = (
        f"{field}: the project's quota of {resource} is {shown['limit']}; its other SLOs hold {shown['used']} "
        f"and this one asks for {shown['asked']}; at most {show_amount(resource, largest)} can be had."
    )
    amounts: dict[str, Json] = {"resource": resource, "limit": limit, "used": used, "asked": asked, "largest": largest}
    return ApiError("stella.quota.exceeded", detail, field=field, extra={"quota": amounts})
