"""What this host can hold, asked for one instance: the one place where intents meet the control law's admission."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from stella.control.admission import HostCapacity, admit
from stella.control.memory import Memory, Settings, capacity_for_floors, capacity_of_one_cpu, remembered
from stella.control.reservation import io_floors, reserve
from stella.model.allocation import Intent
from stella.model.slo import Metric, Slo
from stella.model.snapshot import Snapshot

_READMIT_DEADBAND_RATIO = 0.05
_MISSING: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("network", "ceiling"): "this release does not limit or share network traffic",
        ("network", "weight"): "this release does not limit or share network traffic",
        ("block", "ceiling"): "this release does not limit or share disk traffic",
        ("block", "weight"): "this release does not limit or share disk traffic",
        ("block", "target"): "this release measures disk latency but does not enforce a target",
    }
)
CAPABILITIES: Mapping[str, str] = MappingProxyType(
    {
        f"{metric.value}_{kind}": _MISSING.get((metric.resource, kind), "")
        for metric in Metric
        for kind in (("target",) if metric is Metric.BLOCK_LATENCY else ("floor", "ceiling", "weight"))
    }
)
"""What can be enforced, by name: empty where it can, else the reason why it cannot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Accepted with ``reserved_cpu_cores`` to set aside, or refused: then ``field``, ``message`` and ``largest`` say why.

    ``unsupported``: refused because this host cannot enforce it, however much is free.
    """

    accepted: bool
    reserved_cpu_cores: float = 0.0
    estimated: bool = False
    field: str = ""
    message: str = ""
    largest: tuple[tuple[Metric, float], ...] = ()
    unsupported: bool = False

    @property
    def reason(self) -> str:
        """One line for a person."""
        return f"{self.field}: {self.message}" if not self.accepted else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readmitted:
    """By uuid what is to be set aside from now on, where that changes, and what is missing to those whose floors cost more than
    the host has left. ``state`` is for the next call.
    """

    reserved_cpu_cores: Mapping[str, float]
    missing_cpu_cores: Mapping[str, float]
    state: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """A host at one moment, as admission sees it."""

    snapshot: Snapshot
    memory: Memory
    settings: Settings

    @property
    def capabilities(self) -> Mapping[str, str]:
        """What this host can enforce, by name: empty where it can, else the reason why it cannot."""
        return CAPABILITIES

    @property
    def capacity_cpu_cores(self) -> float:
        """CPU that instances can have, in cores: without what the host's own work takes."""
        return capacity_for_floors(self.memory, self.snapshot.host.cores, self.settings)

    def unsupported(self, uuid: str, slo: Slo) -> Verdict | None:
        """The refusal of an SLO that this host cannot enforce, whatever is free; None when it can."""
        for objective in slo.objectives:
            for kind in ("floor", "ceiling", "weight", "target"):
                name = f"{objective.metric.value}_{kind}"
                if getattr(objective, kind) is not None and (reason := self.capabilities.get(name, "")):
                    message = f"this host lacks the capability {name}: {reason}"
                    return Verdict(
                        accepted=False, field=f"{objective.metric.value}.{kind}", message=message, unsupported=True
                    )
        return None

    @property
    def guaranteeable_cpu_cores(self) -> float:
        """What may be set aside in all, in cores."""
        return self.capacity_cpu_cores

    def ask(self, uuid: str, slo: Slo, others: Mapping[str, Intent], *, held_before_cpu_cores: float = 0.0) -> Verdict:
        """Whether ``slo`` fits for an instance that runs here, beside what is set aside for the ``others`` (by uuid).

        ``held_before_cpu_cores``: what is set aside for the instance now. One that needs no more is not refused for want of capacity,
        even where costs have grown and the host is overfull.
        """
        refused = self.unsupported(uuid, slo)
        if refused is not None:
            return refused
        reading = self.snapshot.instance(uuid)
        if reading is None:
            return Verdict(accepted=False, field="instance", message="is not running on this host")
        held = sum(intent.reserved_cpu_cores for intent in others.values())
        vcpus = {i.uuid: i.vcpus for i in self.snapshot.instances}
        answer = admit(
            slo,
            remembered(self.memory, uuid, self.settings.prior, slo),
            vcpus=reading.vcpus,
            margin=self.settings.margin,
            room=HostCapacity(
                capacity_cores=max(self.guaranteeable_cpu_cores, held + held_before_cpu_cores),
                cpus=self.snapshot.host.cores,
                one_cpu_cores=capacity_of_one_cpu(self.memory, self.snapshot.host.cores, self.settings),
                held=[(intent.reserved_cpu_cores, vcpus.get(u, 1)) for u, intent in others.items() if u != uuid],
            ),
        )
        if answer.accepted:
            return Verdict(accepted=True, reserved_cpu_cores=answer.reserved_cpu_cores, estimated=answer.estimated)
        return Verdict(
            accepted=False,
            estimated=answer.estimated,
            field=f"{answer.metric.value}.floor" if answer.metric else "slo",
            message=answer.message,
            largest=tuple((metric, value) for metric, value in answer.largest if value > 0),
        )

    def needed_cpu_cores(self, uuid: str, slo: Slo) -> float:
        """What the floors of ``slo`` would have set aside, whether it fits or not; 0 for an instance that does not run here."""
        reading = self.snapshot.instance(uuid)
        if reading is None:
            return 0.0
        costs = remembered(self.memory, uuid, self.settings.prior, slo)
        return reserve(slo, costs, vcpus=reading.vcpus, margin=self.settings.margin).cores

    def readmitted(self, intents: Mapping[str, Intent], following: Collection[str], state: object) -> Readmitted:
        """What those of ``intents`` that are ``following`` their learned costs should have set aside: less where these are lower, more
        where they are higher, as far as there is room. ``state`` is what the last call returned (None at first).
        """
        held = {uuid: intent.reserved_cpu_cores for uuid, intent in intents.items()}
        capacity = self.guaranteeable_cpu_cores
        reserved: dict[str, float] = {}
        missing: dict[str, float] = {}
        for uuid, intent in intents.items():
            known = self.memory.instances.get(uuid)
            if known is None or uuid not in following or self.snapshot.instance(uuid) is None:
                continue
            if any(known.costs[o.metric].estimated for o in io_floors(intent.slo)):
                continue
            needed = self.needed_cpu_cores(uuid, intent.slo)
            others = sum(held.values()) - held[uuid]
            target = min(needed, max(capacity - others, min(needed, intent.reserved_cpu_cores)))
            if needed > target * (1 + _READMIT_DEADBAND_RATIO):
                missing[uuid] = needed - target
            small = abs(target - intent.reserved_cpu_cores) <= _READMIT_DEADBAND_RATIO * intent.reserved_cpu_cores
            if not small or intent.estimated:
                held[uuid] = reserved[uuid] = target
        return Readmitted(reserved_cpu_cores=reserved, missing_cpu_cores=missing, state=state)
