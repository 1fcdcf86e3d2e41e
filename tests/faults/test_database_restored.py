"""The database is replaced by an older copy: what was promised since stays in force on hosts and in Placement, and it is said."""

import logging
import signal
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from stella.db import hosts
from stella.db.database import Database, Session
from stella.engine.duties.ledger import MOST_UNEXPLAINED, Allocations
from stella.engine.duty import Outcome
from tests.faults.linked import CEILING, Linked
from tests.functional.conftest import Cloud
from tests.functional.process import wait
from tests.functional.test_ledger_faults import CPU, World

_MANY = MOST_UNEXPLAINED + 2


def _copy(source: Path, target: Path) -> None:
    """As a backup tool does: a whole database, whoever writes."""
    with sqlite3.connect(source) as old, sqlite3.connect(target) as new:
        old.backup(new)


def _database_of(linked: Linked) -> Path:
    return linked.cloud.config_path.parent / "stella.sqlite"


@pytest.mark.timeout(300)
def test_hosts_keep_what_was_asked_for_since(linked: Linked, measured: Callable[[str, float], None]) -> None:
    """Also once the restored database has gone on to a higher revision; what is set again is followed without a person on the host."""
    database, backup = _database_of(linked), _database_of(linked).with_name("backup")
    path = linked.path("vm3")
    status, _ = linked.server.ask("DELETE", f"{path}?generation={linked.generations['vm3']}", linked.cloud.admin.token)
    assert status == 204 and wait(lambda: linked.restrained() == 0, 30), linked.log()
    _copy(database, backup)
    body = {"objectives": CEILING}
    assert linked.server.ask("PUT", path, linked.cloud.admin.token, body)[0] == 201
    assert wait(lambda: linked.cloud.admin.get(path).json["state"] == "enforced", 30), linked.log()
    linked.until_holds(10)
    known = linked.agent.link()["revision"]

    linked.server.stop(signal.SIGKILL)
    linked.cloud.database.close()
    for name in ("stella.sqlite-wal", "stella.sqlite-shm"):
        database.with_name(name).unlink(missing_ok=True)
    backup.replace(database)
    linked.cloud.database = Database(f"sqlite:///{database}", connect_retries=0)
    linked.server.start()
    began = time.monotonic()
    assert wait(lambda: "is the API's database older?" in linked.agent.link().get("intent_error", ""), 60)
    measured("doubted after the restore", time.monotonic() - began)
    linked.keeps(1.0)

    floor, ask = (
        linked.path("vm1"),
        lambda method, path, body=None: linked.server.ask(method, path, linked.cloud.admin.token, body),
    )
    while (revision := _revision(linked)) <= known:  # the restored database goes on
        generation = ask("GET", floor)[1]["generation"]
        changed = {"objectives": {"cpu": {"floor": 0.1 + revision / 1000}}, "generation": generation}
        assert ask("PUT", floor, changed)[0] == 200
    assert wait(lambda: "was an older database restored?" in linked.agent.link().get("intent_error", ""), 60), (
        linked.status()["link"]
    )
    linked.keeps(1.0)

    assert ask("PUT", path, body)[0] == 201, "set again by its owner"
    measured("followed again after what was lost was set again", linked.connected())
    assert wait(lambda: ask("GET", path)[1]["state"] == "enforced", 30), linked.log()
    linked.keeps(0.5)


def _revision(linked: Linked) -> int:
    with linked.cloud.database.reader() as session:
        host = hosts.find(session, "host1")
        assert host is not None
        return host.intent_revision


@pytest.mark.timeout(120)
def test_many_holdings_in_placement_are_not_deleted(
    cloud: Cloud, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A dozen SLOs set since the copy are a dozen consumers of which the older database knows nothing."""
    world = World(cloud)
    for number in range(_MANY):
        _add_host(world, f"host{number:02}")
    _copy(tmp_path / "stella.sqlite", tmp_path / "older.sqlite")
    for server in world.servers.values():
        assert cloud.member.put_slo(server, {"cpu": {"floor": 0.5}}).status_code == 201
    assert world.run() == Outcome(changed=_MANY, backlog=0)
    held = {name: world.held(name) for name in world.servers}
    assert min(held.values()) > 0

    older = Database(f"sqlite:///{tmp_path}/older.sqlite", connect_retries=0)
    duty, work = Allocations(world.placement.adapter()), replace(world.work, store=older)
    with caplog.at_level(logging.ERROR):
        outcomes = [duty.run(work) for _ in range(5)]
    assert [outcome.changed for outcome in outcomes] == [0] * 5 and outcomes[-1].backlog == _MANY
    assert {name: world.held(name) for name in world.servers} == held, "nothing is deleted"
    said = [r for r in caplog.records if "is the database an older copy?" in r.getMessage()]
    assert len(said) == 1, "once"
    older.close()

    assert world.run() == Outcome(changed=0, backlog=0), "the newer database explains them all"
    for name, server in list(world.servers.items())[:_MANY]:
        slo = cloud.member.get(f"/v1/instances/{server}/slo").json
        assert (
            cloud.member.ask("DELETE", f"/v1/instances/{server}/slo?generation={slo['generation']}").status_code == 204
        )
        assert world.held(name) > 0
    world.run()
    assert world.run().changed == _MANY, "what was withdrawn goes, however many"
    assert max(world.held(name) for name in world.servers) == 0


def _add_host(world: World, name: str) -> None:
    """A host with one server that has no SLO yet."""
    root, server = str(uuid4()), str(uuid4())
    world.roots[name], world.servers[name] = root, server
    world.children[name] = world.placement.host(root, name, {CPU: 3000})
    agent = world.agents[name] = world.cloud.host(name)
    agent.add(server)
    agent.report()

    def place(session: Session) -> None:
        found = hosts.find(session, name)
        assert found is not None
        hosts.keep_provider(session, found.id, root)

    world.cloud.database.write(place)
