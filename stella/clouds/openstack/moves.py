"""Moving servers by Nova: live migration and evacuation to a named host, which Nova's scheduler still has to accept.

With ``host`` and without ``force`` (which 2.68 removed) Nova asks its filters and Placement, and holds the flavor's part there itself.
So what is reserved before is only what Nova will not hold: all that the SLO takes, less Nova's part on the host that it leaves.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from keystoneauth1.adapter import Adapter

from stella.clouds.openstack import servers
from stella.clouds.openstack.allocations import PlacementLedger
from stella.clouds.openstack.session import Refused, ask
from stella.clouds.port import Claim, Impossible
from stella.control.move_progress import Migration, Movement

_ASKED = (202, 200)  # evacuate answers 200 up to 2.14, both 202 without a body to send since
_MAY_REFUSE = (400, 404, 409)


class Moves:
    """`stella.clouds.port.Mover`, as an administrator of Nova."""

    def __init__(self, nova: Adapter, ledger: PlacementLedger) -> None:
        """``nova`` asks Nova; ``ledger`` holds places in Placement."""
        self._nova = nova
        self._ledger = ledger

    def movement(self, instance: str) -> Movement:
        """See `stella.clouds.port.Mover.movement`."""
        server = servers.show(self._nova, instance)
        path = f"/os-migrations?instance_uuid={quote(instance, safe='')}"
        status, body = ask(self._nova, "GET", path)
        if status != 200:
            raise Refused(f"compute: GET {path}: HTTP {status}")
        return Movement(
            host=server.host,
            status=server.status,
            task_state=server.task_state,
            migrations=sorted(map(_migration, body["migrations"]), key=lambda one: one.created_at),
        )

    def migrate(self, instance: str, host: str) -> None:
        """See `stella.clouds.port.Mover.migrate`."""
        self._act(instance, {"os-migrateLive": {"host": host, "block_migration": "auto"}})

    def evacuate(self, instance: str, host: str) -> None:
        """See `stella.clouds.port.Mover.evacuate`."""
        self._act(instance, {"evacuate": {"host": host}})

    def _act(self, instance: str, body: Mapping[str, Any]) -> None:
        path = f"/servers/{quote(instance, safe='')}/action"
        status, answer = ask(self._nova, "POST", path, body)
        if status in _MAY_REFUSE:
            raise Impossible(_message(answer) or f"HTTP {status}")
        if status not in _ASKED:
            raise Refused(f"compute: POST {path}: HTTP {status}")

    def is_down(self, host: str) -> bool:
        """See `stella.clouds.port.Mover.is_down`: Nova's own heartbeat of nova-compute, or that it was forced down."""
        path = f"/os-services?binary=nova-compute&host={quote(host, safe='')}"
        status, body = ask(self._nova, "GET", path)
        if status != 200:
            raise Refused(f"compute: GET {path}: HTTP {status}")
        found: Sequence[Mapping[str, Any]] = body["services"]
        return bool(found) and all(one.get("state") == "down" for one in found)

    def reserve(self, claim: Claim, *, source: str) -> Mapping[str, int]:
        """See `stella.clouds.port.Mover.reserve`."""
        return self._ledger.reserve(claim, source=source)

    def release(self, claim: Claim) -> None:
        """See `stella.clouds.port.Mover.release`."""
        self._ledger.release(claim)


def _migration(body: Mapping[str, Any]) -> Migration:
    return Migration(
        kind=str(body.get("migration_type") or ""),
        status=str(body.get("status") or ""),
        source=str(body.get("source_compute") or ""),
        destination=str(body.get("dest_compute") or ""),
        created_at=_seconds(body.get("created_at")),
    )


def _seconds(text: object) -> float:
    """Nova's times are in UTC and do not say so; 0 for one that cannot be read."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def _message(answer: object) -> str:
    """What Nova says of an error: one object under the name of its kind."""
    for one in answer.values() if isinstance(answer, dict) else ():
        if isinstance(one, dict) and one.get("message"):
            return " ".join(str(one["message"]).split())[:300]
    return ""
