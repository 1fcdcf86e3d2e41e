"""Relief at the command line: what moves, modes and fences of hosts, and instances that stay where they are."""

import pytest
from client_shell import Shell
from osc_lib.exceptions import CommandError
from stellaclient.osc import hosts, instances, records

from stella.control.relief_view import Kind, MoveDecision, State
from stella.db import hosts as known_hosts
from stella.db import instances as known_instances
from stella.db import moves
from stella.db.database import Session
from stella.db.slos import system_origin
from tests.functional.conftest import Cloud, uuid

VM = uuid(1)


@pytest.fixture(autouse=True)
def move(cloud: Cloud) -> None:
    """compute-1 would be relieved if web-1 went to compute-2."""
    first, second = cloud.host("compute-1"), cloud.host("compute-2")
    first.add(VM, name="web-1")
    assert first.report().status_code == 200 and second.report().status_code == 200
    made = MoveDecision(
        kind=Kind.RELIEF,
        state=State.SUGGESTED,
        source="compute-1",
        destination="compute-2",
        instance=VM,
        freed_cores=0.5,
        predicted_effect=900.0,
        victims=(uuid(2),),
        reason="the floor of another instance is missed on compute-1",
    )

    def keep(session: Session) -> None:
        source, destination = (known_hosts.find(session, name) for name in ("compute-1", "compute-2"))
        found = known_instances.find(session, VM)
        assert source is not None and found is not None
        origin = system_origin(cloud.clock.now)
        moves.open_(session, made, source=source, destination=destination, instance=found[0], origin=origin)

    cloud.database.write(keep)


def test_moves_are_listed_and_shown(shell: Shell, operator: Shell) -> None:
    (row,) = operator.json(records.ListDecisions, "--kind", "relief", "--state", "suggested")
    assert (row["uuid"], row["host"], row["to"], row["state"]) == (VM, "compute-1", "compute-2", "suggested")
    assert (row["predicted_effect_seconds_per_hour"], row["measured_effect_seconds_per_hour"]) == (900.0, None)
    assert operator.json(records.ListDecisions, "--state", "done") == []
    assert "state" not in operator.json(records.ListDecisions)[0]
    shown = operator.json(records.ShowDecision, str(row["id"]))
    assert (shown["freed_cpu_cores"], shown["victims"], shown["outcome"]) == (0.5, [uuid(2)], None)
    told = shell.json(records.ShowDecision, str(row["id"]))
    assert (told["host"], told["to"], told["victims"]) == (None, None, [])
    with pytest.raises(CommandError, match="Decision 999 was not found"):
        operator.run(records.ShowDecision, "999")


def test_modes_and_fences_of_hosts(operator: Shell, cloud: Cloud) -> None:
    assert operator.json(hosts.Set, "compute-1", "--relief-mode", "act")["relief_mode"] == "act"
    assert operator.json(hosts.Set, "compute-1", "--relief-mode", "inherit")["relief_mode"] == "inherit"
    with pytest.raises(CommandError, match="Host compute-1 reports, so it runs"):
        operator.run(hosts.Set, "compute-1", "--fenced")
    with pytest.raises(CommandError, match="name at least one of --mode, --relief-mode, --fenced, --not-fenced"):
        operator.run(hosts.Set, "compute-1")
    cloud.clock.now += 600.0
    assert operator.json(hosts.Set, "compute-1", "--fenced")["fenced_at"] is not None
    assert operator.json(hosts.Set, "compute-1", "--not-fenced")["fenced_at"] is None
    assert operator.json(records.ListDecisions, "--kind", "host_fenced")[0]["reason"] == "not fenced any more"
    assert "state" not in operator.json(records.ShowDecision, "2"), "only of moves"


def test_an_instance_stays_where_its_owner_wants_it(shell: Shell) -> None:
    assert shell.json(instances.Set, "--server", "web-1", "--no-relief")["relief_opt_out"] is True
    assert shell.json(instances.Set, "--server", VM, "--relief")["relief_opt_out"] is False
    with pytest.raises(SystemExit):
        shell.run(instances.Set, "--server", "web-1")
