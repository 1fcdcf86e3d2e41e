"""Tells the cloud what became of its intents: each state once, a changed reason now and then."""

from collections.abc import Callable, Iterable

from stella.model.intent import IntentState, Standing
from stella.model.slo import Metric
from stella.xgos.intents.source import CLOUD

AGAIN_SECONDS = 60.0

Acknowledge = Callable[[str, int, IntentState, str, dict[Metric, float]], object]
"""Takes one acknowledgement: uuid, the cloud's revision, state, reason, largest. Must neither block nor raise."""


class Acknowledgements:
    """Follows the standings. What other sources ask is no concern of the cloud's."""

    def __init__(self, acknowledge: Acknowledge | None) -> None:
        self._acknowledge = acknowledge
        self._told: dict[str, tuple[Standing, float]] = {}

    def follow(self, standings: Iterable[Standing], monotonic_seconds: float) -> None:
        """Tell what is new among these, which are all there are."""
        if self._acknowledge is None:
            return
        asked = {standing.uuid: standing for standing in standings if standing.source == CLOUD}
        self._told = {uuid: told for uuid, told in self._told.items() if uuid in asked}
        for uuid, standing in asked.items():
            if self._is_new(standing, monotonic_seconds):
                largest = dict(standing.largest)
                self._acknowledge(uuid, standing.revision, standing.state, standing.reason, largest)
                self._told[uuid] = (standing, monotonic_seconds)

    def _is_new(self, standing: Standing, now: float) -> bool:
        told = self._told.get(standing.uuid)
        if told is None:
            return True
        before, at = told
        if (before.revision, before.state) != (standing.revision, standing.state):
            return True
        return before.reason != standing.reason and now - at >= AGAIN_SECONDS
