"""How often the objectives on a host were met lately: asked for with each scheduling request, and so kept for a minute."""

import threading
from collections.abc import Callable, Collection, Mapping

from stella.db import attainment
from stella.db.database import Session

RECENT_SECONDS = 3600
_KEPT_SECONDS = 60.0


class RecentAttainment:
    """Attainment of hosts over the last hour. May be used by any thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[int, tuple[float, float | None]] = {}

    def read(self, session: Session, host_ids: Collection[int]) -> Mapping[int, float | None]:
        """By host: met seconds among those with demand, at most a minute old; None where there was no demand."""
        now = self._clock()
        with self._lock:
            fresh = {
                host_id: ratio
                for host_id in host_ids
                for read_at, ratio in (self._known.get(host_id, (float("-inf"), None)),)
                if 0 <= now - read_at < _KEPT_SECONDS
            }
        lacking = [host_id for host_id in host_ids if host_id not in fresh]
        found = attainment.by_host(session, lacking, now - RECENT_SECONDS)
        ratios = {host_id: found[host_id][0] / found[host_id][1] if host_id in found else None for host_id in lacking}
        with self._lock:
            self._known.update({host_id: (now, ratio) for host_id, ratio in ratios.items()})
        return {**fresh, **ratios}
