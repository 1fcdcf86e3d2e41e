"""What is set aside on a host in all, as the host's row tells it: counted anew from what is held there."""

from collections.abc import Iterable, Mapping

from sqlalchemy.orm import Session

from stella.db import hosts, slos
from stella.db.models import Host
from stella.db.slos import Holding


def recount(session: Session, host: Host) -> bool:
    """Set what is reserved on a host to what is held there; False where it changed since it was read."""
    return hosts.swap(session, host, **sums(host, slos.holdings(session, [host.id])[host.id]))


def sums(host: Host, held: Iterable[Holding]) -> Mapping[str, float]:
    """The columns of a host that holds this."""
    cores = [(one.is_failover, one.reserved_cpu_cores) for one in held]
    reserved = sum(amount for _, amount in cores)
    return {
        "reserved_cpu_cores": reserved,
        "failover_cpu_cores": sum(amount for is_failover, amount in cores if is_failover),
        "free_cpu_cores": (host.capacity_cpu_cores or 0.0) - reserved,
    }
