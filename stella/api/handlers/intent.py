"""The intent of a host: what it is to keep. For its agent, with the host's own credential."""

import json

from stella.api import conditions
from stella.api.operation import Access, Answer, Call, operation
from stella.api.schemas import intent as schema
from stella.db import hosts, slos
from stella.model.wire import Json


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
    link = call.services.config.link
    with call.services.database.reader() as session:
        host = hosts.get(session, call.host_id or 0)
        poll_seconds = link.pending_poll_seconds if slos.has_pending(session, host.id) else link.poll_seconds
        tag = conditions.etag(f"{host.intent_revision}-{poll_seconds:g}")
        if conditions.not_modified(call, tag):
            return Answer(status=304, etag=tag)
        holdings = slos.on_host(session, host.id)
    wanted: dict[str, Json] = {
        instance.uuid: {
            "revision": row.revision,
            "objectives": json.loads(row.objectives or "{}"),
            "priority": row.priority,
            "reserved_cpu_cores": row.reserved_cpu_cores,
            "sla": None,
        }
        for instance, row in holdings
    }
    body: dict[str, Json] = {
        "host": host.name,
        "revision": host.intent_revision,
        "poll_seconds": poll_seconds,
        "watch_until": None,
        "mode": host.mode,
        "slos": wanted,
    }
    return Answer(body=body, etag=tag)
