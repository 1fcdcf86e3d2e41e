"""How often the objectives on a host were met lately: asked for with each scheduling request, and so kept for a minute.

An hour of minutes of many instances is dear to add up. So one request reads that of a few hosts at most, the oldest first; of the
others it takes what was read before. A scheduler that asks about many hosts knows all of them after a few requests.
"""

import threading
from collections.abc import Callable, Collection, Mapping

from stella.db import attainment
from stella.db.database import Session

RECENT_SECONDS = 3600
LARGEST_READ = 50
"""So many hosts are read for one request."""

_KEPT_SECONDS = 60.0
_NEVER = float("-inf")


class RecentAttainment:
    """Attainment of hosts over the last hour. May be used by any thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[int, tuple[float, float | None]] = {}

    def read(self, session: Session, host_ids: Collection[int]) -> Mapping[int, float | None]:
        """By host: met seconds among those with demand, of a minute ago at most, or of longer ago where many are asked for.

        None where there was no demand, or nothing was read within the last hour.
        """
        now = self._clock()
        with self._lock:
            known = {host_id: self._known.get(host_id, (_NEVER, None)) for host_id in host_ids}
        old = [host_id for host_id, (read_at, _) in known.items() if not 0 <= now - read_at < _KEPT_SECONDS]
        lacking = sorted(old, key=lambda host_id: known[host_id][0])[:LARGEST_READ]
        found = attainment.by_host(session, lacking, now - RECENT_SECONDS)
        for host_id in lacking:
            known[host_id] = (now, found[host_id][0] / found[host_id][1] if host_id in found else None)
        with self._lock:
            self._known.update({host_id: known[host_id] for host_id in lacking})
        return {
            host_id: ratio if now - read_at < RECENT_SECONDS else None for host_id, (read_at, ratio) in known.items()
        }
