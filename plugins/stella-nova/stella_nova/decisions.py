"""What the filter and the weigher do with Stella's answer. Neither needs Nova: a host has a name, a request has a flavor."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from oslo_config import cfg
from oslo_context import context
from oslo_log import log

from stella_nova import options
from stella_nova.candidates import Answer, Candidate, Candidates, Question
from stella_nova.patterns import slo_specs
from stella_nova.transport import HttpTransport

_LOG = log.getLogger(__name__)
_LOGGED_HOSTS = 20


class Shared:
    """The `Candidates` that filter and weigher of a process have together, made when first needed. May be used by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: Candidates | None = None

    def get(self, config: cfg.ConfigOpts) -> Candidates:
        """The one of the first configuration: Nova has one for each process."""
        with self._lock:
            if self._made is None:
                options.register(config)
                retry_seconds = config[options.GROUP].retry_seconds
                self._made = Candidates(HttpTransport(config), retry_seconds=retry_seconds, warn=_LOG.warning)
            return self._made

    def forget(self) -> None:
        """Make it anew when it is next needed."""
        with self._lock:
            self._made = None


SHARED = Shared()


def question(spec: Any) -> Question | None:
    """What to ask for a request spec of Nova; None where there is no SLO to ask for.

    That is where the flavor sells none, unless the instance moves: its user may have set one.
    """
    flavor = spec.flavor
    sold = slo_specs(flavor.extra_specs or {}) if "extra_specs" in flavor else {}
    alone = spec.num_instances == 1 if "num_instances" in spec else True
    instance = spec.instance_uuid if alone and "instance_uuid" in spec else None
    if not sold and (instance is None or not _moves(spec)):
        return None
    return Question(extra_specs=tuple(sorted(sold.items())), vcpus=int(flavor.vcpus), instance=instance)


def _moves(spec: Any) -> bool:
    """Whether an instance leaves its host: Nova then names that host as one to leave out."""
    return bool("ignore_hosts" in spec and spec.ignore_hosts)


def request_id(spec: Any) -> str:
    """The id of the API request that the spec came with, else of the one that this thread serves, else of the instance."""
    for one in (getattr(spec, "_context", None), context.get_current()):
        found = getattr(one, "global_id", None) or getattr(one, "request_id", None)
        if found:
            return str(found)
    return str(spec.instance_uuid if "instance_uuid" in spec else id(spec))


def ask(candidates: Candidates, spec: Any, hosts: Sequence[Any]) -> Answer:
    """Stella's answer; None where it gave none, or was not asked."""
    asked = question(spec)
    return None if asked is None else candidates.find(request_id(spec), asked, [host.host for host in hosts])


def passing(answer: Answer, spec: Any, hosts: Sequence[Any]) -> list[Any]:
    """The hosts that pass: all without an answer, else those where the SLO fits. One line in the log says why the others do not."""
    if answer is None:
        return list(hosts)
    passed = [host for host in hosts if answer[host.host].fits]
    if len(passed) < len(hosts):
        refused = [f"{host.host}: {answer[host.host].reason}" for host in hosts if not answer[host.host].fits]
        more = f"; and {len(refused) - _LOGGED_HOSTS} more" if len(refused) > _LOGGED_HOSTS else ""
        _LOG.info(
            "Stella: the SLO of flavor %(flavor)s fits on %(fit)d of %(all)d hosts; not on %(why)s",
            {
                "flavor": getattr(spec.flavor, "name", "?"),
                "fit": len(passed),
                "all": len(hosts),
                "why": "; ".join(refused[:_LOGGED_HOSTS]) + more,
            },
        )
    return passed


def note(who: str, spec: Any, *, hosts: int, left: int, seconds: float) -> None:
    """One line with the time that the filter or the weigher added to a scheduling request, the question to Stella included."""
    _LOG.info(
        "Stella: %(who)s, %(left)d of %(all)d hosts left, took %(ms).1f ms for instance %(instance)s",
        {
            "who": who,
            "left": left,
            "all": hosts,
            "ms": seconds * 1000,
            "instance": spec.instance_uuid if "instance_uuid" in spec else "?",
        },
    )


def weight(found: Candidate, *, head_room_multiplier: float, attainment_multiplier: float) -> float:
    """Head-room and recent attainment, each from 0 to 1 times its multiplier. A host where nothing had demand missed nothing."""
    attainment = 1.0 if found.attainment_ratio is None else found.attainment_ratio
    return head_room_multiplier * (found.head_room_ratio or 0.0) + attainment_multiplier * attainment


def weights(answer: Answer, hosts: Sequence[Any], multiplier: Callable[[Any, str], float]) -> list[float]:
    """One for each host; all 0 without an answer. ``multiplier`` gives a host's own, by the name of the option."""
    if answer is None:
        return [0.0] * len(hosts)
    return [
        weight(
            answer[host.host],
            head_room_multiplier=multiplier(host, "head_room_weight_multiplier"),
            attainment_multiplier=multiplier(host, "attainment_weight_multiplier"),
        )
        for host in hosts
    ]
