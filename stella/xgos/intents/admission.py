"""What this host can hold, asked for one instance: the one place where intents meet the control law's admission."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from stella.control.admission import InstanceShape, admit, shape_of
from stella.control.block_room import block_room
from stella.control.capabilities import capabilities, missing, unlimited_disk, unlimited_link
from stella.control.capacity import Held, HostCapacity, sellable_cores
from stella.control.memory import Memory, Settings, capacity_for_floors, capacity_of_one_cpu, priced, remembered
from stella.control.readmission import Lower, need_of, readmit
from stella.control.reservation import reserve
from stella.control.uplink import USABLE_RATIO
from stella.control.uplinks import floor_of, floors_of, uplinks_of, ways
from stella.model import units
from stella.model.allocation import Intent
from stella.model.slo import Metric, Slo
from stella.model.snapshot import Snapshot


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
        return capabilities(self.snapshot.host)

    @property
    def capacity_cpu_cores(self) -> float:
        """CPU that instances can have, in cores: without what the host's own work takes."""
        return capacity_for_floors(self.memory, self.snapshot.host.cores, self.settings)

    @property
    def one_cpu_capacity_cores(self) -> float:
        """The part of any one CPU that instances can have, 0 to 1."""
        return capacity_of_one_cpu(self.memory, self.snapshot.host.cores, self.settings)

    def unsupported(self, uuid: str, slo: Slo) -> Verdict | None:
        """The refusal of an SLO that this host cannot enforce, whatever is free; None when it can."""
        lacking = missing(slo, self.capabilities)
        reading = self.snapshot.instance(uuid)
        if lacking is None and reading is not None:
            lacking = unlimited_link(slo, reading.links) or unlimited_disk(slo, reading.disks)
        if lacking is None:
            return None
        field, name, reason = lacking
        message = f"this host lacks the capability {name}: {reason}"
        return Verdict(accepted=False, field=field, message=message, unsupported=True)

    @property
    def guaranteeable_cpu_cores(self) -> float:
        """What may be set aside in all, in cores."""
        return sellable_cores(self.capacity_cpu_cores)

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
        full = self._uplink_is_full(uuid, slo, others)
        if full is not None:
            return full
        lack = block_room(uuid, slo, {u: i.slo for u, i in others.items()}, self.snapshot)
        if lack is not None:
            largest = ((lack.metric, lack.largest),) if lack.largest > 0 else ()
            return Verdict(accepted=False, field=f"{lack.metric.value}.floor", message=lack.message, largest=largest)
        cores = self.snapshot.host.cores
        answer = admit(
            slo,
            remembered(self.memory, uuid, self.settings.prior, slo),
            shape=shape_of(reading),
            margin=self.settings.margin,
            capacity=HostCapacity(
                capacity_cores=self.capacity_cpu_cores,
                cpus=self.snapshot.host.cpus or tuple(range(cores)),
                one_cpu_cores=self.one_cpu_capacity_cores,
                held=tuple(self._held(u, intent) for u, intent in others.items() if u != uuid),
            ),
            held_before_cores=held_before_cpu_cores,
        )
        if answer.accepted:
            return Verdict(accepted=True, reserved_cpu_cores=answer.reserved_cpu_cores, estimated=answer.estimated)
        return Verdict(
            accepted=False,
            estimated=answer.estimated,
            field=answer.field or "slo",
            message=answer.message,
            largest=answer.largest,
        )

    def _uplink_is_full(self, uuid: str, slo: Slo, others: Mapping[str, Intent]) -> Verdict | None:
        """The refusal of floors that an uplink cannot carry beside those of ``others``; None where it can, or none is shared.

        An instance whose links are not seen counts on every uplink.
        """
        at = self._uplinks(uuid)
        for way in ways(self.snapshot.host):
            floors = floors_of(slo, way.direction, way.kind)
            if not floors or way.uplink not in at:
                continue
            metric, need = max(floors.items(), key=lambda item: item[1])
            held = sum(
                floor_of(i.slo, way.direction, way.kind)
                for u, i in others.items()
                if u != uuid and way.uplink in self._uplinks(u)
            )
            capacity = next(u.capacity_of(way.kind) or 0.0 for u in self.snapshot.host.uplinks if u.name == way.uplink)
            free = max(0.0, capacity * USABLE_RATIO - held)
            if need <= free:
                continue
            room = free * (slo.floor(metric) / need)
            verb = "send" if way.direction == "tx" else "receive"
            message = (
                f"the floors need {units.show(need, f'{way.kind}/s')} of the uplink {way.uplink} to {verb} and it has "
                f"{units.show(free, f'{way.kind}/s')} left to guarantee"
            )
            largest = ((metric, room),) if room > 0 else ()
            return Verdict(accepted=False, field=f"{metric.value}.floor", message=message, largest=largest)
        return None

    def _uplinks(self, uuid: str) -> Collection[str]:
        reading = self.snapshot.instance(uuid)
        if reading is None or reading.links is None:
            return [uplink.name for uplink in self.snapshot.host.uplinks]
        return uplinks_of(reading)

    def _held(self, uuid: str, intent: Intent) -> Held:
        """What another instance holds, in the shape it has; of one that is not seen only the sum is known."""
        reading = self.snapshot.instance(uuid)
        shape = shape_of(reading) if reading else InstanceShape(vcpus=1)
        costs = remembered(self.memory, uuid, self.settings.prior, intent.slo)
        need = reserve(intent.slo, costs, vcpus=shape.vcpus, margin=self.settings.margin)
        return Held(
            cores=intent.reserved_cpu_cores, vcpus=shape.vcpus, io_ratio=need.io_ratio, allowed_cpus=shape.allowed_cpus
        )

    def needed_cpu_cores(self, uuid: str, slo: Slo) -> float:
        """What the floors of ``slo`` would have set aside, whether it fits or not; 0 for an instance that does not run here."""
        reading = self.snapshot.instance(uuid)
        if reading is None:
            return 0.0
        costs = remembered(self.memory, uuid, self.settings.prior, slo)
        return reserve(slo, costs, vcpus=reading.vcpus, margin=self.settings.margin).cores

    def readmitted(self, intents: Mapping[str, Intent], following: Collection[str], state: object) -> Readmitted:
        """What those of ``intents`` that are ``following`` their learned costs should have set aside (`control.readmission`).

        ``state`` is what the last call returned (None at first).
        """
        needs = {}
        for uuid, intent in intents.items():
            known, reading = self.memory.instances.get(uuid), self.snapshot.instance(uuid)
            if known is None or reading is None or uuid not in following:
                continue
            needs[uuid] = need_of(
                intent.slo,
                priced(known.costs, self.settings.prior, intent.slo),
                self.settings.prior,
                vcpus=reading.vcpus,
                margin=self.settings.margin,
                reserved_cores=intent.reserved_cpu_cores,
            )
        free = self.guaranteeable_cpu_cores - sum(i.reserved_cpu_cores for i in intents.values())
        lower: Mapping[str, Lower] = state if isinstance(state, Mapping) else {}
        found = readmit(needs, lower, free_cores=free)
        changed = {
            uuid: cores
            for uuid, cores in found.reserved_cores.items()
            if cores != needs[uuid].reserved_cores or intents[uuid].estimated
        }
        return Readmitted(reserved_cpu_cores=changed, missing_cpu_cores=found.degraded, state=found.lower)
