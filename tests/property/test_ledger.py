"""What users add is in Placement as the database has it, wherever the processes that write both end; and nothing else is touched."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from uuid import UUID, uuid5

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stella.clouds.openstack import allocations
from stella.clouds.openstack.allocations import CONSUMER_TYPE, Exceeded, PlacementLedger
from stella.clouds.openstack.placement import Changed
from stella.clouds.port import Claim, NoRoom
from stella.control.ledger import Surplus, consumer_of, could_be_ours, reconcile
from stella.model.resources import NAMES, at_least, beyond
from tests.unit.clouds.emulated_placement import UNKNOWN, Allocated, Answer, Died, EmulatedPlacement

ROOT = "8d0c2f5a-7a53-4f2f-9f3a-0c8f2a1b7d10"
CHILD = str(uuid5(UUID(ROOT), "stella"))
INSTANCES = tuple(f"5f0e3a52-4f0a-4f1f-8a38-00000000000{n}" for n in range(3))
MIGRATIONS = {instance: f"0d6f4a9e-2f6b-4f57-b7f4-00000000000{n}" for n, instance in enumerate(INSTANCES)}
FOREIGN = str(uuid5(UUID(ROOT), "of another product"))
CLASSES = NAMES[:2]

amounts = st.dictionaries(st.sampled_from(CLASSES), st.integers(1, 100))
instances = st.sampled_from(INSTANCES)


@given(amounts, amounts)
def test_the_larger_of_two_holds_each_and_nothing_more(one: Mapping[str, int], other: Mapping[str, int]) -> None:
    both = at_least(one, other)
    assert not beyond(one, both) and not beyond(other, both)
    assert all(amount in (one.get(name), other.get(name)) for name, amount in both.items())
    assert at_least(one, beyond(other, one)) == {**other, **one} or set(both) == {*one, *other}


class Ledgers(RuleBasedStateMachine):
    """A database (`in_force`), an emulated Placement, processes that change both and may end, and an engine that compares."""

    def __init__(self) -> None:
        super().__init__()
        self.placement = EmulatedPlacement()
        self.in_force: dict[str, Mapping[str, int]] = {}
        self.surplus: Mapping[str, Surplus] = {}
        self.steps_to_live: int | None = None
        self.others: dict[str, Allocated] = {}
        self.placement.before = self._before
        self.ledger = PlacementLedger(self.placement.adapter(), migrations=lambda instance: (MIGRATIONS[instance],))

    def _before(self, method: str, path: str) -> Answer | None:
        if self.steps_to_live is not None:
            self.steps_to_live -= 1
            if self.steps_to_live < 0:
                raise Died
        return None

    @initialize(room=st.sampled_from([60, 250, 10_000]))
    def a_host(self, room: int) -> None:
        self.placement.provider(CHILD, dict.fromkeys(CLASSES, room))

    def _nova(self, consumer: str, resources: Mapping[str, int], **more: str) -> None:
        self.placement.allocate(consumer, {CHILD: resources}, **more)
        self.others = {uuid: deepcopy(one) for uuid, one in self.placement.consumers.items() if one.type == UNKNOWN}

    @rule(instance=instances, resources=amounts)
    def a_flavor(self, instance: str, resources: Mapping[str, int]) -> None:
        self._nova(instance, resources)

    @rule(instance=instances)
    def a_move_begins(self, instance: str) -> None:
        held = self.placement.held(instance, CHILD)
        self._nova(MIGRATIONS[instance], held)
        self._nova(instance, {})

    @rule(instance=instances)
    def a_move_is_given_up(self, instance: str) -> None:
        held = self.placement.held(MIGRATIONS[instance], CHILD)
        self._nova(MIGRATIONS[instance], {})
        self._nova(instance, held)

    @rule(resources=amounts)
    def another_product(self, resources: Mapping[str, int]) -> None:
        self._nova(FOREIGN, resources)

    @rule(instance=instances, wanted=amounts, steps=st.none() | st.integers(0, 12))
    def an_slo_is_changed(self, instance: str, wanted: Mapping[str, int], steps: int | None) -> None:
        """As `stella.admission.changes` does it: more, the database, less. It ends after ``steps`` requests and commits."""
        before = self.in_force.get(instance, {})
        self.steps_to_live = steps
        try:
            self.ledger.hold(replace(self._claim(instance, at_least(before, wanted)), at_least=True))
            self._before("commit", "")
            self.in_force[instance] = wanted
            self.ledger.hold(self._claim(instance, wanted))
        except (Died, NoRoom):
            pass
        finally:
            self.steps_to_live = None

    @rule(instance=instances)
    def a_database_is_restored_without_it(self, instance: str) -> None:
        self.in_force.pop(instance, None)

    @precondition(lambda self: self.placement.ours(CHILD))
    @rule(data=st.data())
    def an_operator_deletes_an_allocation_of_ours(self, data: st.DataObject) -> None:
        consumer = data.draw(st.sampled_from(sorted(self.placement.ours(CHILD))))
        self.placement.allocate(consumer, {})

    @rule(steps=st.none() | st.integers(0, 4))
    def the_engine_runs(self, steps: int | None) -> None:
        self.steps_to_live = steps
        try:
            self._reconcile()
        except Died:
            self.surplus = {}  # another engine leads, and remembers nothing
        finally:
            self.steps_to_live = None

    def _claim(self, instance: str, resources: Mapping[str, int]) -> Claim:
        return Claim(instance=instance, project="p1", provider=ROOT, resources=resources)

    def _wanted(self) -> dict[str, Mapping[str, int]]:
        holdings = allocations.read(self.placement.adapter(), CHILD)
        assert holdings is not None
        return {
            consumer_of(instance, ROOT): beyond(
                resources, self.ledger.part_of_nova(self._claim(instance, resources), holdings.consumers)
            )
            for instance, resources in self.in_force.items()
        }

    def _reconcile(self) -> None:
        adapter = self.placement.adapter()
        holdings = allocations.read(adapter, CHILD)
        assert holdings is not None
        wanted = self._wanted()
        plan = reconcile(wanted, holdings.consumers, self.surplus)
        for change in (*plan.raises, *plan.lowers):
            if change.consumer in wanted or allocations.is_ours(adapter, change.consumer):
                try:
                    allocations.write(adapter, change, child=CHILD, project="p1")
                except (Exceeded, Changed):
                    continue
        self.surplus = plan.surplus

    @invariant()
    def what_is_not_ours_is_as_it_was(self) -> None:
        assert {uuid: one for uuid, one in self.placement.consumers.items() if one.type == UNKNOWN} == self.others

    @invariant()
    def ours_are_known_by_their_uuid(self) -> None:
        assert all(could_be_ours(consumer) for consumer in self.placement.ours(CHILD))

    def teardown(self) -> None:
        """When all is quiet, three runs are enough: one that adds, two that see the same surplus."""
        if CHILD not in self.placement.totals:
            return
        for _ in range(3):
            self._reconcile()
        wanted = {consumer_of(instance, ROOT): self._beyond_nova(instance) for instance in self.in_force}
        held = {consumer: one.resources for consumer, one in self.placement.ours(CHILD).items()}
        whole = {
            consumer_of(instance, ROOT): self.in_force[instance] for instance in self.in_force if self._moves(instance)
        }
        for consumer in {*wanted, *held}:
            left_over = beyond(held.get(consumer, {}), wanted.get(consumer, {}))
            assert not left_over or held[consumer] == whole.get(consumer), "nothing is left over"
            missing = beyond(wanted.get(consumer, {}), held.get(consumer, {}))
            assert not missing or self._is_full(consumer, wanted[consumer])

    def _moves(self, instance: str) -> bool:
        """Whether a migration has its place. Until that ends an own consumer that holds all of the SLO may go on doing so."""
        return not self.placement.held(instance, CHILD) and bool(self.placement.held(MIGRATIONS[instance], CHILD))

    def _beyond_nova(self, instance: str) -> Mapping[str, int]:
        """What an own consumer should hold: without what the server, or the migration that took its place, holds."""
        nova = self.placement.held(instance, CHILD) or self.placement.held(MIGRATIONS[instance], CHILD)
        rest = {name: amount - nova.get(name, 0) for name, amount in self.in_force[instance].items()}
        return {name: amount for name, amount in rest.items() if amount > 0}

    def _is_full(self, consumer: str, wanted: Mapping[str, int]) -> bool:
        stock = {name: self.placement.totals[CHILD][name] - self.placement.used(CHILD, name) for name in CLASSES}
        held = self.placement.held(consumer, CHILD)
        return any(amount - held.get(name, 0) > stock[name] for name, amount in wanted.items())


TestLedgers = Ledgers.TestCase
TestLedgers.settings = settings(max_examples=150, stateful_step_count=30)


@given(
    st.dictionaries(instances, amounts),
    st.dictionaries(instances, amounts),
    st.dictionaries(instances, amounts),
)
def test_who_is_at_work_is_not_disturbed(
    before: Mapping[str, Mapping[str, int]],
    after: Mapping[str, Mapping[str, int]],
    flavors: Mapping[str, Mapping[str, int]],
) -> None:
    """A run in the middle of a change, and the change: Placement never holds less than what is in force then."""
    placement = EmulatedPlacement()
    placement.provider(CHILD, dict.fromkeys(CLASSES, 10_000))
    ledger = PlacementLedger(placement.adapter())
    for instance, resources in flavors.items():
        placement.allocate(instance, {ROOT: {"VCPU": 1}, CHILD: resources})
    in_force: dict[str, Mapping[str, int]] = dict(before)

    def runs_once() -> None:
        wanted = {
            consumer_of(instance, ROOT): beyond(resources, flavors.get(instance, {}))
            for instance, resources in in_force.items()
        }
        holdings = allocations.read(placement.adapter(), CHILD)
        assert holdings is not None
        plan = reconcile(wanted, holdings.consumers, {})
        assert not plan.lowers, "nothing goes when it is seen for the first time"
        for change in plan.raises:
            allocations.write(placement.adapter(), change, child=CHILD, project="p1")
        for instance, resources in in_force.items():
            own, nova = placement.held(consumer_of(instance, ROOT), CHILD), flavors.get(instance, {})
            assert all(own.get(name, 0) + nova.get(name, 0) >= amount for name, amount in resources.items())

    runs_once()
    for instance in INSTANCES:
        old, new = before.get(instance, {}), after.get(instance, {})
        hold = [at_least(old, new), new]
        ledger.hold(Claim(instance=instance, project="p1", provider=ROOT, resources=hold[0]))
        runs_once()
        in_force[instance] = new
        runs_once()
        ledger.hold(Claim(instance=instance, project="p1", provider=ROOT, resources=hold[1]))
        runs_once()
    assert set(placement.consumers) - set(flavors) == {
        consumer_of(instance, ROOT)
        for instance, resources in after.items()
        if beyond(resources, flavors.get(instance, {}))
    }
    assert all(one.type == CONSUMER_TYPE for uuid, one in placement.consumers.items() if uuid not in flavors)
