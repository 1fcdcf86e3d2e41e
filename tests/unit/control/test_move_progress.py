"""What becomes of a move, told from what the cloud shows, and what it has done."""

from dataclasses import replace

import pytest

from stella.control import move_effect
from stella.control.move_progress import ARRIVE_SECONDS, BEGIN_SECONDS, Migration, Movement, UnderWay, progress
from stella.control.relief_view import Kind, State
from stella.model import reasons

NOW = 1_000_000.0
MOVE = UnderWay(
    kind=Kind.RELIEF,
    state=State.MOVING,
    source="a",
    destination="b",
    decided_at=NOW - 10.0,
    since=NOW - 5.0,
    has_arrived=False,
)
RESERVED = replace(MOVE, state=State.RESERVED)
OLD = Migration(kind="live-migration", status="error", source="a", destination="b", created_at=NOW - 1000.0)
NEW = replace(OLD, status="running", created_at=NOW - 4.0)
THERE, HERE = Movement(host="b", status="ACTIVE"), Movement(host="a", status="ACTIVE")

ROWS = {
    "not asked yet": (RESERVED, HERE, State.RESERVED, True),
    "not asked yet, one failed long ago": (RESERVED, replace(HERE, migrations=[OLD]), State.RESERVED, True),
    "asked by an engine that died": (RESERVED, replace(HERE, migrations=[NEW]), State.MOVING, False),
    "the cloud works on it": (RESERVED, replace(HERE, task_state="migrating"), State.MOVING, False),
    "it moves": (MOVE, replace(HERE, task_state="migrating", migrations=[NEW]), State.MOVING, False),
    "between two states": (MOVE, replace(HERE, migrations=[NEW]), State.MOVING, False),
    "asked a moment ago": (MOVE, HERE, State.MOVING, False),
    "never begun": (replace(MOVE, since=NOW - BEGIN_SECONDS), HERE, State.FAILED, False),
    "no valid host": (MOVE, replace(HERE, migrations=[OLD, replace(NEW, status="error")]), State.FAILED, False),
    "cancelled": (MOVE, replace(HERE, migrations=[replace(NEW, status="cancelled")]), State.FAILED, False),
    "there, and not reported": (MOVE, THERE, State.MOVING, False),
    "there": (replace(MOVE, has_arrived=True), THERE, State.DONE, False),
    "there, and still at work": (replace(MOVE, has_arrived=True), replace(THERE, task_state="x"), State.MOVING, False),
    "there, without an agent": (replace(MOVE, since=NOW - ARRIVE_SECONDS), THERE, State.DONE, False),
    "elsewhere": (MOVE, replace(THERE, host="c"), State.FAILED, False),
    "deleted": (MOVE, Movement(host=None, status="DELETED"), State.FAILED, False),
    "broken": (MOVE, replace(HERE, status="ERROR"), State.FAILED, False),
    "rebuilt from ERROR": (replace(MOVE, kind=Kind.EVACUATION), replace(HERE, status="ERROR"), State.MOVING, False),
}


@pytest.mark.parametrize("name", ROWS)
def test_progress(name: str) -> None:
    move, found, state, asks = ROWS[name]
    told = progress(move, found, NOW)
    assert (told.state, told.asks) == (state, asks)
    assert bool(told.reason) == (state is State.FAILED) == bool(reasons.read(told.reason))


def test_the_effect_is_measured_over_whole_minutes_after_it_settled() -> None:
    spans = move_effect.spans(6030.0, 6095.0, 30.0)
    assert (spans.before, spans.after) == ((5700, 6000), (6180, 6480))
    assert not move_effect.is_due(spans, 6509.0) and move_effect.is_due(spans, 6510.0)
    assert move_effect.spans(6000.0, 6150.0, 30.0).after == (6180, 6480)
    assert move_effect.measured_effect(200, 50) == 1800.0
    assert move_effect.measured_effect(50, 200) == -1800.0
    assert move_effect.helped(1800.0, 450.0) and not move_effect.helped(1800.0, 449.0)
    assert not move_effect.helped(0.0, 0.0)
