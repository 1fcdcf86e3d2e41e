"""What a tenant does with Stella: set SLOs with `openstack slo`, and ask the API how far they were kept."""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from stella.api import times
from stella.bench.lab.process import wait_until
from stella.bench.lab.rig import Rig
from stella.bench.policies.base import PolicyError
from stella.bench.results import ApiAttainment, PolicyReport, Refusal, ShownSeconds
from stella.model.report import StatusCounts
from stella.model.slo import Direction, Metric, Slo

MINUTE_SECONDS = 60
CLIENT_SECONDS = 90.0
REPORT_SECONDS = 30.0
SET_ATTEMPTS = 3
SETTLE_SECONDS = 8.0
_POLL_SECONDS = 0.5
_OPTIONS = {
    Metric.CPU: "--cpu",
    Metric.NETWORK_PACKETS: "--net-pps",
    Metric.NETWORK_BYTES: "--net-bandwidth",
    Metric.BLOCK_BYTES: "--disk",
    Metric.BLOCK_OPERATIONS: "--disk-iops",
    Metric.BLOCK_LATENCY: "--disk-latency",
}
_DIRECTIONS = {"network": "--net-direction", "block": "--disk-direction"}


class NoSuchOption(ValueError):
    """A tenant cannot ask for it there; one line for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """An SLO as a tenant asks for it: quantities in base units by metric and kind (floor, ceiling, target), one direction by resource
    where it is not both, one priority."""

    quantities: Mapping[tuple[Metric, str], float]
    directions: Mapping[str, Direction]
    priority: int


def wishes(slo: Slo, *, where: str) -> Wishes:
    """What to ask for ``where`` ("the form"). Raises `NoSuchOption` for what nobody can ask for there."""
    quantities: dict[tuple[Metric, str], float] = {}
    directions: dict[str, Direction] = {}
    priorities = {objective.priority for objective in slo.objectives}
    if len(priorities) > 1:
        raise NoSuchOption(f"{where} takes one priority for all objectives")
    for objective in slo.objectives:
        if objective.weight is not None:
            raise NoSuchOption(f"{where} takes no weight")
        for kind in ("floor", "ceiling", "target"):
            value = getattr(objective, kind)
            if value is not None:
                quantities[objective.metric, kind] = value
        resource = objective.metric.resource
        if directions.setdefault(resource, objective.direction) is not objective.direction:
            raise NoSuchOption(f"{where} takes one direction for all objectives of the {resource}")
    named = {resource: one for resource, one in directions.items() if one is not Direction.BOTH}
    return Wishes(quantities=quantities, directions=named, priority=max(priorities, default=0))


def set_options(slo: Slo) -> list[str]:
    """The options of `openstack slo set` for an SLO, quantities in base units. Raises `NoSuchOption`."""
    asked = wishes(slo, where="openstack slo set")
    words: list[str] = []
    for (metric, kind), value in asked.quantities.items():
        words += [_OPTIONS[metric] + ("-ceiling" if kind == "ceiling" else ""), repr(value)]
    for resource, direction in asked.directions.items():
        words += [_DIRECTIONS[resource], direction.value]
    return words + (["--priority", str(asked.priority)] if asked.priority else [])


def run_client(lab: Rig, environment: Mapping[str, str], *words: str) -> str:
    """Run `openstack` as a person does, outside the laboratory; what it prints. Raises `PolicyError` with what it says."""
    program = str(Path(sys.executable).parent / "openstack")
    process = lab.spawn(
        [program, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, outside=True
    )
    try:
        printed, said = process.communicate(timeout=CLIENT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise PolicyError(f"openstack {' '.join(words[:2])} did not end within {CLIENT_SECONDS:g} s") from None
    if process.returncode:
        raise PolicyError(" ".join(said.decode(errors="replace").split())[-300:] or f"ended with {process.returncode}")
    return printed.decode(errors="replace")


def whole_minutes(start: float, end: float) -> tuple[int, int]:
    """The whole minutes of the clock within a span, as Unix seconds; both are equal where there is none."""
    first = -int(-start // MINUTE_SECONDS) * MINUTE_SECONDS
    return first, max(first, int(end // MINUTE_SECONDS) * MINUTE_SECONDS)


def parse_attainment(
    answer: Mapping[str, Any], instance: str, start: int, end: int
) -> dict[tuple[str, str], ApiAttainment]:
    """What ``GET .../attainment`` answered, by instance and metric."""
    names = {field.name for field in fields(StatusCounts)}
    return {
        (instance, str(objective["metric"])): ApiAttainment(
            instance=instance,
            metric=str(objective["metric"]),
            start=start,
            end=end,
            seconds=StatusCounts(**{k: int(v) for k, v in objective["seconds"].items() if k in names}),
        )
        for objective in answer["objectives"]
    }


class Tenant:
    """Sets the SLOs of a run. ``uuids``: by the scenario's names. What is refused is kept in ``refused``, remarks in ``notes``.

    ``client`` runs `openstack` with some words; ``get`` answers a path of the API. Both raise `PolicyError`.
    """

    def __init__(
        self, uuids: Mapping[str, str], client: Callable[..., object], get: Callable[[str], Mapping[str, Any]]
    ) -> None:
        self.refused: list[Refusal] = []
        self.notes: list[str] = []
        self.attainment: tuple[ApiAttainment, ...] = ()
        self.shown: tuple[ShownSeconds, ...] = ()
        self._uuids, self._client, self._get = uuids, client, get
        self._slos: dict[str, Slo] = {}

    def change(self, instance: str, slo: Slo | None, at_seconds: float) -> Sequence[Refusal]:
        """Set it, or unset it. The run goes on without what is refused."""
        try:
            if slo is None:
                self._unset(instance)
                self._slos.pop(instance, None)
            else:
                self._set(instance, slo)
                self._slos[instance] = slo
        except (PolicyError, NoSuchOption) as error:
            self.refused.append(Refusal(instance=instance, at_seconds=at_seconds, message=str(error)))
            return (self.refused[-1],)
        return ()

    def _set(self, instance: str, slo: Slo) -> None:
        self._client("slo", "set", "--server", self._uuids[instance], *set_options(slo), "--replace", "--wait")

    def _unset(self, instance: str) -> None:
        self._client("slo", "unset", "--server", self._uuids[instance])

    def set_at_start(self, slos: Mapping[str, Slo]) -> list[Refusal]:
        """Set all SLOs; one that is refused again after a pause.

        A client that starts is a core of work for a second or two, and this machine's admission counts it as the host's own.
        """
        return [refusal for name, slo in slos.items() for refusal in self._set_at_start(name, slo)]

    def _set_at_start(self, name: str, slo: Slo) -> Sequence[Refusal]:
        for attempt in range(1, SET_ATTEMPTS + 1):
            refused = self.change(name, slo, 0.0)
            if not refused or attempt == SET_ATTEMPTS:
                return refused
            self.notes.append(f"{name}: tried again: {self.refused.pop().message}")
            time.sleep(SETTLE_SECONDS)
        return ()

    def withdraw(self) -> None:
        """Unset what was set. What fails is a note: the run is over."""
        for name in list(self._slos):
            if self.change(name, None, 0.0):
                self.notes.append(f"{name}: not unset: {self.refused.pop().message}")

    def measured(self, start: float, end: float) -> None:
        """Ask the API for the attainment over the whole minutes within, once it knows each of their seconds."""
        first, last = whole_minutes(start, end)
        wanted = {(name, o.metric.value) for name, slo in self._slos.items() for o in slo.objectives}
        if first == last or not wanted:
            self.notes.append("the measured time holds no whole minute of the clock: no attainment of the API")
            return
        found: dict[tuple[str, str], ApiAttainment] = {}

        def complete() -> bool:
            try:
                found.update(self._ask_attainment(first, last))
            except PolicyError as error:
                self.notes.append(str(error))
            return all(key in found and found[key].seconds.seconds >= last - first for key in wanted)

        if not wait_until(complete, REPORT_SECONDS, every_seconds=_POLL_SECONDS):
            self.notes.append("the API does not know every second of the measured time")
        self.attainment = tuple(found[key] for key in sorted(found) if key in wanted)

    def told(self, agent: PolicyReport) -> PolicyReport:
        """What the agent told, with what API and pages said beside it."""
        return replace(
            agent,
            refused=tuple(self.refused),
            notes=(*agent.notes, *self.notes),
            attainment=self.attainment,
            shown=self.shown,
        )

    def look_back(self) -> None:
        """Look once more at what was measured, when the loads were halted; nothing, where it needs no CPU to speak of."""

    def _ask_attainment(self, start: int, end: int) -> dict[tuple[str, str], ApiAttainment]:
        found: dict[tuple[str, str], ApiAttainment] = {}
        for name in self._slos:
            path = f"/v1/instances/{self._uuids[name]}/attainment?from={times.show(start)}&to={times.show(end)}"
            found |= parse_attainment(self._get(path), name, start, end)
        return found
