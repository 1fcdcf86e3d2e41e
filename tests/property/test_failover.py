"""What a host keeps for the loss of another one is enough for each loss, and no more than for all of them."""

from hypothesis import given
from hypothesis import strategies as st

from stella.control.failover import Place, cores_kept, worst_loss

places = st.lists(
    st.builds(
        Place,
        instance=st.integers(1, 1000),
        lost=st.integers(1, 5),
        cores=st.floats(0.01, 3.0),
        io_ratio=st.floats(0.0, 1.0),
        vcpus=st.integers(1, 4),
    ),
    max_size=30,
)


@given(places)
def test_the_pieces_of_each_loss_fit_into_what_is_kept(found: list[Place]) -> None:
    kept = sorted((one.cores for one in worst_loss(found)), reverse=True)
    for lost in {one.lost for one in found}:
        pieces = sorted((one.cores for one in found if one.lost == lost), reverse=True)
        assert len(pieces) <= len(kept) and all(own <= room for own, room in zip(pieces, kept, strict=False))


@given(places)
def test_it_is_between_the_largest_loss_and_all_of_them(found: list[Place]) -> None:
    by_loss = [sum(one.cores for one in found if one.lost == lost) for lost in range(1, 6)]
    assert max(by_loss) - 1e-9 <= cores_kept(found) <= sum(by_loss) + 1e-9


@given(places, places)
def test_another_place_never_lowers_what_is_kept(found: list[Place], more: list[Place]) -> None:
    assert cores_kept(found) <= cores_kept([*found, *more]) + 1e-9
