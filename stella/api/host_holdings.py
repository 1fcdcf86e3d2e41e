"""What hosts hold, kept while their generation is the same: between two requests of a scheduler few hosts change.

A host's generation moves with all that it holds or can guarantee, so that what is kept is exact. With it are kept the answers that
were found for it: flavors are few, and ask the same of a host again and again.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from stella.admission.verdicts import Verdict
from stella.db import slos
from stella.db.database import Session
from stella.db.models import Host
from stella.db.slos import Holding

KEPT_HOSTS = 2000
"""Some tens of kilobytes each."""

_KEPT_ANSWERS = 64

Found = tuple[Verdict, float]
"""The answer, and what the host may guarantee in all, in cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a host of this generation holds: all of it in cores, and by which instances."""

    generation: int
    holdings: tuple[Holding, ...]
    cores: float
    instances: frozenset[int]
    _answers: dict[str, Found] = field(default_factory=dict)

    def without(self, instance_id: int | None) -> float:
        """What the others hold, in cores."""
        if instance_id not in self.instances:
            return self.cores
        return sum(one.reserved_cpu_cores for one in self.holdings if one.instance_id != instance_id)

    def answer(self, question: str, find: Callable[[], Found]) -> Found:
        """What was found for ``question``, which names all that the answer depends on beside the host of this generation."""
        known = self._answers.get(question)
        if known is None:
            if len(self._answers) >= _KEPT_ANSWERS:
                self._answers.clear()
            known = self._answers[question] = find()
        return known


class HostHoldings:
    """By host. May be used by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[int, Held] = OrderedDict()

    def read(self, session: Session, found: Sequence[Host]) -> Mapping[int, Held]:
        """What these hosts hold, by id. They were read in this session, which sees one state: so the query gives their generation."""
        generations = {host.id: host.generation for host in found}
        with self._lock:
            known = {host_id: held for host_id in generations if (held := self._known.get(host_id)) is not None}
        known = {host_id: held for host_id, held in known.items() if held.generation == generations[host_id]}
        lacking = [host_id for host_id in generations if host_id not in known]
        read = slos.holdings(session, lacking)
        for host_id in lacking:
            holdings = tuple(read.get(host_id, ()))
            known[host_id] = Held(
                generation=generations[host_id],
                holdings=holdings,
                cores=sum(one.reserved_cpu_cores for one in holdings),
                instances=frozenset(one.instance_id for one in holdings),
            )
        with self._lock:
            for host_id, held in known.items():
                self._known[host_id] = held
                self._known.move_to_end(host_id)
            while len(self._known) > KEPT_HOSTS:
                self._known.popitem(last=False)
        return known
