"""Which instances exist, asked of Nova. Only a clear "no such server", from a Nova that shows all projects, counts as gone.

The servers are asked for one by one. A list leaves out the instances of a cell that is down, with a filter or a page size even in
2.69, so that "not in the list" may mean "database away"; and it takes one uuid only. ``GET /servers/{uuid}`` answers 404 only when
the cell has no such instance. To a user who may not see other projects that is 404 too: so the right is tested first.
"""

import logging
from collections.abc import Collection

from keystoneauth1.adapter import Adapter

from stella.clouds.openstack.session import Refused, ask
from stella.clouds.port import Missing, Unanswered

_LOG = logging.getLogger(__name__)


class Nova:
    """Nova, as an administrator or a service sees it."""

    def __init__(self, adapter: Adapter) -> None:
        """Ask through ``adapter``."""
        self._adapter = adapter

    def gone(self, missing: Collection[Missing]) -> frozenset[str]:
        """Those that Nova does not know, or calls deleted. One of which it does not tell is not among them. Raises `Unanswered`."""
        if not missing:
            return frozenset()
        path = "/servers?all_tenants=1&limit=1"
        status, _ = ask(self._adapter, "GET", path)
        if status != 200:
            raise Unanswered(f"compute: GET {path}: HTTP {status}; the user must be allowed to see all projects")
        return frozenset(one.uuid for one in missing if self._is_gone(one.uuid))

    def _is_gone(self, uuid: str) -> bool:
        path = f"/servers/{uuid}"
        try:
            status, body = ask(self._adapter, "GET", path)
        except Refused as error:  # where nothing answers at all, the others need not be tried
            _LOG.warning("%s", error)
            return False
        if status == 404:
            return _says_not_found(body)
        if status != 200:
            _LOG.warning("compute: GET %s: HTTP %d", path, status)
            return False
        return isinstance(body, dict) and body.get("server", {}).get("status") == "DELETED"


def _says_not_found(body: object) -> bool:
    """Whether this is Nova's own 404: a proxy or a wrong endpoint says 404 too, of everything."""
    return isinstance(body, dict) and "itemNotFound" in body
