"""What becomes of an SLO when its server changes: a row for each operation, and what may never happen."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stella.control.following import DELETED, SHELVED, SHELVED_OFFLOADED, UNKNOWN, Do, Followed, Server, decide
from stella.control.following import is_same_reason as same
from stella.model.slo import InvalidSlo, Slo, parse_slo
from stella.model.slo_union import together

UUID = "00000000-0000-4000-8000-000000000001"
GOLD, SILVER, PLAIN = {"stella:slo_cpu_floor": "0.4"}, {"stella:slo_cpu_floor": "0.2"}, {"hw:cpu_policy": "shared"}


def cpu(floor: float) -> Slo:
    return parse_slo({"cpu": {"floor": floor}})


def at_most(ceiling: float) -> Slo:
    return parse_slo({"cpu": {"ceiling": ceiling}})


def both(flavor: Slo | None, added: Slo | None) -> Slo | None:
    return together(flavor, added) if flavor is not None and added is not None else flavor or added


def packets(floor: float) -> Slo:
    return parse_slo({"network_packets": {"floor": floor}})


def server(status: str = "ACTIVE", specs: dict[str, str] | None = SILVER, **more: object) -> Server:
    made = Server(uuid=UUID, status=status, host="host1", flavor="a-flavor", extra_specs=specs)
    return replace(made, **more)  # type: ignore[arg-type]


NEW = Followed(host="host1", is_reported=True)
HELD = Followed(host="host1", is_reported=True, flavor=cpu(0.2), is_held=True, cloud_state="ACTIVE")
OFFLOADED = replace(HELD, is_reported=False, is_held=False, is_suspended=True, reason=SHELVED)
FULL = replace(HELD, is_held=False, is_suspended=True, reason="host1: cpu.floor does not fit")

ROWS = {
    "create": (server(), NEW, Do.SET, cpu(0.2)),
    "create, while it is built": (server("BUILD"), NEW, Do.SET, cpu(0.2)),
    "create, not reported yet": (server("BUILD"), replace(NEW, is_reported=False), Do.KEEP, None),
    "create, a flavor without an SLO": (server(specs=PLAIN), NEW, Do.KEEP, None),
    "create, a user's SLO": (server(specs=PLAIN), replace(HELD, flavor=None, added=packets(9)), Do.KEEP, None),
    "seen again": (server(), HELD, Do.KEEP, None),
    "delete": (server(DELETED, None), HELD, Do.WITHDRAW, None),
    "delete while it is shelved": (server(DELETED, None), replace(OFFLOADED, is_silent=True), Do.WITHDRAW, None),
    "delete on a silent host": (server(DELETED, None), replace(HELD, is_silent=True), Do.KEEP, None),
    "delete without an SLO": (server(DELETED, None), NEW, Do.KEEP, None),
    "resize is being done": (server("RESIZE", task_state="resize_migrating"), HELD, Do.KEEP, None),
    "resize": (server("VERIFY_RESIZE", GOLD), HELD, Do.SET, cpu(0.4)),
    "resize, off for a moment": (server("RESIZE", GOLD), replace(HELD, is_reported=False), Do.KEEP, None),
    "resize to another host": (server("VERIFY_RESIZE", GOLD, host="host2"), HELD, Do.KEEP, None),
    "resize confirmed": (server("ACTIVE", GOLD), replace(HELD, flavor=cpu(0.4)), Do.KEEP, None),
    "resize reverted": (server("ACTIVE", SILVER), replace(HELD, flavor=cpu(0.4)), Do.SET, cpu(0.2)),
    "resize to less than the user added": (
        server("VERIFY_RESIZE", SILVER),
        replace(HELD, flavor=cpu(0.4), added=cpu(0.4)),
        Do.SET,
        cpu(0.4),
    ),
    "resize, the user's part stays": (
        server("VERIFY_RESIZE", GOLD),
        replace(HELD, added=packets(9)),
        Do.SET,
        both(cpu(0.4), packets(9)),
    ),
    "resize to a flavor that contradicts what was added": (
        server("VERIFY_RESIZE", GOLD),
        replace(HELD, added=at_most(0.3)),
        Do.SUSPEND,
        cpu(0.4),
    ),
    "resize back from that": (
        server("ACTIVE", SILVER),
        replace(HELD, flavor=cpu(0.4), added=at_most(0.3), is_held=False, is_suspended=True, reason="they contradict"),
        Do.SET,
        both(cpu(0.2), at_most(0.3)),
    ),
    "resize to a flavor without an SLO": (server("VERIFY_RESIZE", PLAIN), HELD, Do.WITHDRAW, None),
    "rebuild": (server("REBUILD", task_state="rebuild_spawning"), replace(HELD, is_reported=False), Do.KEEP, None),
    "rebuilt": (server(), HELD, Do.KEEP, None),
    "shelve, still on its host": (server("SHELVED"), HELD, Do.KEEP, None),
    "shelve": (server(SHELVED_OFFLOADED, host=None), HELD, Do.SUSPEND, cpu(0.2)),
    "shelve, what did not fit": (server(SHELVED_OFFLOADED, host=None), FULL, Do.SUSPEND, cpu(0.2)),
    "shelved": (server(SHELVED_OFFLOADED, host=None), OFFLOADED, Do.KEEP, None),
    "shelve without an SLO": (server(SHELVED_OFFLOADED, PLAIN, host=None), NEW, Do.KEEP, None),
    "unshelve is being done": (server("SHELVED_OFFLOADED", task_state="spawning"), OFFLOADED, Do.KEEP, None),
    "unshelve, not reported yet": (server(), OFFLOADED, Do.KEEP, None),
    "unshelve elsewhere": (server(host="host2"), replace(OFFLOADED, host="host2", is_reported=True), Do.SET, cpu(0.2)),
    "what did not fit is tried again": (server(), FULL, Do.SET, cpu(0.2)),
    "pause": (server("PAUSED"), HELD, Do.KEEP, None),
    "suspend": (server("SUSPENDED"), HELD, Do.KEEP, None),
    "stop": (server("SHUTOFF"), HELD, Do.KEEP, None),
    "soft delete": (server("SOFT_DELETED"), HELD, Do.KEEP, None),
    "error": (server("ERROR"), HELD, Do.KEEP, None),
    "a silent host": (server("VERIFY_RESIZE", GOLD), replace(HELD, is_silent=True), Do.KEEP, None),
    "a cell that is down": (server(UNKNOWN, GOLD), HELD, Do.KEEP, None),
    "extra specs that may not be seen": (server(specs=None), HELD, Do.KEEP, None),
    "extra specs that contradict one another": (server(specs={"stella:slo_cpu_floor": "x"}), HELD, Do.KEEP, None),
}


@pytest.mark.parametrize("name", ROWS)
def test_each_operation(name: str) -> None:
    said, known, do, slo = ROWS[name]
    step = decide(said, known)
    assert (step.do, step.slo) == (do, slo), step
    if do is not Do.KEEP:
        assert step.reason


def test_what_nova_does_not_say_is_not_kept() -> None:
    assert decide(server(UNKNOWN, None), HELD).cloud_state is None
    assert decide(server("PAUSED"), HELD).cloud_state == "PAUSED"


STATUSES = st.sampled_from(
    [
        "ACTIVE",
        "BUILD",
        "ERROR",
        "PAUSED",
        "REBUILD",
        "RESIZE",
        "SHELVED",
        "SHUTOFF",
        UNKNOWN,
        SHELVED_OFFLOADED,
        DELETED,
    ]
)
SERVERS = st.builds(
    Server,
    uuid=st.just(UUID),
    status=STATUSES,
    host=st.sampled_from([None, "host1", "host2"]),
    extra_specs=st.sampled_from([None, GOLD, SILVER, PLAIN]),
)
SLOS = st.sampled_from([None, cpu(0.2), cpu(0.4), packets(9), at_most(0.3)])


def contradict(flavor: Slo | None, added: Slo | None) -> bool:
    try:
        both(flavor, added)
    except InvalidSlo:
        return True
    return False


@st.composite
def known(draw: st.DrawFn) -> Followed:
    flavor, added = draw(SLOS), draw(SLOS)
    kinds = ["held", "suspended"] if not contradict(flavor, added) else ["suspended"]
    kind = draw(st.sampled_from(kinds)) if flavor or added else "none"
    return Followed(
        host="host1",
        is_reported=draw(st.booleans()),
        is_silent=draw(st.booleans()),
        flavor=flavor,
        added=added,
        is_held=kind == "held",
        is_suspended=kind == "suspended",
        reason=draw(st.sampled_from(["", SHELVED, "does not fit"])) if kind == "suspended" else "",
    )


@given(SERVERS, known())
def test_nothing_is_withdrawn_but_what_is_deleted_or_guaranteed_no_more(said: Server, what: Followed) -> None:
    step = decide(said, what)
    if step.do is Do.WITHDRAW:
        assert said.status == DELETED or (said.extra_specs == PLAIN and what.added is None)
    if step.do in (Do.SET, Do.SUSPEND) and contradict(step.flavor, what.added):
        assert (step.do, step.slo) == (Do.SUSPEND, step.flavor)
    elif step.do in (Do.SET, Do.SUSPEND):
        assert step.slo == both(step.flavor, what.added), "what a user added is never lost"
    if step.do is Do.SET:
        assert what.is_reported and not what.is_silent and said.host in (None, what.host)


@given(SERVERS, known())
def test_what_was_done_is_not_done_again(said: Server, what: Followed) -> None:
    step = decide(said, what)
    after = {
        Do.KEEP: what,
        Do.SET: replace(what, flavor=step.flavor, is_held=True, is_suspended=False, reason=""),
        Do.SUSPEND: replace(what, flavor=step.flavor, is_held=False, is_suspended=True, reason=step.reason),
        Do.WITHDRAW: replace(what, flavor=None, added=None, is_held=False, is_suspended=False, reason=""),
    }[step.do]
    assert decide(said, after).do is Do.KEEP


def test_figures_are_no_news() -> None:
    assert same("cpu.floor: only 0.31 cores are free", "cpu.floor: only 0.4 cores are free")
    assert not same("cpu.floor: only 0.31 cores are free", "the host is silent")
    assert not same("does not fit on host1", "does not fit on host2")
    assert not same("does not fit on rack-1", "does not fit on rack-2")
