"""Keeps what limits each instance from outside Stella: its flavor, Neutron, Cinder. Only under OpenStack.

A round goes over all servers of Nova, a page in each run. What QoS there is in Neutron and Cinder is read when a round begins. From a
source that does not answer, what was known is kept.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from stella.clouds.openstack import servers
from stella.clouds.openstack.limits import (
    Port,
    Rules,
    Volume,
    has_nic_limits,
    limits_of,
    list_policies,
    list_ports,
    list_volumes,
)
from stella.clouds.openstack.session import OpenStack
from stella.clouds.port import Unanswered
from stella.control.following import Server
from stella.db import limits
from stella.engine.duty import Duty, Outcome, Work
from stella.model.limits import Limit, Source, from_text, to_text

_LOG = logging.getLogger(__name__)
INTERVAL_SECONDS = 120.0
T = TypeVar("T")


class ExistingLimits:
    """The duty, with what it remembers: where its round is, and which service did not answer."""

    def __init__(self, openstack: OpenStack) -> None:
        """Nothing is asked yet."""
        self._openstack = openstack
        self._marker: str | None = None
        self._policies: Mapping[str, Rules] | None = None
        self._volumes: Mapping[str, Volume] | None = None
        self._silent: dict[str, str] = {}

    def run(self, work: Work) -> Outcome:
        """The next servers. Raises `stella.clouds.port.Unanswered` where Nova does not answer; the next run begins anew."""
        cloud, marker = self._openstack, self._marker
        self._marker = None
        page = servers.page(cloud.nova, marker=marker)
        if marker is None:
            self._policies = self._told("Neutron's QoS policies", lambda: list_policies(cloud.network))
            self._volumes = self._told("Cinder's QoS specs", lambda: list_volumes(cloud.volume))
        with work.store.reader() as session:
            before = limits.read(session, [server.uuid for server in page.servers])
        changed = self._changed([server for server in page.servers if server.uuid in before], before)
        if changed:
            work.store.write(lambda session: limits.write(session, changed))
        self._marker = page.marker
        return Outcome(changed=len(changed), more=page.marker is not None)

    def _changed(self, known: Sequence[Server], before: Mapping[str, str]) -> Mapping[str, str]:
        """The limits of those of which they are not what they were."""
        ports: Mapping[str, Sequence[Port]] = {}
        asked = [server.uuid for server in known if self._policies or has_nic_limits(server)]
        if asked:
            told = self._told("Neutron's ports", lambda: list_ports(self._openstack.network, asked))
            ports = told if told is not None else {}
        found: dict[str, str] = {}
        for server in known:
            now = limits_of(server, ports=ports.get(server.uuid), policies=self._policies, volumes=self._volumes)
            text = to_text(merged(from_text(before[server.uuid]), now))
            if text != before[server.uuid]:
                found[server.uuid] = text
        return found

    def _told(self, what: str, ask: Callable[[], T]) -> T | None:
        """What ``ask`` answers; None where it is `Unanswered`, which is logged once."""
        try:
            answer = ask()
        except Unanswered as error:
            if self._silent.get(what) != str(error):
                self._silent[what] = str(error)
                _LOG.warning("%s are not known, what was known is kept: %s", what, error)
            return None
        if self._silent.pop(what, None) is not None:
            _LOG.warning("%s are known again", what)
        return answer


def merged(before: Iterable[Limit], now: Mapping[Source, Sequence[Limit] | None]) -> list[Limit]:
    """The limits as they are now; those of a source that is not known (None) as they were."""
    known = [limit for found in now.values() for limit in found or ()]
    return known + [limit for limit in before if now.get(limit.source) is None]


def duties(openstack: OpenStack) -> Sequence[Duty]:
    """The duty, for an engine under OpenStack."""
    return (Duty(name="limits", interval_seconds=INTERVAL_SECONDS, run=ExistingLimits(openstack).run),)
