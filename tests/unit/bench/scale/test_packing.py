"""What the packing figure judges by, and its clients against a cloud that is a counter."""

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from stella.bench.scale.openstack import Failed
from stella.bench.scale.packing_audit import (
    Host,
    Ledger,
    added_seconds,
    differing,
    mixture,
    overbooked,
    with_room,
)
from stella.bench.scale.packing_clients import Run, per_host
from stella.bench.scale.packing_cloud import Flavor

_CPU = "CUSTOM_STELLA_CPU_MILLICORES"
_UUID = "00000000-0000-4000-8000-00000000000{}"


def test_overbooked() -> None:
    fine = Ledger(host="a", room={_CPU: 10}, used={_CPU: 10})
    over = Ledger(host="b", room={_CPU: 10}, used={_CPU: 11})
    gone = Ledger(host="c", room={}, used={_CPU: 1})
    assert overbooked([fine], [Host(host="a", capacity_cores=2.0, reserved_cores=2.0)]) == []
    assert overbooked([over, gone], []) == [
        "b: {'CUSTOM_STELLA_CPU_MILLICORES': 1} too much in Placement",
        "c: {'CUSTOM_STELLA_CPU_MILLICORES': 1} too much in Placement",
    ]
    assert overbooked([], [Host(host="a", capacity_cores=2.0, reserved_cores=2.1)]) == [
        "a: 2.100 of 2.000 cores reserved"
    ]


def test_what_is_used_must_be_what_is_allocated() -> None:
    one = Ledger(host="a", room={_CPU: 10}, used={_CPU: 4, "X": 0})
    assert differing([one], {"a": {_CPU: 4}}) == []
    assert len(differing([one], {"a": {_CPU: 3}})) == len(differing([one], {})) == 1


def test_room_is_where_both_say_so() -> None:
    assert with_room(["a", "b"], {"a": False, "b": True, "c": True}) == ["b"]


def test_added_seconds() -> None:
    lines = [
        f"x INFO stella_nova.decisions [r] Stella: filter, 3 of 20 hosts left, took 12.5 ms for instance {_UUID.format(1)}",
        f"Stella: weigher, 3 of 3 hosts left, took 0.5 ms for instance {_UUID.format(1)}",
        f"Stella: filter, 0 of 20 hosts left, took 7.0 ms for instance {_UUID.format(2)}",
        f"Stella: filter, 0 of 20 hosts left, took 9.0 ms for instance {_UUID.format(2)}",
        "Stella: the SLO of flavor gold fits on 3 of 20 hosts",
    ]
    assert added_seconds(lines) == pytest.approx({_UUID.format(1): 0.013, _UUID.format(2): 0.009})


def test_mixture() -> None:
    assert mixture(["a", "b"], 5) == ["a", "b", "a", "b", "a"]


class Cloud:
    """Two hosts with room for three servers each. ``liar``: it refuses although there is room."""

    def __init__(self, *, liar: bool = False, fails: bool = False) -> None:
        self.lock = threading.Lock()
        self.held = {"a": 0, "b": 0}
        self.liar, self.fails = liar, fails
        self.servers: list[dict[str, Any]] = []
        self.overlapping = self.most_overlapping = 0

    def create(self, number: int, flavor: Flavor) -> str:
        if self.fails and number == 1:
            raise Failed("compute: POST /servers: HTTP 503: no")
        with self.lock:
            room = [] if self.liar and number == 2 else [host for host, held in self.held.items() if held < 3]
            one: dict[str, Any] = {
                "id": f"u{number}",
                "status": "ERROR",
                "fault": {"message": "No valid host was found."},
            }
            if room:
                self.held[room[0]] += 1
                one = {"id": f"u{number}", "status": "ACTIVE", "OS-EXT-SRV-ATTR:host": room[0]}
            self.servers.append(one)
        return str(one["id"])

    def changed(self, since: str) -> list[dict[str, Any]]:
        with self.lock:
            return list(self.servers)

    def ledgers(self) -> list[Ledger]:
        return [Ledger(host=host, room={_CPU: 3}, used={_CPU: held}) for host, held in self.held.items()]

    def stella_hosts(self) -> list[Host]:
        return [Host(host="a", capacity_cores=1.0, reserved_cores=1.0)]

    def placement_candidates(self, flavor: Flavor) -> set[str]:
        return {host for host, held in self.held.items() if held < 3}

    def stella_candidates(self, flavor: Flavor) -> Mapping[str, bool]:
        return {"a": True, "b": True}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stella.bench.scale.packing_clients._WATCH_SECONDS", 0.005)
    monkeypatch.setattr("stella.bench.scale.packing_clients._SAMPLE_SECONDS", 0.01)


def run(cloud: Cloud, creates: int) -> Any:
    flavor = Flavor(name="gold", id="f1", vcpus=1, extra_specs={f"resources:{_CPU}": "1", "stella:slo_cpu_floor": "1"})
    assert flavor.resources == {"VCPU": 1, "MEMORY_MB": 64, _CPU: 1}
    return Run(cloud, [flavor] * creates, clients=3).run(lambda asked: None)  # type: ignore[arg-type]


def test_clients_fill_to_the_brim_and_each_refusal_is_replayed() -> None:
    seen = run(Cloud(), 10)
    assert per_host(seen.placed) == {"a": 3, "b": 3}
    assert (seen.refused["gold"], seen.replayed, seen.wrong, seen.failed, seen.over) == (4, 4, [], [], [])
    assert 1 <= seen.freezes <= 4 and seen.samples >= 1 and len(seen.seconds_until_active) == 6


def test_a_refusal_while_there_is_room_is_found() -> None:
    seen = run(Cloud(liar=True), 4)
    assert seen.replayed == 1
    assert seen.wrong in (["gold was refused, and a, b had room"], ["gold was refused, and b had room"])


def test_what_fails_otherwise_is_told() -> None:
    seen = run(Cloud(fails=True), 3)
    assert seen.failed == ["compute: POST /servers: HTTP 503: no"] and len(seen.placed) == 2
