"""The intent of a host: what it is to keep, and how often to ask and report. For its agent, with the host's own credential."""

import hashlib
import json

from stella.api import conditions, intervals, sla_budgets
from stella.api.intervals import Intervals
from stella.api.operation import Access, Answer, Call, operation
from stella.api.schemas import intent as schema
from stella.db import hosts, slos
from stella.db.hosts import LinkedHost
from stella.model.wire import Json


def _tag(revision: int, host: LinkedHost, chosen: Intervals) -> str:
    """The entity tag: it changes with whatever of the body does."""
    watched = hashlib.sha256(repr(sorted(host.watched.items())).encode()).hexdigest()[:12] if host.watched else "0"
    return conditions.etag(f"{revision}-{chosen.poll_seconds:g}-{chosen.report_seconds:g}-{watched}")


@operation(
    access=Access.HOST,
    responses={200: schema.INTENT, 304: None},
    errors=("stella.request.not_found",),
)
def show(call: Call) -> Answer:
    """Show what the host is to keep, and when to ask again.

    Answers 200 with an `ETag`, or 304 when `If-None-Match` has it. 401 without a host's
    credential, 404 with that of another host.
    """
    linked, services = call.linked_host, call.services
    chosen = intervals.choose(services.config.link, hosts=services.host_count(), has_pending=linked.has_pending)
    tag = _tag(linked.intent_revision, linked, chosen)
    if conditions.not_modified(call, tag):
        return Answer(status=304, etag=tag)
    with services.database.reader() as session:
        host = hosts.get(session, linked.id)
        holdings = slos.on_host(session, host.id)
        classes = sla_budgets.carried(session, [instance for instance, _ in holdings], services.clock())
    wanted: dict[str, Json] = {
        instance.uuid: {
            "revision": row.revision,
            "objectives": json.loads(row.objectives or "{}"),
            "priority": row.priority,
            "accepted": slos.is_accepted(row),
            "reserved_cpu_cores": row.reserved_cpu_cores,
            "sla": classes.get(instance.id),
        }
        for instance, row in holdings
    }
    body: dict[str, Json] = {
        "host": host.name,
        "revision": host.intent_revision,
        "poll_seconds": chosen.poll_seconds,
        "report_seconds": chosen.report_seconds,
        "watch_until": max(linked.watched.values(), default=None),
        "watched": dict(linked.watched),
        "mode": host.mode,
        "slos": wanted,
    }
    return Answer(body=body, etag=_tag(host.intent_revision, linked, chosen))
