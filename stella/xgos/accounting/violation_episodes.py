"""Violations, pure: episodes in which an objective was missed, with start, end, cause, offender and worst value.

An episode is a violation from its second missed window (VIOLATED or DEGRADED) on; one missed second alone is none. It closes
after `CLOSING_WINDOWS` windows in a row that were not missed, or when more than as many went by of which some were not seen
(UNKNOWN or PENDING: the agent was away, a sensor was lost); it ends with its last missed window. An objective that is no longer
reported (withdrawn, or its instance is gone) closes in the same number of windows.
Cause and offender are what the largest part of its missed windows named.
"""

import json
import uuid as uuids
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from stella.control.offender import Offender
from stella.model.allocation import ObjectiveReport
from stella.model.attainment import Cause, Status
from stella.model.slo import Metric
from stella.xgos.accounting.history_levels import primary_reports

CLOSING_WINDOWS = 5
SMALLEST_MISSED_WINDOWS = 2
_NAMESPACE = uuids.UUID("5f0b3f0e-6f0a-4c39-9a39-0c1f9f1c7d11")


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One episode. Times are Unix seconds; ``end_seconds`` is None while it lasts. ``worst`` is the usage furthest from ``value``.

    ``missed_windows`` counts the windows that were missed; ``causes`` and ``offenders`` how many of them named each cause and
    each offender (an instance's uuid, or ``host``). ``good_windows`` and ``unseen_windows`` went by since the last one missed.
    ``id`` stays the same for as long as the episode is known. ``evidence`` is the offender's CPU in the last window it was named.
    """

    uuid: str
    name: str
    metric: Metric
    kind: str
    value: float
    start_seconds: int
    last_missed_seconds: int
    end_seconds: int | None = None
    missed_windows: int = 1
    good_windows: int = 0
    worst: float | None = None
    status: Status = Status.VIOLATED
    causes: Mapping[Cause, int] = field(default_factory=dict)
    id: str = ""
    unseen_windows: int = 0
    offenders: Mapping[str, int] = field(default_factory=dict)
    evidence: Offender | None = None

    @property
    def offender(self) -> str | None:
        """The offender that the largest part of the missed windows named; None when most named none."""
        if not self.offenders:
            return None
        most = max(self.offenders, key=lambda uuid: self.offenders[uuid])
        unnamed = self.missed_windows - sum(self.offenders.values())
        return most if self.offenders[most] >= unnamed else None

    @property
    def is_violation(self) -> bool:
        """Whether it was missed for long enough."""
        return self.missed_windows >= SMALLEST_MISSED_WINDOWS

    @property
    def cause(self) -> Cause | None:
        """The cause that most of the missed windows named."""
        return max(self.causes, key=lambda cause: self.causes[cause]) if self.causes else None


Key = tuple[str, Metric]
Named = TypeVar("Named", Cause, str)
Instances = Sequence[tuple[str, str, Sequence[ObjectiveReport]]]
"""The uuid, name and objectives of each instance."""

Open = Mapping[Key, Violation]


def _worse(kind: str, worst: float | None, usage: float | None) -> float | None:
    if worst is None or usage is None:
        return usage if worst is None else worst
    return max(worst, usage) if kind in ("target", "ceiling") else min(worst, usage)


def violation_id(uuid: str, metric: Metric, start_seconds: int, epoch: str) -> str:
    """The id of the episode of an objective that began at ``start_seconds``, as the agent of ``epoch`` accounts it."""
    return str(uuids.uuid5(_NAMESPACE, f"{uuid}/{metric.value}/{start_seconds}/{epoch}"))


def _missed(episode: Violation | None, name: str, report: ObjectiveReport, window: "MissedWindow") -> Violation:
    if episode is None:
        episode = Violation(
            uuid=window.uuid,
            name=name,
            metric=report.metric,
            kind=report.kind,
            value=report.value,
            start_seconds=window.start_seconds,
            last_missed_seconds=window.start_seconds,
            missed_windows=0,
            status=report.status,
            id=violation_id(window.uuid, report.metric, window.start_seconds, window.epoch),
        )
    after = replace(
        episode,
        value=report.value,
        last_missed_seconds=window.start_seconds,
        missed_windows=episode.missed_windows + 1,
        good_windows=0,
        unseen_windows=0,
        worst=_worse(episode.kind, episode.worst, report.usage),
        status=Status.VIOLATED if Status.VIOLATED in (episode.status, report.status) else report.status,
        causes=_counted(episode.causes, report.cause),
        offenders=_counted(episode.offenders, report.offender),
    )
    if window.offender is not None and window.offender.uuid == after.offender:
        after = replace(after, evidence=window.offender)
    return after


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedWindow:
    """Which window of which instance was missed, and who took its CPU."""

    uuid: str
    start_seconds: int
    epoch: str
    offender: Offender | None


def _counted(counts: Mapping[Named, int], named: Named | None) -> Mapping[Named, int]:
    return counts if named is None else {**counts, named: counts.get(named, 0) + 1}


def _passed(episode: Violation, *, good: int = 0, unseen: int = 0) -> Violation:
    """The episode after windows that were not missed: closed (it has an end) when they were enough."""
    after = replace(
        episode,
        good_windows=min(CLOSING_WINDOWS, episode.good_windows + good),
        unseen_windows=episode.unseen_windows + unseen,
    )
    gap = after.good_windows + after.unseen_windows
    if after.good_windows < CLOSING_WINDOWS and gap <= CLOSING_WINDOWS:
        return after
    return replace(after, end_seconds=episode.last_missed_seconds + 1)


def fold(
    open_episodes: Open,
    start: int,
    instances: Instances,
    *,
    seconds: int = 1,
    epoch: str = "",
    evidence: Mapping[str, Offender] | None = None,
) -> tuple[dict[Key, Violation], list[Violation]]:
    """The open episodes after the window that began at ``start`` (Unix seconds), and those that it closed.

    ``instances`` are (uuid, name, reports), ``evidence`` the offender by uuid. ``seconds`` more than one: that many windows of
    which nothing was seen. Pure.
    """
    still: dict[Key, Violation] = {}
    closed: list[Violation] = []
    seen: dict[Key, tuple[str, ObjectiveReport]] = {
        (uuid, metric): (name, report)
        for uuid, name, reports in instances
        for metric, report in primary_reports(reports).items()
    }
    for key, (name, report) in seen.items():
        if report.status.missed:
            window = MissedWindow(uuid=key[0], start_seconds=start, epoch=epoch, offender=(evidence or {}).get(key[0]))
            still[key] = _missed(open_episodes.get(key), name, report, window)
    for key, episode in open_episodes.items():
        if key in still:
            continue
        unseen = key in seen and seen[key][1].status in (Status.UNKNOWN, Status.PENDING)
        after = _passed(episode, unseen=seconds) if unseen else _passed(episode, good=seconds)
        if after.end_seconds is None:
            still[key] = after
        else:
            closed.append(after)
    return still, closed


def describe(episode: Violation) -> str:
    """One line for a log."""
    return json.dumps(
        {
            "instance": episode.uuid,
            "metric": episode.metric,
            "state": "open" if episode.end_seconds is None else "closed",
            "id": episode.id,
            "cause": episode.cause,
            "offender": episode.offender,
            "offender_used_cores": round(episode.evidence.used_cores, 3) if episode.evidence else None,
            "offender_entitled_cores": round(episode.evidence.entitled_cores, 3) if episode.evidence else None,
            "value": episode.value,
            "worst": episode.worst,
            "missed_windows": episode.missed_windows,
        }
    )
