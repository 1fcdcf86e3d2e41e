"""Following the sources: precedence, waiting, degrading, freeing; and nobody loses what is still asked for."""

from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from stella.control.memory import Memory, Settings
from stella.model.allocation import Intent
from stella.model.intent import IntentState
from stella.model.slo import Metric, Slo, parse_slo
from stella.model.snapshot import HostReading, SensorReading, Snapshot
from stella.xgos.intents.admission import HostView, Readmitted, Verdict
from stella.xgos.intents.changes import Refused
from stella.xgos.intents.cloud import CloudSource
from stella.xgos.intents.cost_following import READMIT_SECONDS
from stella.xgos.intents.instance_names import assign
from stella.xgos.intents.presence import GONE_SECONDS
from stella.xgos.intents.reconcile import ASKS_A_TICK, RETRY_SECONDS, Reconciler
from stella.xgos.intents.source import CLOUD, FILE, MANUAL, IntentSet, Wanted, wanted
from stella.xgos.intents.store import IntentStore
from tests.unit.xgos.conftest import VM1, VM2, reading

VM3 = VM1[:-1] + "7"
PENDING, ENFORCED, REFUSED, DEGRADED = (
    IntentState.PENDING, IntentState.ENFORCED, IntentState.REFUSED, IntentState.DEGRADED,
)  # fmt: skip


def slo(floor: float, priority: int = 0) -> Slo:
    return parse_slo({"cpu": {"floor": floor, "priority": priority}})


class Plain(HostView):
    """An admission that adds up floors of CPU, whatever the control law makes of them."""

    @property
    def capacity_cpu_cores(self) -> float:
        return self.settings.capacity_cores

    @property
    def guaranteeable_cpu_cores(self) -> float:
        return self.settings.capacity_cores

    def readmitted(self, intents: Mapping[str, Intent], following: Collection[str], state: object) -> Readmitted:
        return Readmitted(reserved_cpu_cores={}, missing_cpu_cores={})

    def needed_cpu_cores(self, uuid: str, slo: Slo) -> float:
        return slo.floor(Metric.CPU)

    def ask(self, uuid: str, slo: Slo, others: Mapping[str, Intent], *, held_before_cpu_cores: float = 0.0) -> Verdict:
        refused = self.unsupported(uuid, slo)
        if refused is not None:
            return refused
        if self.snapshot.instance(uuid) is None:
            return Verdict(accepted=False, field="instance", message="is not running on this host")
        free = self.capacity_cpu_cores - sum(i.reserved_cpu_cores for u, i in others.items() if u != uuid)
        needed = self.needed_cpu_cores(uuid, slo)
        if needed <= max(free, held_before_cpu_cores) + 1e-9:
            return Verdict(accepted=True, reserved_cpu_cores=needed)
        message = f"needs {needed} cores, {free} are free"
        return Verdict(accepted=False, field="cpu.floor", message=message, largest=((Metric.CPU, free),))


class Source:
    """A source that publishes what the test says."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.set: IntentSet | None = None

    def poll(self) -> IntentSet | None:
        return self.set

    def ask(self, revision: int, **slos: float) -> None:
        self.want(revision, {key: slo(floor) for key, floor in slos.items()})

    def want(self, revision: int, slos: Mapping[str, Slo]) -> None:
        self.set = IntentSet(
            revision=revision, wanted={key: Wanted(slo=one, revision=revision) for key, one in slos.items()}
        )


class Host:
    """Two CPUs, instances that come and go, and a clock of our own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.cloud, self.file = Source(CLOUD), Source(FILE)
        self.now = 1000.0
        self.running: dict[str, str] = {VM1: "vm1", VM2: "vm2"}
        self.shut_off: tuple[str, ...] | None = ()
        self.hypervisor = True
        self.capacity = 1.8
        self.told: list[tuple[str, int, IntentState, str]] = []
        self.start()

    def start(self) -> None:
        """A new agent on what is on disk."""
        self.store = IntentStore(self.directory / "intents.json")
        self.reconciler = Reconciler(self.store, (self.file, self.cloud), self.acknowledge)

    def acknowledge(
        self, uuid: str, revision: int, state: IntentState, reason: str, largest: Mapping[Metric, float]
    ) -> None:
        self.told.append((uuid, revision, state, reason))

    @property
    def view(self) -> HostView:
        host = HostReading(
            cores=2, busy_seconds=1, idle_seconds=self.now, softirq_seconds=0, steal_seconds=0, cgroup_version=1
        )
        snapshot = Snapshot(
            monotonic_seconds=self.now,
            wall_seconds=1e9 + self.now,
            host=host,
            instances=tuple(reading(uuid, name) for uuid, name in self.running.items()),
            sensors=(SensorReading(name="hypervisor", ok=self.hypervisor, duration_seconds=0.0),),
            shut_off=self.shut_off,
        )
        settings = Settings(capacity_cores=self.capacity, host_reserved_cores=0.0, margin=1.0)
        return Plain(snapshot=snapshot, memory=Memory(), settings=settings)

    def ticks(self, seconds: float = 0.25, period: float = 0.25) -> None:
        for _ in range(max(1, round(seconds / period))):
            self.now += period
            self.reconciler.follow(self.view)

    def by_hand(self, uuid: str, floor: float | None, priority: int = 0) -> None:
        one = None if floor is None else slo(floor, priority)
        self.reconciler.change(uuid, lambda _: one, dry_run=False, view=self.view)

    def floors(self) -> dict[str, float]:
        """What is enforced."""
        return {u: i.slo.floor(Metric.CPU) for u, i in self.store.intents.items() if i.state is ENFORCED}

    def states(self) -> dict[str, tuple[str, IntentState]]:
        return {u: (s.source, s.state) for u, s in self.reconciler.standings.items()}

    def held(self) -> float:
        return sum(i.reserved_cpu_cores for i in self.store.intents.values())


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_uuid_goes_before_a_name_and_a_name_of_two_is_given_to_none() -> None:
    keys = {"u1", "web", "db", ""}
    assert assign(keys, {"u1": "db", "u2": "web", "u3": "", "u4": "idle"}) == ({"u1": "u1", "u2": "web"}, frozenset())
    assert assign(keys, {"u1": "web", "u2": "web"}) == ({"u1": "u1"}, frozenset({"web"}))
    assert assign(keys, {"u2": "db", "u3": "db"}) == ({}, frozenset({"db"}))
    assert assign({"u1"}, {"u2": "u1", "u1": "x"}) == ({"u1": "u1"}, frozenset())


def test_an_instance_named_as_anothers_uuid_gets_nothing_of_it() -> None:
    assert assign({VM1}, {VM2: VM1}) == ({}, frozenset())


# --- precedence ---------------------------------------------------------------------------------------------------------


def test_the_higher_source_governs_and_the_lower_comes_back_into_force(host: Host) -> None:
    host.ticks()
    host.by_hand(VM1, 0.3)
    host.file.ask(7, vm1=0.4)
    host.ticks()
    assert host.floors() == {VM1: 0.4} and host.states() == {VM1: (FILE, ENFORCED)}
    host.cloud.ask(417, **{VM1: 0.5})
    host.ticks()
    assert host.floors() == {VM1: 0.5} and host.states() == {VM1: (CLOUD, ENFORCED)}
    assert host.store.intents[VM1].revision == 417
    generation = host.store.intents[VM1].generation
    host.cloud.ask(418)
    host.ticks()
    assert host.floors() == {VM1: 0.4} and host.store.intents[VM1].generation > generation
    host.file.ask(8)
    host.ticks()
    assert host.floors() == {VM1: 0.3} and host.states() == {VM1: (MANUAL, ENFORCED)}
    host.by_hand(VM1, None)
    host.ticks()
    assert not host.states() and not host.store.intents and not host.store.manual


@pytest.mark.parametrize(("source", "where"), [(FILE, "SLO file"), (CLOUD, "Stella API")])
def test_by_hand_nothing_is_changed_that_another_source_governs(host: Host, source: str, where: str) -> None:
    {FILE: host.file, CLOUD: host.cloud}[source].ask(1, **{VM1: 0.5})
    host.ticks()
    for floor in (0.2, None):
        with pytest.raises(Refused, match=where):
            host.by_hand(VM1, floor)
    host.ticks()
    assert host.floors() == {VM1: 0.5}


def test_a_refused_change_leaves_in_force_what_was(host: Host) -> None:
    host.cloud.ask(1, **{VM1: 0.5})
    host.ticks()
    host.cloud.ask(2, **{VM1: 1.9})
    host.ticks()
    assert host.floors() == {VM1: 0.5} and host.states() == {VM1: (CLOUD, REFUSED)}
    standing = host.reconciler.standings[VM1]
    assert standing.revision == 2 and "cpu.floor" in standing.reason and dict(standing.largest)[Metric.CPU] > 0.5
    assert [(r, s) for _, r, s, _ in host.told] == [(1, ENFORCED), (2, REFUSED)]
    host.ticks(3 * RETRY_SECONDS)
    assert len(host.told) == 2 and host.reconciler.refusals == 1


def test_an_intent_that_cannot_be_read_is_refused_by_name_and_the_others_stand(host: Host) -> None:
    bad = wanted({"smell": {"floor": 1}}, 5)
    host.cloud.set = IntentSet(revision=5, wanted={VM1: bad, VM2: Wanted(slo=slo(0.5), revision=5)})
    host.ticks()
    assert host.states() == {VM1: (CLOUD, REFUSED), VM2: (CLOUD, ENFORCED)}
    assert "smell" in host.reconciler.standings[VM1].reason


def test_a_source_that_does_not_know_yet_withdraws_nothing(host: Host) -> None:
    host.cloud.ask(1, **{VM1: 0.5})
    host.file.ask(1, vm2=0.25)
    host.ticks()
    assert host.store.save()
    host.cloud.set = host.file.set = None
    host.start()
    host.ticks(5)
    assert host.floors() == {VM1: 0.5, VM2: 0.25} and host.states()[VM1] == (CLOUD, ENFORCED)


def test_the_same_slo_from_another_source_keeps_its_generation(host: Host) -> None:
    host.ticks()
    host.by_hand(VM1, 0.5)
    host.file.ask(3, vm1=0.5)
    host.ticks()
    found = host.store.intents[VM1]
    assert (found.generation, found.source, found.revision, host.store.declared_as(VM1)) == (1, FILE, 3, "vm1")


def test_a_name_of_two_changes_neither_and_says_so(host: Host) -> None:
    host.file.ask(1, vm1=0.5)
    host.ticks()
    host.running[VM3] = "vm1"
    host.file.ask(2, vm1=0.25)
    host.ticks(5)
    assert host.floors() == {VM1: 0.5}
    assert host.states()[VM3] == (FILE, REFUSED) and "uuid" in host.reconciler.standings[VM3].reason
    host.by_hand(VM3, 0.25)  # nothing governs it
    host.ticks()
    assert host.floors() == {VM1: 0.5, VM3: 0.25}


# --- waiting, and the budget ------------------------------------------------------------------------------------------------


def test_an_intent_waits_for_its_instance(host: Host) -> None:
    host.cloud.ask(9, **{VM3: 0.5})
    host.ticks(2)
    assert host.states() == {VM3: (CLOUD, PENDING)} and "not on this host" in host.reconciler.standings[VM3].reason
    host.running[VM3] = "vm3"
    host.ticks()
    assert host.floors() == {VM3: 0.5}
    assert [s for _, _, s, _ in host.told] == [PENDING, ENFORCED]


def test_a_refusal_is_tried_again_now_and_then_and_at_once_when_capacity_comes_free(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    ask = Plain.ask

    def counted(view: Plain, uuid: str, one: Slo, others: Mapping[str, Intent], **keys: float) -> Verdict:
        asked.append(uuid)
        return ask(view, uuid, one, others, **keys)

    monkeypatch.setattr(Plain, "ask", counted)
    host.cloud.ask(1, **{VM1: 1.0})
    host.ticks()
    host.file.ask(1, vm2=1.0)
    asked.clear()
    host.ticks(3 * RETRY_SECONDS)
    assert asked == [VM2] * 3 and host.states()[VM2] == (FILE, REFUSED)
    host.cloud.ask(2)
    host.ticks()
    assert host.floors() == {VM2: 1.0}


def test_the_priority_goes_first_when_not_all_fit(host: Host) -> None:
    host.cloud.want(1, {VM1: slo(1.0, priority=1), VM2: slo(1.0, priority=50)})
    host.ticks()
    assert host.floors() == {VM2: 1.0} and host.states()[VM1] == (CLOUD, REFUSED)


# --- gone, shut off, back ---------------------------------------------------------------------------------------------------


def test_a_deleted_instance_frees_its_capacity_after_a_minute(host: Host) -> None:
    host.ticks()
    host.by_hand(VM1, 0.5)
    host.cloud.ask(1, **{VM2: 1.0})
    host.ticks()
    host.running = {}
    host.ticks(GONE_SECONDS - 2, period=1.0)
    assert host.held() == pytest.approx(1.5)
    host.ticks(4, period=1.0)
    assert host.held() == 0.0
    assert host.states() == {VM2: (CLOUD, PENDING)} and set(host.store.intents) == {VM2}
    assert [e.uuid for e in host.reconciler.events if "dropped" in e.message] == [VM1]


def test_dropping_what_is_shadowed_leaves_the_clouds_promise_an_accepted_one(host: Host) -> None:
    host.ticks()
    host.by_hand(VM1, 0.3)
    host.cloud.ask(1, **{VM1: 1.0})
    host.ticks()
    running = host.running
    host.running = {}
    host.ticks(GONE_SECONDS + 2, period=1.0)
    assert not host.store.manual and host.states() == {VM1: (CLOUD, PENDING)}
    host.running, host.capacity = running, 0.5
    host.ticks()
    assert host.states() == {VM1: (CLOUD, DEGRADED)}


def test_many_at_once_take_several_ticks(host: Host) -> None:
    uuids = [f"{VM1[:-2]}{number:02d}" for number in range(20)]
    host.running = {uuid: "" for uuid in uuids}
    host.cloud.ask(1, **dict.fromkeys(uuids, 0.05))
    host.ticks()
    assert len(host.floors()) == ASKS_A_TICK and len(host.states()) == 20
    assert {s.reason for s in host.reconciler.standings.values()} == {"", "waits for its turn"}
    host.ticks(20 / ASKS_A_TICK * 0.25)
    assert len(host.floors()) == 20


def test_nothing_is_freed_while_the_hypervisor_does_not_answer(host: Host) -> None:
    host.ticks()
    host.by_hand(VM1, 0.5)
    host.ticks()
    host.running = {}
    for host.hypervisor, host.shut_off in ((False, ()), (True, None)):
        host.ticks(5 * GONE_SECONDS, period=1.0)
        assert host.floors() == {VM1: 0.5} and host.held() == 0.5
    host.hypervisor, host.shut_off = True, ()
    host.ticks(GONE_SECONDS - 2, period=1.0)  # an outage is no absence
    assert host.floors() == {VM1: 0.5}


def test_shut_off_keeps_the_slo_and_not_the_cpu(host: Host) -> None:
    host.ticks()
    host.by_hand(VM1, 1.0)
    del host.running[VM1]
    host.shut_off = (VM1,)
    host.ticks(2 * GONE_SECONDS, period=1.0)
    assert host.states() == {VM1: (MANUAL, PENDING)} and "shut off" in host.reconciler.standings[VM1].reason
    assert host.held() == 0.0 and host.store.slo(VM1) == slo(1.0)
    host.by_hand(VM2, 1.0)  # its CPU is free
    host.running[VM1], host.shut_off = "vm1", ()
    host.ticks()
    assert host.states() == {VM1: (MANUAL, DEGRADED), VM2: (MANUAL, ENFORCED)}
    assert "cpu.floor" in host.reconciler.standings[VM1].reason
    assert host.held() <= host.capacity + 1e-9 and host.store.intents[VM2].reserved_cpu_cores == 1.0
    with pytest.raises(Refused):  # what is degraded comes before what is new
        host.running[VM3] = "vm3"
        host.by_hand(VM3, 0.5)
    host.by_hand(VM2, None)
    host.ticks(0.5)
    assert host.floors() == {VM1: 1.0}


def test_of_two_that_come_back_the_higher_priority_is_kept_and_nothing_oscillates(host: Host) -> None:
    host.cloud.want(1, {VM1: slo(1.0, priority=1), VM2: slo(1.0, priority=9)})
    host.capacity = 2.0
    host.ticks()
    host.running, host.shut_off = {}, (VM1, VM2)
    host.ticks()
    host.capacity = 1.5
    host.running, host.shut_off = {VM1: "vm1", VM2: "vm2"}, ()
    host.ticks()
    assert host.states() == {VM1: (CLOUD, DEGRADED), VM2: (CLOUD, ENFORCED)}
    told = len(host.told)
    host.ticks(120, period=1.0)
    assert len(host.told) == told and host.held() == pytest.approx(1.5)


def test_degraded_ones_share_what_is_free_by_priority(host: Host) -> None:
    host.running[VM3] = "vm3"
    host.capacity = 2.0
    host.cloud.want(1, {VM1: slo(0.6, priority=1), VM2: slo(0.6, priority=5), VM3: slo(0.8, priority=3)})
    host.ticks()
    assert len(host.floors()) == 3
    running = host.running
    host.running, host.shut_off = {}, tuple(running)
    host.ticks()
    host.capacity = 0.5
    host.running, host.shut_off = running, ()
    host.ticks(30)
    cores = {uuid: i.reserved_cpu_cores for uuid, i in host.store.intents.items()}
    assert cores[VM2] == pytest.approx(0.5) and cores[VM1] == cores[VM3] == 0.0
    assert {state for _, state in host.states().values()} == {DEGRADED}
    host.capacity = 1.5
    host.ticks(2)
    assert set(host.floors()) == {VM2, VM3} and host.held() == pytest.approx(1.5)


@pytest.mark.parametrize("accepted", [True, False])
def test_what_another_host_kept_is_degraded_here_and_takes_nothing_from_others(host: Host, accepted: bool) -> None:
    host.running = {VM2: "vm2"}
    host.cloud.ask(1, **{VM2: 1.5})
    host.ticks()
    host.running[VM1] = "vm1"
    came = Wanted(slo=slo(0.8, priority=90), revision=2, accepted=accepted)
    host.cloud.set = IntentSet(revision=2, wanted={VM2: Wanted(slo=slo(1.5), revision=1), VM1: came})
    host.ticks(2)
    assert host.floors() == {VM2: 1.5}
    assert host.states() == {VM2: (CLOUD, ENFORCED), VM1: (CLOUD, DEGRADED if accepted else REFUSED)}
    assert host.told[-1][0] == VM1 and "needs 0.8 cores" in host.told[-1][3]
    if not accepted:
        assert VM1 not in host.store.intents
        return
    assert host.store.intents[VM1].reserved_cpu_cores == pytest.approx(0.3), "what is free is set aside for it"
    host.capacity = 2.4
    host.ticks(0.5)
    assert host.floors() == {VM2: 1.5, VM1: 0.8}


def test_one_whose_io_became_dearer_than_the_host_has_left_is_degraded_until_there_is_room(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.cloud.ask(1, **{VM1: 0.9, VM2: 0.8})
    host.ticks()
    states: list[object] = []
    missing = {VM1: 0.2}

    def dearer(_: Plain, __: Mapping[str, Intent], following: frozenset[str], state: object) -> Readmitted:
        states.append(state)
        assert following == {VM1, VM2}
        return Readmitted(reserved_cpu_cores={VM1: 1.0}, missing_cpu_cores=dict(missing), state="kept")

    monkeypatch.setattr(Plain, "readmitted", dearer)
    host.ticks(READMIT_SECONDS)
    assert host.states() == {VM1: (CLOUD, DEGRADED), VM2: (CLOUD, ENFORCED)} and host.held() == pytest.approx(1.8)
    assert "0.20 cores" in host.reconciler.standings[VM1].reason
    host.ticks(3 * RETRY_SECONDS)  # it is not admitted by what its floors cost when they were asked for
    assert host.states()[VM1] == (CLOUD, DEGRADED)
    missing.clear()
    host.ticks(READMIT_SECONDS)
    assert host.states()[VM1] == (CLOUD, ENFORCED)
    assert states[:2] == [None, "kept"] and [s for _, _, s, _ in host.told].count(DEGRADED) == 1


# --- what cannot be enforced --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        ({"network_bytes": {"ceiling": "1Gbit/s"}}, "network_bytes.ceiling"),
        ({"network_packets": {"weight": 3}}, "network_packets.weight"),
        ({"block_bytes": {"floor": "1MB/s", "ceiling": "300MB/s"}}, "block_bytes.ceiling"),
        ({"block_latency": {"target": "5ms"}}, "block_latency.target"),
    ],
)
def test_what_no_actuator_enforces_is_refused_by_its_capability(host: Host, keys: object, field: str) -> None:
    host.ticks()
    with pytest.raises(Refused, match="capability") as refusal:
        host.reconciler.change(VM1, lambda _: parse_slo(keys), dry_run=False, view=host.view)
    assert refusal.value.field == field and not host.store.intents
    host.cloud.want(1, {VM1: parse_slo(keys)})
    host.ticks()
    assert host.states() == {VM1: (CLOUD, REFUSED)} and not host.store.intents


def test_a_stored_slo_that_cannot_be_enforced_is_refused_whole(host: Host) -> None:
    stored = parse_slo({"cpu": {"floor": 0.5}, "block_latency": {"target": "5ms"}})
    host.store.set(VM1, stored, reserved_cpu_cores=0.5, estimated=False)
    host.store.save()
    host.start()
    host.ticks(2)
    assert host.states() == {VM1: (MANUAL, REFUSED)} and not host.store.intents
    assert "block_latency_target" in host.reconciler.standings[VM1].reason
    host.by_hand(VM1, 0.5)
    host.ticks()
    assert host.floors() == {VM1: 0.5}


# --- the cloud's set on disk --------------------------------------------------------------------------------------------------


def test_the_clouds_intents_survive_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "cloud.json"
    source = CloudSource(path)
    assert source.poll() is None and source.revision == 0
    bad = wanted({"smell": {"floor": 1}}, 3)
    assert source.publish(417, {VM1.upper(): Wanted(slo=slo(0.5), revision=2), VM2: bad})
    again = CloudSource(path)
    assert again.poll() == source.poll() and again.revision == 417 and set(again.poll().wanted) == {VM1, VM2}  # type: ignore[union-attr]
    path.write_text(path.read_text().replace("417", "418"))
    assert CloudSource(path).poll() is None and "wrong checksum" in caplog.text
    blocked = CloudSource(tmp_path / "cloud.json.set-aside-0" / "x")
    assert not blocked.publish(1, {}) and blocked.revision == 1 and not blocked.persisted


def test_a_dry_run_changes_nothing(host: Host) -> None:
    host.ticks()
    before = host.store.intents
    answer = host.reconciler.change(VM1, lambda _: slo(0.5), dry_run=True, view=host.view)
    assert (answer.generation, answer.reserved_cpu_cores) == (0, 0.5)
    assert host.store.intents == before and not host.store.manual


def test_an_slo_can_be_lowered_where_the_host_is_overfull(host: Host) -> None:
    host.cloud.ask(1, **{VM1: 0.9, VM2: 0.9})
    host.ticks()
    host.capacity = 1.0
    host.cloud.ask(2, **{VM1: 0.8, VM2: 0.95})
    host.ticks()
    assert host.floors() == {VM1: 0.8, VM2: 0.9}
    assert host.states() == {VM1: (CLOUD, ENFORCED), VM2: (CLOUD, REFUSED)}


def test_by_hand_only_what_runs_here(host: Host) -> None:
    host.ticks()
    with pytest.raises(Refused, match="not running"):
        host.by_hand(VM3, 0.5)
