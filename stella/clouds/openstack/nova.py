"""Which instances exist, asked of Nova. Only a clear "no such server", from a Nova that shows all projects, counts as gone.

The servers are asked for one by one. A list leaves out the instances of a cell that is down, with a filter or a page size even in
2.69, so that "not in the list" may mean "database away"; and it takes one uuid only. ``GET /servers/{uuid}`` answers 404 only when
the cell has no such instance. To a user who may not see other projects that is 404 too: so the right is tested first.

A server that exists and that its host does not report (shelved, or moved to a host without an agent) stays missing for long: it is
asked for again once a minute, and the others before it.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping

from keystoneauth1.adapter import Adapter

from stella.clouds.openstack import servers
from stella.clouds.openstack.session import Refused, ask
from stella.clouds.port import Missing
from stella.control.following import DELETED

_LOG = logging.getLogger(__name__)
_PAGE = 1000
ASKED_AT_ONCE = 50
AGAIN_SECONDS = 60.0
_LONGEST_SECONDS = 3.0
"""A slow Nova is asked for the rest in the next run: other duties wait for this one."""


class Nova:
    """Nova, as an administrator or a service sees it. ``monotonic`` gives seconds of this machine."""

    def __init__(self, adapter: Adapter, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Ask through ``adapter``."""
        self._adapter = adapter
        self._monotonic = monotonic
        self._asked: dict[str, float] = {}

    def gone(self, missing: Collection[Missing]) -> frozenset[str]:
        """Those that Nova does not know, or calls deleted. One of which it does not tell is not among them. Raises `Unanswered`."""
        began = self._monotonic()
        uuids = [one.uuid for one in missing]
        self._asked = {uuid: self._asked[uuid] for uuid in uuids if uuid in self._asked}
        due = [uuid for uuid in uuids if began - self._asked.get(uuid, float("-inf")) >= AGAIN_SECONDS]
        if not due:
            return frozenset()
        servers.require_all_projects(self._adapter)
        due.sort(key=lambda uuid: self._asked.get(uuid, float("-inf")))
        found = set()
        for uuid in due[:ASKED_AT_ONCE]:
            if self._monotonic() - began > _LONGEST_SECONDS:
                break
            if self._is_gone(uuid):
                found.add(uuid)  # asked again at once, should it still be missing then
            else:
                self._asked[uuid] = began
        return frozenset(found)

    def _is_gone(self, uuid: str) -> bool:
        try:
            return servers.show(self._adapter, uuid).status == DELETED
        except Refused as error:  # where nothing answers at all, the others need not be tried
            _LOG.warning("%s", error)
            return False


def compute_nodes(adapter: Adapter) -> Mapping[str, str]:
    """The uuid of the compute node, which is that of its provider in Placement, of each ``host``; hosts with several are left out.

    Raises `Unanswered`.
    """
    found: dict[str, set[str]] = defaultdict(set)
    marker = ""
    while True:
        path = f"/os-hypervisors/detail?limit={_PAGE}{marker}"
        status, body = ask(adapter, "GET", path)
        if status != 200:
            raise Refused(f"compute: GET {path}: HTTP {status}")
        page = body["hypervisors"]
        for one in page:
            found[one["service"]["host"]].add(one["id"])
        if not page or not any(link.get("rel") == "next" for link in body.get("hypervisors_links", ())):
            return {host: next(iter(uuids)) for host, uuids in found.items() if len(uuids) == 1}
        marker = f"&marker={page[-1]['id']}"


def migrations(adapter: Adapter, instance: str) -> frozenset[str]:
    """The uuids of an instance's migrations, also those that ended long ago.

    While an instance is moved, its migration holds in Placement what it had on the host that it leaves. Raises `Unanswered`.
    """
    path = f"/os-migrations?instance_uuid={instance}"
    status, body = ask(adapter, "GET", path)
    if status != 200:
        raise Refused(f"compute: GET {path}: HTTP {status}")
    return frozenset(one["uuid"] for one in body["migrations"])
