"""What a flavor sells and what a user adds are in force together, and the ledger holds it before the database does."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from falcon import testing

from stella.admission import changes, verdicts
from stella.admission.changes import Why
from stella.api.app import build
from stella.clouds.port import Claim, NoRoom, Unanswered
from stella.db import decisions, slos
from stella.db.models import SloRow
from stella.db.slos import system_origin
from stella.model.slo import parse_slo

from .conftest import Cloud, User

VM = "11111111-1111-4111-8111-111111111111"
FLAVOR = {"cpu": {"floor": 0.2}, "network_packets": {"floor": 2000, "direction": "tx"}}


@dataclass
class Book:
    """A ledger in memory, that can be full or away."""

    held: dict[str, Mapping[str, int]] = field(default_factory=dict)
    steps: list[Mapping[str, int]] = field(default_factory=list)
    full: NoRoom | None = None
    away: bool = False
    cloud: Cloud | None = None
    seen_in_database: list[str | None] = field(default_factory=list)

    def hold(self, claim: Claim) -> None:
        if self.away:
            raise Unanswered("placement: away")
        if self.full is not None:
            raise self.full
        assert self.cloud is not None
        with self.cloud.database.reader() as session:
            present = changes.read(session, claim.instance)
        assert present is not None
        self.seen_in_database.append(present.kept.objectives if present.kept is not None else None)
        self.steps.append(claim.resources)
        self.held[claim.instance] = claim.resources


@pytest.fixture
def book(cloud: Cloud) -> Book:
    """A cloud whose API counts in it, with an instance of a flavor that sells nothing yet."""
    made = Book(cloud=cloud)
    cloud.client = testing.TestClient(build(cloud.config, cloud.database, clock=cloud.clock, ledger=made))
    cloud.member = User(cloud.member.token, cloud.client)
    agent = cloud.host("host1", cpus=4)
    agent.add(VM, project="p1")
    assert agent.report().status_code == 200
    return made


def sell(cloud: Cloud, objectives: object = FLAVOR) -> None:
    """The instance's flavor sells this, and the engine has put it in force."""
    slo = parse_slo(objectives)
    with cloud.database.reader() as session:
        present = changes.read(session, VM)
    assert present is not None
    margin = cloud.config.link.reservation_margin_ratio
    verdict = verdicts.ask(slo, host=present.host, instance=present.instance, holdings=present.holdings, margin=margin)
    assert verdict.accepted, verdict

    def remember(session: Any) -> bool:
        found = changes.read(session, VM)
        found.instance.flavor_objectives = json.dumps(objectives)
        return True

    why = Why(kind=decisions.SLO_ACCEPTED, reason="of the flavor")
    terms = changes.terms(slo, added=None, verdict=verdict)
    book = Book(cloud=cloud)
    assert changes.change(cloud.database, book, present, terms, system_origin(0.0), why, also=remember) is not None


def kept(cloud: Cloud) -> SloRow:
    with cloud.database.reader() as session:
        present = changes.read(session, VM)
    assert present is not None and present.row is not None
    return present.row


def test_a_user_adds_to_what_the_flavor_sells_and_takes_only_that_back(cloud: Cloud, book: Book) -> None:
    sell(cloud)
    set_ = cloud.member.put_slo(VM, {"cpu": {"floor": 0.3}, "block_bytes": {"floor": 1e6}}, generation=1)
    assert set_.status_code == 200, set_.text
    assert set_.json["objectives"]["cpu"]["floor"] == 0.3, "the larger of the two"
    assert set_.json["objectives"]["network_packets"] == {"floor": 2000, "direction": "tx"}, "the flavor's stays"
    assert set_.json["flavor_objectives"] == FLAVOR
    assert set(set_.json["added_objectives"]) == {"cpu", "block_bytes"}
    less = cloud.member.put_slo(VM, {"cpu": {"floor": 0.1}}, generation=2)
    assert less.json["objectives"]["cpu"]["floor"] == 0.2, "less than the flavor sells takes nothing away"
    assert cloud.member.ask("DELETE", f"/v1/instances/{VM}/slo", query_string="generation=3").status_code == 204
    left = cloud.member.get(f"/v1/instances/{VM}/slo").json
    assert (left["objectives"], left["added_objectives"]) == (FLAVOR, {})
    refused = cloud.member.ask("DELETE", f"/v1/instances/{VM}/slo", query_string="generation=4")
    assert (refused.status_code, refused.json["errors"][0]["code"]) == (409, "stella.slo.of_flavor")


def test_what_contradicts_the_flavor_is_refused(cloud: Cloud, book: Book) -> None:
    sell(cloud)
    for objectives, field_ in (
        ({"cpu": {"ceiling": 0.1}}, "objectives.cpu.floor"),
        ({"network_packets": {"floor": 10, "direction": "rx"}}, "objectives.network_packets.direction"),
    ):
        answer = cloud.member.put_slo(VM, objectives, generation=1)
        assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, field_), answer.text
    assert kept(cloud).generation == 1


def test_the_ledger_is_raised_before_the_database_and_lowered_after_it(cloud: Cloud, book: Book) -> None:
    assert cloud.member.put_slo(VM, {"network_packets": {"floor": 3000}}).status_code == 201
    assert book.seen_in_database == [None]
    assert book.held[VM]["CUSTOM_STELLA_NET_KPPS"] == 3
    assert book.held[VM]["CUSTOM_STELLA_CPU_MILLICORES"] > 0
    changed = cloud.member.put_slo(VM, {"block_bytes": {"floor": 1e6}}, generation=1)
    assert changed.status_code == 200
    both, after = book.steps[1], book.steps[2]
    assert both["CUSTOM_STELLA_NET_KPPS"] == 3 and both["CUSTOM_STELLA_BLOCK_MBPS"] == 1
    assert "CUSTOM_STELLA_NET_KPPS" not in after or after["CUSTOM_STELLA_NET_KPPS"] == 0
    assert "block_bytes" in str(book.seen_in_database[2]), "lowered once the database had it"
    assert cloud.member.ask("DELETE", f"/v1/instances/{VM}/slo", query_string="generation=2").status_code == 204
    assert not any(book.held[VM].values())


def test_a_full_ledger_refuses_with_what_it_has_room_for(cloud: Cloud, book: Book) -> None:
    book.full = NoRoom("CUSTOM_STELLA_NET_KPPS", 2)
    answer = cloud.member.put_slo(VM, {"network_packets": {"floor": 3000}})
    error = answer.json["errors"][0]
    assert (answer.status_code, error["code"]) == (422, "stella.slo.does_not_fit")
    assert error["field"] == "objectives.network_packets.floor"
    assert error["counter_offer"]["largest"] == {"network_packets": 2000.0}
    assert cloud.member.get(f"/v1/instances/{VM}/slo").status_code == 404


def test_without_the_ledger_nothing_is_added(cloud: Cloud, book: Book) -> None:
    assert cloud.member.put_slo(VM, {"cpu": {"floor": 0.3}}).status_code == 201
    book.away = True
    answer = cloud.member.put_slo(VM, {"cpu": {"floor": 0.4}}, generation=1)
    assert (answer.status_code, answer.json["errors"][0]["code"]) == (503, "stella.server.placement_unreachable")
    assert kept(cloud).generation == 1
    less = cloud.member.put_slo(VM, {"cpu": {"floor": 0.2}}, generation=1)
    assert less.status_code == 200, "less needs no room"
    assert cloud.member.ask("DELETE", f"/v1/instances/{VM}/slo", query_string="generation=2").status_code == 204


def test_a_suspended_slo_is_kept_and_holds_nothing(cloud: Cloud, book: Book) -> None:
    agent_intent = cloud.member.put_slo(VM, {"cpu": {"floor": 0.3}})
    assert agent_intent.status_code == 201
    with cloud.database.reader() as session:
        present = changes.read(session, VM)
    assert present is not None and present.all is not None
    terms = changes.suspended(present.all, added=present.added, because="shelved")
    why = Why(kind=decisions.SLO_ACCEPTED, reason="suspended")
    changes.change(cloud.database, book, present, terms, system_origin(1.0), why)
    shown = cloud.member.get(f"/v1/instances/{VM}/slo").json
    assert (shown["state"], shown["reason"], shown["reserved_cpu_cores"]) == ("suspended", "shelved", 0.0)
    assert shown["added_objectives"] == {"cpu": {"floor": 0.3}}
    assert not any(book.held[VM].values())
    with cloud.database.reader() as session:
        assert slos.on_host(session, present.host.id) == []
    listed = cloud.member.get("/v1/instances", query_string="status=suspended").json["instances"]
    assert [one["uuid"] for one in listed] == [VM]
