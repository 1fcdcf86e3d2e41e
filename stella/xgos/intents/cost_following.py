"""Lets what is set aside follow what floors are learned to cost, and degrades those that cost more than the host has left."""

import math

from stella.model.intent import IntentState
from stella.xgos.intents.admission import HostView
from stella.xgos.intents.store import IntentStore

READMIT_SECONDS = 5.0


class CostFollowing:
    """For the loop's thread. ``dear``: the uuids of those that are degraded because of their cost, and are not admitted anew."""

    def __init__(self, store: IntentStore) -> None:
        self._store = store
        self._state: object = None
        self._followed_at = -math.inf
        self.dear: frozenset[str] = frozenset()

    def follow(self, view: HostView) -> None:
        """Every `READMIT_SECONDS`: set aside less where costs are lower, more where they are higher and there is room."""
        intents, now = self._store.intents, view.snapshot.monotonic_seconds
        self.dear = frozenset(u for u in self.dear if u in intents and intents[u].state is IntentState.DEGRADED)
        if now - self._followed_at < READMIT_SECONDS:
            return
        self._followed_at = now
        following = self.dear | {u for u, intent in intents.items() if intent.state is IntentState.ENFORCED}
        found = view.readmitted(intents, following, self._state)
        self._state = found.state
        for uuid, cores in found.reserved_cpu_cores.items():
            self._store.readmit(uuid, reserved_cpu_cores=cores, estimated=False)
        for uuid in following & (found.missing_cpu_cores.keys() | self.dear):
            lacking, held = found.missing_cpu_cores.get(uuid), self._store.intents[uuid].reserved_cpu_cores
            if lacking is None:
                self._store.mark(uuid, IntentState.ENFORCED, reserved_cpu_cores=held)
                continue
            reason = f"its floors cost more CPU than before, and this host lacks {lacking:.2f} cores for them"
            self._store.mark(uuid, IntentState.DEGRADED, reserved_cpu_cores=held, reason=reason)
        self.dear = frozenset(found.missing_cpu_cores)
