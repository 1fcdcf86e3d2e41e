"""Who is bounded, and until when."""

import pytest

from stella.control.best_effort_throttle import Neighbour, throttled


def neighbour(used: float, *, owed: bool, allocation: float = 0.1) -> Neighbour:
    return Neighbour(uuid="hog", allocation_cores=allocation, used_cores=used, owed_beside=owed)


def test_only_one_that_has_more_than_its_share_while_a_promise_beside_it_is_missed() -> None:
    assert throttled([neighbour(0.35, owed=True)], {}) == {"hog": pytest.approx(0.11)}
    assert throttled([neighbour(0.35, owed=False)], {}) == {}  # weights conserve work: it may have what nobody wants
    assert throttled([neighbour(0.12, owed=True)], {}) == {}


def test_it_stays_while_it_presses_and_follows_the_entitlement() -> None:
    before = {"hog": 0.11}
    assert throttled([neighbour(0.11, owed=False)], before) == {"hog": pytest.approx(0.11)}
    assert throttled([neighbour(0.11, owed=False, allocation=0.3)], before) == {"hog": pytest.approx(0.33)}
    assert throttled([neighbour(0.05, owed=False)], before) == {}
    assert throttled([], before) == {}
