"""Five simulated hosts, at virtual time, against stella-api in this process: an SLO set by REST is enforced, and is accounted for."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from falcon import testing

from stella.sim.host import SimulatedHost
from stella.sim.population import OTHER_PROJECT, PROJECT
from stella.xgos.link.backoff import BackOff
from stella.xgos.link.board import Board
from stella.xgos.link.fetcher import Fetcher
from stella.xgos.link.reporter import Reporter
from stella.xgos.link.transport import Answer
from tests.functional.conftest import Cloud, User, error

HOSTS = 5


class InProcess:
    """A transport that asks the API in this process."""

    def __init__(self, cloud: Cloud, name: str, credential: str) -> None:
        self._client = cloud.client
        self._path = f"/v1/hosts/{name}"
        self._headers = {"Authorization": f"Bearer {credential}", "Content-Type": "application/json"}

    def get_intent(self, etag: str) -> Answer:
        headers = {**self._headers, **({"If-None-Match": etag} if etag else {})}
        return _answer(self._client.simulate_get(f"{self._path}/intent", headers=headers))

    def post_report(self, body: bytes) -> Answer:
        return _answer(self._client.simulate_post(f"{self._path}/reports", body=body, headers=self._headers))


def _answer(result: testing.Result) -> Answer:
    return Answer(status=result.status_code, body=result.content, etag=result.headers.get("etag", ""))


@dataclass
class Link:
    """The link of one host, and when its two sides are due."""

    fetcher: Fetcher
    reporter: Reporter
    fetch_at: float = 0.0
    report_at: float = 0.0
    woken: bool = False

    def wake(self) -> None:
        self.woken = True


class Fleet:
    """Simulated hosts with their links, all on the API's clock."""

    def __init__(self, cloud: Cloud, directory: Path, stack: ExitStack) -> None:
        self._cloud = cloud
        self.hosts: list[SimulatedHost] = []
        self.boards: list[Board] = []
        self._links: list[Link] = []
        for number in range(1, HOSTS + 1):
            name = f"sim{number}"
            credential = cloud.host(name, cpus=4).credential
            made = SimulatedHost(name, directory / name, number=number, unix_seconds=cloud.clock.now, seed=3)
            host = stack.enter_context(closing(made))
            transport, board = InProcess(cloud, name, credential), Board("", name)
            fetcher = Fetcher(
                transport, host.cloud, board, host_name=name, wall=cloud.clock, back_off=BackOff(lambda low, _: low)
            )
            self.hosts.append(host)
            self.boards.append(board)
            reporter = Reporter(
                transport, host.outbox, board, host.published, wall=cloud.clock, back_off=BackOff(lambda low, _: low)
            )
            link = Link(fetcher, reporter)
            host.outbox.state_stored = host.outbox.live.recorded = link.wake
            self._links.append(link)

    def run(self, seconds: int) -> None:
        """Each second all hosts tick, and fetch and report when they are due."""
        for _ in range(seconds):
            self._cloud.clock.now += 1.0
            now = self._cloud.clock.now
            for host, link in zip(self.hosts, self._links, strict=True):
                host.step(1.0)
                if now >= link.fetch_at:
                    link.fetch_at = now + link.fetcher.step()
                while now >= link.report_at or link.woken:
                    link.woken = False
                    link.report_at = now + link.reporter.step()


@pytest.fixture
def fleet(cloud: Cloud, tmp_path: Path) -> Iterator[Fleet]:
    with ExitStack() as stack:
        yield Fleet(cloud, tmp_path / "hosts", stack)


@pytest.fixture
def tenant(cloud: Cloud) -> User:
    return cloud.user("tina", PROJECT, "member")


def named(user: User, name: str) -> str:
    """The uuid of an instance."""
    (found,) = [one for one in user.get("/v1/instances?limit=100").json["instances"] if one["name"] == name]
    return str(found["uuid"])


def test_an_slo_set_by_rest_is_enforced_and_its_attainment_and_usage_appear(
    fleet: Fleet, cloud: Cloud, tenant: User
) -> None:
    fleet.run(5)
    assert all(board.status.report_error == board.status.intent_error == "" for board in fleet.boards)
    assert len(cloud.admin.get("/v1/instances?limit=100").json["instances"]) == HOSTS * 8
    uuid = named(tenant, "web-3")
    assert tenant.put_slo(uuid, {"network_packets": {"floor": "30kpps"}}).status_code == 201
    assert tenant.get(f"/v1/instances/{uuid}/slo").json["state"] == "pending"
    fleet.run(3)
    assert tenant.get(f"/v1/instances/{uuid}/slo").json["state"] == "enforced"

    fleet.run(75)
    answer = tenant.get(f"/v1/instances/{uuid}/attainment")
    (objective,) = answer.json["objectives"]
    seconds = objective["seconds"]
    assert seconds["met"] >= 20, answer.text
    assert seconds["met"] >= 0.95 * (seconds["met"] + seconds["violated"] + seconds["degraded"]), answer.text
    (shown,) = tenant.get(f"/v1/instances/{uuid}").json["objectives"]
    assert shown["usage"] > 0
    (minute, *_) = points(tenant, uuid, step=60)
    (used,) = minute["objectives"]
    assert used["metric"] == "network_packets"
    assert used["usage"] > 0


def points(user: User, uuid: str, *, step: int) -> list[dict[str, Any]]:
    answer = user.get(f"/v1/instances/{uuid}/usage?step={step}")
    assert answer.status_code == 200, answer.text
    return list(answer.json["points"])


def test_who_looks_has_a_point_for_each_second(fleet: Fleet, tenant: User) -> None:
    fleet.run(3)
    uuid = named(tenant, "db-1")
    assert tenant.put_slo(uuid, {"block_bytes": {"floor": "100MB/s"}}).status_code == 201
    fleet.run(4)
    assert points(tenant, uuid, step=1) == [], "nobody has looked so far"
    fleet.run(12)
    found = points(tenant, uuid, step=1)
    assert len(found) >= 8, found


def test_a_host_that_the_api_puts_into_observe_gives_its_knobs_back_and_takes_them_again(
    fleet: Fleet, cloud: Cloud, tenant: User
) -> None:
    fleet.run(3)
    assert tenant.put_slo(named(tenant, "web-1"), {"network_packets": {"floor": "30kpps"}}).status_code == 201
    fleet.run(4)
    instances = fleet.hosts[0].machine.instances.values()

    def weights() -> set[int]:
        return {group.weight for one in instances for group in one.groups}

    assert len(weights()) > 1
    for mode, alike in (("observe", True), ("enforce", False)):
        answer = cloud.admin.ask("PATCH", "/v1/hosts/sim1", json={"mode": mode})
        assert answer.status_code == 200, answer.text
        fleet.run(6)
        assert (weights() == {100}) is alike, mode


def test_the_instance_of_another_project_is_not_there_for_a_tenant(fleet: Fleet, cloud: Cloud, tenant: User) -> None:
    fleet.run(2)
    others = cloud.user("olga", OTHER_PROJECT, "member")
    mine = {one["name"] for one in others.get("/v1/instances?limit=100").json["instances"]}
    assert mine == {f"acme-batch-{n}" for n in range(1, HOSTS + 1)}
    uuid = named(others, "acme-batch-2")
    error(tenant.put_slo(uuid, {"cpu": {"floor": "20%"}}), 404)
    assert others.put_slo(uuid, {"cpu": {"ceiling": "100%"}}).status_code == 201


def test_admission_refuses_what_does_not_fit_on_a_simulated_host(fleet: Fleet, tenant: User) -> None:
    fleet.run(3)
    refused = error(tenant.put_slo(named(tenant, "batch-1"), {"cpu": {"floor": "400%"}}), 422)
    assert "cpu" in str(refused)
