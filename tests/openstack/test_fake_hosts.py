"""Nova's scheduler with Stella's filter and weigher over fake hosts: spread, full, refused, and Stella away.

Placement, Nova's scheduler, stella-api and stella-engine are real; on the three hosts nothing runs (`docs/openstack/packing.md`).
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from stella.bench.scale.openstack import Failed, OpenStack, read

from .conftest import REPOSITORY, RUN, Person, eventually

pytestmark = pytest.mark.alone

HOSTS = ("fake1", "fake2", "fake3")
NAME = "fake-hosts-test"
ZONE = "fake"
LOG = RUN / "openstack" / "log" / "nova-scheduler.log"
# A host has 8 cores, of which a little less than 7.6 can be guaranteed; a floor on CPU takes a tenth more. So one large fits.
SOLD: Mapping[str, tuple[int, Mapping[str, Any]]] = {
    "large": (4, {"cpu": {"floor": 3.5}}),
    "small": (1, {"cpu": {"floor": 0.5}}),
    "tiny": (1, {"cpu": {"floor": 0.05}}),
}


def laboratory(*words: str) -> None:
    """`python -m laboratory WORDS...` of the checkout that made the cloud."""
    done = subprocess.run(
        [sys.executable, "-m", "laboratory", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "deploy")},
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr


class Fakes:
    """What the tests make and ask."""

    def __init__(self) -> None:
        self.cloud = OpenStack(read(RUN / "openstack.env"))
        self.image = self.cloud.ask("image", "GET", "/images?name=stella-fake")["images"][0]["id"]
        self.flavors = {name: self._flavor(name, *sold) for name, sold in SOLD.items()}

    def _flavor(self, name: str, vcpus: int, objectives: Mapping[str, Any]) -> str:
        ask = self.cloud.ask
        specs = ask("stella", "POST", "/v1/estimates", {"objectives": objectives, "vcpus": vcpus})["extra_specs"]
        body = {"name": f"{NAME}-{name}", "vcpus": vcpus, "ram": 64, "disk": 0}
        made = str(ask("compute", "POST", "/flavors", {"flavor": body})["flavor"]["id"])
        ask("compute", "POST", f"/flavors/{made}/os-extra_specs", {"extra_specs": specs})
        return made

    def create(self, *flavors: str) -> list[dict[str, Any]]:
        """Servers of these flavors, asked for one after the other; each with its host, or what went wrong."""
        made = []
        for flavor in flavors:
            server = {
                "name": f"{NAME}-{flavor}",
                "flavorRef": self.flavors[flavor],
                "imageRef": self.image,
                "networks": "none",
                "availability_zone": ZONE,
            }
            made.append(
                self._settled(self.cloud.ask("compute", "POST", "/servers", {"server": server})["server"]["id"])
            )
        return made

    def _settled(self, uuid: str) -> dict[str, Any]:
        def show() -> dict[str, Any]:
            found = self.cloud.ask("compute", "GET", f"/servers/{uuid}")["server"]
            return {
                "id": uuid,
                "status": found["status"],
                "host": found["OS-EXT-SRV-ATTR:host"],
                "fault": found.get("fault", {}).get("message", ""),
            }

        return dict(eventually(show, lambda one: one["status"] in ("ACTIVE", "ERROR"), seconds=90))

    def guaranteed(self, *servers: Mapping[str, Any]) -> None:
        """Wait until Stella has made the SLOs that the flavors sell."""
        wanted = {one["id"] for one in servers}

        def lacking() -> set[str]:
            found = self.cloud.ask("stella", "GET", "/v1/instances?limit=1000")["instances"]
            return wanted - {one["uuid"] for one in found if one["slo_state"] in ("pending", "enforced")}

        eventually(lacking, lambda left: not left, seconds=60)

    def remove(self) -> None:
        with contextlib.suppress(Failed):
            for one in self.cloud.ask("compute", "GET", f"/servers?all_tenants=1&name={NAME}-")["servers"]:
                self.cloud.ask("compute", "DELETE", f"/servers/{one['id']}", expected=(404,))
        for each in self.flavors.values():
            self.cloud.ask("compute", "DELETE", f"/flavors/{each}", expected=(404,))


@pytest.fixture(scope="module")
def fakes() -> Iterator[Fakes]:
    """Three hosts and three flavors; all of it is removed."""
    try:
        laboratory("fake-hosts", str(len(HOSTS)))
        made = Fakes()
        try:
            yield made
        finally:
            made.remove()
    finally:
        laboratory("fake-hosts", "0")


def test_each_goes_where_stella_sees_most_head_room(fakes: Fakes) -> None:
    """With Stella's multiplier raised for the zone, as an operator does it: Nova's own weighers would take the emptiest host."""
    (aggregate,) = (
        one for one in fakes.cloud.ask("compute", "GET", "/os-aggregates")["aggregates"] if one["name"] == ZONE
    )
    raised = {"stella_head_room_weight_multiplier": "100"}
    path = f"/os-aggregates/{aggregate['id']}/action"
    fakes.cloud.ask("compute", "POST", path, {"set_metadata": {"metadata": raised}})
    large = fakes.create("large")
    fakes.guaranteed(*large)
    tiny = fakes.create("tiny", "tiny", "tiny")
    assert [one["status"] for one in (*large, *tiny)] == ["ACTIVE"] * 4, (large, tiny)
    assert large[0]["host"] not in {one["host"] for one in tiny}, "it has one server, but the least head-room"
    more = fakes.create("large", "large")
    assert {one["host"] for one in (*large, *more)} == set(HOSTS), "the full host is avoided"
    fakes.guaranteed(*more, *tiny)


def test_what_fits_nowhere_is_refused_and_explained(fakes: Fakes, admin: Person) -> None:
    (refused,) = fakes.create("large")
    assert refused["status"] == "ERROR" and "No valid host" in refused["fault"], refused
    explained = {row["host"]: row for row in admin.openstack("slo", "explain", "--flavor", f"{NAME}-large")}
    for host in HOSTS:
        assert explained[host]["fits"] is False, explained
        assert "cores of CPU" in explained[host]["why_not"] and "largest that fits" in explained[host]["why_not"]
    (small,) = fakes.create("small")
    assert small["status"] == "ACTIVE", "what is smaller still fits"


def test_without_stella_placement_holds_and_afterwards_stella_is_asked_again(fakes: Fakes) -> None:
    laboratory("service", "stop", "stella-api")
    try:
        position = LOG.stat().st_size
        tiny, large = fakes.create("tiny", "large")
        assert tiny["status"] == "ACTIVE", tiny
        assert large["status"] == "ERROR" and "No valid host" in large["fault"], large
        assert "Stella did not answer" in since(LOG, position)
    finally:
        laboratory("service", "start", "stella-api")
    eventually(lambda: silent(fakes), lambda left: not left, seconds=90)
    time.sleep(6)  # `retry_seconds` of [stella] in nova.conf
    position = LOG.stat().st_size
    (again,) = fakes.create("tiny")
    assert again["status"] == "ACTIVE", again
    said = since(LOG, position)
    assert "did not answer" not in said and "3 of 3 hosts left, took" in said, said
    fakes.guaranteed(tiny, again)


def silent(fakes: Fakes) -> set[str]:
    """The hosts that have not reported since Stella is back; all while it does not answer."""
    try:
        found = fakes.cloud.ask("stella", "GET", "/v1/hosts?limit=1000")["hosts"]
    except Failed:
        return set(HOSTS)
    return set(HOSTS) - {one["name"] for one in found if not one["silent"]}


def since(path: Path, position: int) -> str:
    """What was written to a log after it was so long."""
    with path.open("rb") as file:
        file.seek(position)
        return file.read().decode(errors="replace")
