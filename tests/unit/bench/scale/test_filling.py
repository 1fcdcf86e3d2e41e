"""A filled database is one that its hosts could have reported, and the API takes their reports."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from falcon import testing
from sqlalchemy import func, select

from stella import conf
from stella.api.app import build
from stella.api.identity import new_token
from stella.bench.scale import bodies, filling
from stella.bench.scale.fleet import CAPACITY_CPU_CORES, Fleet, terms_of
from stella.db.database import Database
from stella.db.models import Host, Instance, Minute, RollUp, SloFloor, SloRow

FLEET = Fleet(hosts=11, guaranteed_per_host=6)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path_factory.mktemp('filled')}/stella.sqlite")
    filling.fill(made, FLEET, with_history_of=2)
    yield made
    made.close()


def test_the_fleet_is_the_same_each_time_and_its_instances_differ() -> None:
    assert list(FLEET) == list(FLEET)
    guests = [guest for host in FLEET for guest in host.guests]
    assert len({guest.uuid for guest in guests}) == FLEET.instances == 11 * 20
    assert sum(guest.terms is not None for guest in guests) == 10 * 6 + 3, "one host in ten has half as many SLOs"


def test_what_is_reserved_fits_and_is_the_sum_of_the_slos(database: Database) -> None:
    with database.reader() as session:
        hosts = session.scalars(select(Host)).all()
        sums = dict(
            session.execute(
                select(Instance.host_id, func.sum(SloRow.reserved_cpu_cores))
                .join(SloRow, SloRow.instance_id == Instance.id)
                .group_by(Instance.host_id)
            ).all()
        )
        floors = session.scalar(select(func.count()).select_from(SloFloor))
    assert len(hosts) == FLEET.hosts
    for host in hosts:
        assert host.reserved_cpu_cores == pytest.approx(sums[host.id])
        assert host.free_cpu_cores == pytest.approx(CAPACITY_CPU_CORES - host.reserved_cpu_cores)
        assert host.free_cpu_cores > 0
    assert floors == sum(len(g.terms.slo.objectives) for host in FLEET for g in host.guests if g.terms)


def test_those_with_a_history_have_minutes_hours_and_days(database: Database) -> None:
    with database.reader() as session:
        minutes = session.scalar(select(func.count(func.distinct(Minute.instance_id))))
        spans = set(session.scalars(select(RollUp.span_seconds).distinct()))
    assert minutes == 2 and spans == {3600, 86400}


def test_the_api_takes_the_report_of_an_emulated_host_and_learns_nothing_new(
    database: Database, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens.toml"
    operator = new_token(tokens, user_id="operator", project_id="operators", roles=("admin",))
    path = tmp_path / "stella.conf"
    path.write_text(
        f"[database]\nconnection = sqlite://\n[auth]\ntoken_file = {tokens}\n[api]\nresponse_validation = error\n"
    )
    client = testing.TestClient(build(conf.load([str(path)], logging=False), database))
    *_, host = FLEET
    headers = {"Authorization": f"Bearer {filling.credential_of(host)}"}
    before = client.simulate_get(f"/v1/hosts/{host.name}", headers={"X-Auth-Token": operator}).json
    assert before["instances"] == FLEET.instances_per_host

    intent = client.simulate_get(f"/v1/hosts/{host.name}/intent", headers=headers).json
    assert {uuid: slo["revision"] for uuid, slo in intent["slos"].items()} == {
        guest.uuid: filling.FIRST_REVISION for guest in host.guests if guest.terms
    }
    chance = random.Random(1)
    (printed, *_) = bodies.prepare(host, chance, revision=filling.FIRST_REVISION)
    rows = bodies.minute_rows(host, int(time.time()) // 60 * 60 - 86400, chance)
    report = bodies.print_report(
        agent="a", epoch="e", sequence=9, sent_at=time.time(), printed=printed, minutes=rows, states=printed.states
    )
    answer = client.simulate_post(
        f"/v1/hosts/{host.name}/reports", body=report, headers={**headers, "Content-Type": "application/json"}
    )
    assert answer.status_code == 200, answer.text
    assert answer.json == {"accepted_sequence": 9, "stored_minutes": len(rows), "ignored": []}
    after = client.simulate_get(f"/v1/hosts/{host.name}", headers={"X-Auth-Token": operator}).json
    for changing in ("agent", "reported_at", "overhead_cpu_cores"):
        before.pop(changing), after.pop(changing)
    assert after == before, "capacity and generation are those that were filled in"


def test_the_reservation_is_above_the_floor() -> None:
    assert terms_of(4).reserved_cpu_cores > 2.0 and 0 < terms_of(2).io_ratio < 1
