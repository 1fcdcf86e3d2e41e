"""Which hosts could take an instance with an SLO, and why the others could not: one instance against many hosts in a few queries.

The instance may not exist yet. Then its CPU costs are the priors, which all hosts share, and it is taken to have no iothread, as Nova
makes it; of one that Stella knows, its learned costs, its devices and the SLO that it has are counted.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from stella.admission import verdicts
from stella.admission.verdicts import Verdict
from stella.api.host_attainment import RecentAttainment
from stella.api.host_holdings import Held, HostHoldings
from stella.control.admission import InstanceShape
from stella.control.cost import UnitCost
from stella.db import hosts
from stella.db.database import Session
from stella.db.models import Host
from stella.model.slo import Metric, Slo

LARGEST_HOSTS = 1000
UNKNOWN_HOST = "Stella does not know this host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomer:
    """What is to be placed. ``instance_id`` is that of an instance that Stella knows; ``margin`` is for hosts that report none."""

    slo: Slo
    shape: InstanceShape
    costs: Mapping[Metric, UnitCost]
    margin: float
    instance_id: int | None = None

    @property
    def question(self) -> str:
        """The same text for the same question, of an instance that holds nothing yet."""
        return repr((self.slo, self.shape, sorted(self.costs.items()), self.margin))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One host. ``reason`` is empty where the SLO fits; ``head_room_ratio`` is the part of what it can guarantee that is left then."""

    host: str
    fits: bool
    reason: str = ""
    reserved_cpu_cores: float | None = None
    head_room_ratio: float | None = None
    attainment_ratio: float | None = None
    largest: Mapping[str, float] | None = None


def find(
    session: Session,
    newcomer: Newcomer,
    *,
    names: Collection[str] | None,
    attainments: RecentAttainment,
    holdings: HostHoldings,
    silent_before: float,
    with_largest: bool,
) -> Sequence[Candidate]:
    """A candidate for each of ``names`` in that order; None: for the `LARGEST_HOSTS` hosts with most free CPU, by name.

    Hosts without a report since ``silent_before`` (Unix seconds) do not fit. Without ``with_largest`` what would fit is not searched.
    """
    if names is None:
        asked = sorted(hosts.freest(session, limit=LARGEST_HOSTS), key=lambda host: host.name)
    else:
        asked = list(hosts.named(session, set(names)))
    ratios = attainments.read(session, [host.id for host in asked])
    held = holdings.read(session, asked)
    question = f"{newcomer.question} {with_largest}"
    found: dict[str, Candidate] = {}
    for host in asked:
        reason = verdicts.unfit(newcomer.slo, host, silent_before)
        one = Candidate(host=host.name, fits=False, reason=reason)
        if not reason:
            one = _asked(newcomer, host, held[host.id], question, with_largest=with_largest)
        found[host.name] = replace(one, attainment_ratio=ratios[host.id])
    if names is None:
        return list(found.values())
    return [found.get(name, Candidate(host=name, fits=False, reason=UNKNOWN_HOST)) for name in dict.fromkeys(names)]


def _asked(newcomer: Newcomer, host: Host, held: Held, question: str, *, with_largest: bool) -> Candidate:
    def ask() -> tuple[Verdict, float]:
        return verdicts.ask_shape(
            newcomer.slo,
            newcomer.costs,
            shape=newcomer.shape,
            host=host,
            holdings=held.holdings,
            instance_id=newcomer.instance_id,
            margin=newcomer.margin,
            with_largest=with_largest,
        )

    own = newcomer.instance_id in held.instances
    verdict, sellable_cores = ask() if own else held.answer(question, ask)
    if not verdict.accepted:
        return Candidate(host=host.name, fits=False, reason=_reason(verdict), largest=dict(verdict.largest))
    left = max(0.0, sellable_cores - held.without(newcomer.instance_id) - verdict.reserved_cpu_cores)
    return Candidate(
        host=host.name,
        fits=True,
        reserved_cpu_cores=verdict.reserved_cpu_cores,
        head_room_ratio=left / sellable_cores if sellable_cores > 0 else 0.0,
    )


def _reason(verdict: Verdict) -> str:
    return f"{verdict.field}: {verdict.message}"
