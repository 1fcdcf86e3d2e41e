"""What must hold of every division of a resource, whatever the claims."""

import math

from hypothesis import given
from hypothesis import strategies as st

from stella.control.cpu import SMALLEST_REST_RATIO, CpuClaim, LocalClaim, divide, divide_each, spread_ceiling
from stella.control.share import Claim, grant_floors, share

amounts = st.floats(0, 100, allow_nan=False)
claims = st.lists(
    st.builds(
        Claim,
        floor=amounts,
        demand=st.one_of(amounts, st.just(math.inf)),
        ceiling=st.one_of(amounts, st.just(math.inf)),
        weight=st.floats(0.01, 100),
        priority=st.integers(0, 3),
    ),
    min_size=1,
    max_size=12,
)
EPS = 1e-6


@given(amounts, claims)
def test_capacity_is_conserved_and_nobody_exceeds_its_bound(capacity: float, given_claims: list[Claim]) -> None:
    grants = share(capacity, given_claims)
    assert sum(g.total for g in grants) <= capacity + EPS
    for claim, grant in zip(given_claims, grants, strict=True):
        assert -EPS <= grant.total <= claim.bound + EPS
        assert grant.floor <= min(claim.floor, claim.bound) + EPS


@given(amounts, claims)
def test_nothing_is_left_while_somebody_wants_more(capacity: float, given_claims: list[Claim]) -> None:
    grants = share(capacity, given_claims)
    used = sum(g.total for g in grants)
    hungry = any(c.bound > g.total + EPS for c, g in zip(given_claims, grants, strict=True))
    assert not hungry or used >= capacity - EPS


@given(amounts, claims)
def test_floors_come_before_shares(capacity: float, given_claims: list[Claim]) -> None:
    wanted = sum(min(c.floor, c.bound) for c in given_claims)
    grants = share(capacity, given_claims)
    if wanted <= capacity:
        for claim, grant in zip(given_claims, grants, strict=True):
            assert grant.total >= min(claim.floor, claim.bound) - EPS


@given(amounts, claims)
def test_a_higher_priority_is_never_cut_for_a_lower_one(capacity: float, given_claims: list[Claim]) -> None:
    granted = grant_floors(capacity, given_claims)
    for high, got_high in zip(given_claims, granted, strict=True):
        if got_high < min(high.floor, high.bound) - EPS:
            for low, got_low in zip(given_claims, granted, strict=True):
                if low.priority < high.priority:
                    assert got_low <= EPS


@given(amounts, claims, st.randoms())
def test_order_does_not_matter(capacity: float, given_claims: list[Claim], random) -> None:  # type: ignore[no-untyped-def]
    order = list(range(len(given_claims)))
    random.shuffle(order)
    straight = share(capacity, given_claims)
    shuffled = share(capacity, [given_claims[i] for i in order])
    for place, i in enumerate(order):
        assert math.isclose(shuffled[place].total, straight[i].total, abs_tol=1e-4)


@given(amounts, claims, st.floats(1.0, 10.0))
def test_more_weight_never_gives_less(capacity: float, given_claims: list[Claim], factor: float) -> None:
    first = given_claims[0]
    heavier = [
        Claim(
            floor=first.floor,
            demand=first.demand,
            ceiling=first.ceiling,
            weight=first.weight * factor,
            priority=first.priority,
        ),
        *given_claims[1:],
    ]
    assert share(capacity, heavier)[0].total >= share(capacity, given_claims)[0].total - EPS


cpu_claims = st.lists(
    st.builds(
        CpuClaim,
        uuid=st.uuids().map(str),
        reserved_cores=st.floats(0, 2),
        floor_cores=st.floats(0, 2),
        needed_cores=st.floats(0, 4),
        active=st.booleans(),
        weight=st.floats(0.1, 10),
        priority=st.integers(0, 2),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda c: c.uuid,
)


@given(st.floats(0.5, 64), cpu_claims)
def test_active_cpu_shares_never_exceed_the_host(capacity: float, given_claims: list[CpuClaim]) -> None:
    shares = divide(capacity, given_claims)
    active = [shares[c.uuid] for c in given_claims if c.active]
    assert sum(s.reservation_cores for s in active) <= capacity + EPS
    assert sum(s.allocation_cores for s in active) <= capacity + EPS
    assert all(s.allocation_cores > 0 for s in shares.values())


@given(st.floats(0.5, 64), cpu_claims)
def test_a_reservation_within_admission_is_always_granted(capacity: float, given_claims: list[CpuClaim]) -> None:
    within = sum(min(c.reserved_cores, c.needed_cores) for c in given_claims if c.active)
    if within <= capacity * 0.95:
        shares = divide(capacity, given_claims)
        for claim in given_claims:
            assert shares[claim.uuid].reservation_cores >= min(claim.reserved_cores, claim.needed_cores) - EPS


@given(
    st.floats(0.05, 16),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=16),
)
def test_a_spread_ceiling_never_sums_to_more(ceiling: float, vcpus: list[tuple[float, float]]) -> None:
    bounds = spread_ceiling(ceiling, [v[0] for v in vcpus], [v[1] for v in vcpus])
    assert sum(bounds) <= ceiling + EPS
    assert all(b <= 1 + EPS for b in bounds)
    assert sum(bounds) >= min(ceiling, len(vcpus)) - EPS


local_claims = st.lists(
    st.builds(
        LocalClaim,
        uuid=st.sampled_from("abcdef"),
        cpu=st.integers(0, 2),
        reserved_cores=st.floats(0, 0.5),
        weight=st.floats(0.1, 4),
    ),
    max_size=9,
)


@given(st.floats(0.5, 1), local_claims)
def test_each_cpu_serves_its_reservations_first_and_gives_all_it_has(
    each: float, given_claims: list[LocalClaim]
) -> None:
    granted = divide_each(each, given_claims)
    for uuid, got in granted.items():
        assert sum(got.values()) >= sum(c.reserved_cores for c in given_claims if c.uuid == uuid) - 1e-9
    cpus = {c.cpu for c in given_claims}
    taken = {cpu: sum(c.reserved_cores for c in given_claims if c.cpu == cpu) for cpu in cpus}
    most = sum(max(each, taken[cpu] + SMALLEST_REST_RATIO * each) for cpu in cpus)
    assert abs(sum(sum(got.values()) for got in granted.values()) - most) <= 1e-6
