"""What the control socket tells of the past of an objective: attainment, the budget of its SLA class, and who offends now."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from stella.model.slo import Metric
from stella.model.wire import Json
from stella.sla.tally import Tally as Spent
from stella.sla.terms import Unknown
from stella.xgos.accounting.history import History, midnight_utc
from stella.xgos.local_api.agent_api import AgentApi, Published, SlaClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """The accounts of all objectives at ``now`` (Unix seconds). ``offenders`` are those of the violations that last, by objective.

    ``month``: also tell of the month. That adds up many hours, so it is not told unless it is asked for.
    """

    history: History
    offenders: Mapping[tuple[str, Metric], str]
    names: Mapping[str, str]
    classes: Mapping[str, SlaClass]
    now: float
    month: bool

    def of(self, uuid: str, metric: Metric) -> dict[str, Json]:
        """One objective."""
        offender = self.offenders.get((uuid, metric))
        named = {"offender": offender, "offender_name": self.names.get(offender or "")}
        now = self.history.account_seconds(self.now)
        spans = {"1m": now - 60, "1h": now - 3600, "today": float(midnight_utc(now))}
        if not self.month:
            return {**named, "attainment": self._attainment(uuid, metric, spans)}
        attainment = self._attainment(uuid, metric, {**spans, "month": month_utc(now)})
        return {**named, "attainment": attainment, "budget": self._budget(uuid, metric)}

    def _attainment(self, uuid: str, metric: Metric, spans: Mapping[str, float]) -> dict[str, Json]:
        tallies = {name: self.history.tally(uuid, metric, since) for name, since in spans.items()}
        return {name: {"ratio": tally.attainment_ratio, **asdict(tally)} for name, tally in tallies.items()}

    def _budget(self, uuid: str, metric: Metric) -> Json:
        """By this host's own record, without exclusions and corrections; null where the instance is under no class."""
        found = self.classes.get(uuid)
        if found is None or not found.start <= self.now < found.end:
            return None
        counted = self.history.tally(uuid, metric, found.start)
        unknown = counted.unknown if found.terms.unknown is Unknown.MISSED else 0
        spent = Spent(met=counted.met, missed=counted.missed + unknown)
        allowed = spent.allowed(found.terms)
        return {"sla": found.name, "allowed_seconds": allowed, "left_seconds": allowed - spent.missed}

    def offends(self, uuid: str) -> int:
        """How many violations that last name this instance as their offender."""
        return sum(named == uuid for named in self.offenders.values())


def read_accounts(port: AgentApi, published: Published, now: float, *, month: bool = False) -> Accounts:
    """The accounts as they are."""
    lasting, link = port.violations.list(only_open=True), port.link_status()
    return Accounts(
        history=port.history,
        offenders={(one.uuid, one.metric): one.offender for one in lasting if one.offender is not None},
        names={one.uuid: one.name for one in published.snapshot.instances},
        classes=link.classes if link is not None else {},
        now=now,
        month=month,
    )


def month_utc(now: float) -> float:
    """The start of the month (UTC) that this time is in, in Unix seconds."""
    begin = datetime.fromtimestamp(now, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return begin.timestamp()
