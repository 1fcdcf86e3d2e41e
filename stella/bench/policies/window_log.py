"""The agent's windows, by the scenario's names. The client of its socket is the agent's own (`stella.xgos.local_api.client`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stella.bench.verdict import AgentWindow
from stella.model.attainment import Cause, Status
from stella.xgos.local_api.client import Client

_ANSWER_SECONDS = 10.0


def read_windows(windows: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> list[AgentWindow]:
    """The agent's windows as values. ``names``: from uuid to the scenario's name; instances not in it are left out."""
    return [
        AgentWindow(
            start=round(window["start"]),
            instance=names[uuid],
            metric=str(metric),
            usage=said.get("usage"),
            demand=said.get("demand"),
            value=said.get("value"),
            status=Status(said["status"]),
            cause=Cause(said["cause"]) if said.get("cause") else None,
            offender=names.get(said["offender"], said["offender"]) if said.get("offender") else None,
        )
        for window in windows
        for uuid, metrics in window.get("instances", {}).items()
        if uuid in names
        for metric, said in metrics.items()
    ]


class WindowLog:
    """The windows of some instances, collected now and then: the agent keeps them for 15 minutes. ``names``: as `read_windows`."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._found: dict[tuple[int, str, str], AgentWindow] = {}

    def collect(self, path: Path) -> None:
        """Fetch those since the last time, and the last two again: they may have been in the making. Raises as `Client` does."""
        after = max((start for start, _, _ in self._found), default=2) - 2
        for window in read_windows(Client(path, timeout_seconds=_ANSWER_SECONDS).windows(after), self._names):
            self._found[window.start, window.instance, window.metric] = window

    def windows(self) -> tuple[AgentWindow, ...]:
        """All of them, in order."""
        return tuple(self._found[key] for key in sorted(self._found))
