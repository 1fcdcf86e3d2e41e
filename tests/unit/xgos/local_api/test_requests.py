"""Requests: what is wrong is refused in one line that names the field, and nothing was changed."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stella.model.attainment import Cause, Status
from stella.model.intent import IntentState, Standing
from stella.model.slo import InvalidSlo, Metric, parse_slo
from stella.model.snapshot import UplinkReading
from stella.xgos import supervision
from stella.xgos.intents.changes import IntentEvent
from stella.xgos.local_api.answers import answer
from stella.xgos.local_api.format import status_text
from stella.xgos.local_api.requests import (
    LARGEST_REQUEST_BYTES,
    OPERATIONS,
    BadRequest,
    find_instance,
    merge_slo,
    parse_request,
    without,
)
from tests.unit.xgos.conftest import NOW, ODD_NAME, TWIN, VM1, VM2, FakePort, make_published, report


def ask(port: FakePort, op: str, **keys: object) -> dict[str, Any]:
    found: dict[str, Any] = answer(json.dumps({"op": op, **keys}).encode(), port, NOW + 5)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


def error_field(found: dict[str, object]) -> str:
    assert found["ok"] is False
    error = found["error"]
    assert isinstance(error, dict) and "\n" not in error["message"]
    return str(error["field"])


def test_setting_by_uuid_and_by_name(port: FakePort) -> None:
    found = ask(port, "slo.set", instance="vm1", slo={"cpu": {"floor": "20%"}})
    assert found == {
        "ok": True, "uuid": VM1, "generation": 1, "slo": {"cpu": {"floor": 0.2}}, "reserved_cpu_cores": 0.2,
        "estimated": True, "note": "", "dry_run": False,
    }  # fmt: skip
    assert ask(port, "slo.set", instance=VM2, slo={"cpu": {"floor": 1}})["generation"] == 1
    assert set(port.store.intents) == {VM1, VM2}


def test_metacharacters_in_a_name_are_just_a_name(port: FakePort) -> None:
    assert ask(port, "slo.set", instance=ODD_NAME, slo={"cpu": {"floor": 1}})["ok"] is True


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        ({"instance": "twin", "slo": {"cpu": {"floor": 1}}}, "instance"),
        ({"instance": "nobody", "slo": {"cpu": {"floor": 1}}}, "instance"),
        ({"instance": "", "slo": {"cpu": {"floor": 1}}}, "instance"),
        ({"instance": 3, "slo": {"cpu": {"floor": 1}}}, "instance"),
        ({"instance": "vm1"}, "slo"),
        ({"instance": "vm1", "slo": {}}, "slo"),
        ({"instance": "vm1", "slo": {"smell": {"floor": 1}}}, "smell"),
        ({"instance": "vm1", "slo": {"cpu": {"floor": "20pps"}}}, "cpu.floor"),
        ({"instance": "vm1", "slo": {"cpu": {"floor": "nan"}}}, "cpu.floor"),
        ({"instance": "vm1", "slo": {"cpu": {"floor": -1}}}, "cpu.floor"),
        ({"instance": "vm1", "slo": {"cpu": {"floor": 0}}}, "cpu.floor"),
        ({"instance": "vm1", "slo": {"cpu": {"floor": 1e308}}}, "cpu.floor"),
        ({"instance": "vm1", "slo": {"cpu": {"floor": "9e999999"}}}, "cpu.floor"),
        ({"instance": "vm1", "slo": {"cpu": {"floor": True}}}, "cpu.floor"),
        ({"instance": "vm1", "slo": {"cpu": {"weight": 0}}}, "cpu.weight"),
        ({"instance": "vm1", "slo": {"cpu": {"floor": 1, "direction": "tx"}}}, "cpu.direction"),
        ({"instance": "vm1", "slo": {"cpu": {"floor": 1}}, "dry_run": 1}, "dry_run"),
        ({"instance": "vm1", "slo": {"cpu": {"floor": 1}}, "colour": 1}, "colour"),
        ({"instance": "vm1", "slo": {"cpu": {"floor": 2}}}, "cpu.floor"),
    ],
)
def test_what_is_wrong_names_its_field_and_changes_nothing(port: FakePort, keys: dict[str, object], field: str) -> None:
    assert error_field(ask(port, "slo.set", **keys)) == field
    assert not port.store.intents


def test_a_refusal_tells_what_would_fit(port: FakePort) -> None:
    error = ask(port, "slo.set", instance="vm1", slo={"cpu": {"floor": 2}})["error"]
    assert isinstance(error, dict) and error["largest"] == {"cpu": 1.8}


def test_dry_run_changes_nothing(port: FakePort) -> None:
    assert ask(port, "slo.set", instance="vm1", slo={"cpu": {"floor": 1}}, dry_run=True)["ok"] is True
    assert not port.store.intents


def test_a_later_set_keeps_the_rest() -> None:
    old = parse_slo({"cpu": {"floor": 0.5}, "network_packets": {"floor": 20000, "direction": "tx"}})
    new = merge_slo(old, {"network_packets": {"ceiling": "40kpps"}, "block_latency": {"target": "5ms"}}, replace=False)
    packets = new.objective(Metric.NETWORK_PACKETS)
    assert packets and (packets.floor, packets.ceiling, packets.direction) == (20000, 40000, "tx")
    assert new.floor(Metric.CPU) == 0.5 and new.objective(Metric.BLOCK_LATENCY)
    with pytest.raises(InvalidSlo, match=r"network_packets\.floor: is above the ceiling"):
        merge_slo(old, {"network_packets": {"ceiling": 5}}, replace=False)
    assert merge_slo(
        new, {"network_packets": {"ceiling": None}, "cpu": None, "block_latency": None}, replace=False
    ) == (parse_slo({"network_packets": {"floor": 20000, "direction": "tx"}}))
    assert merge_slo(new, {"cpu": {"floor": 1}}, replace=True) == parse_slo({"cpu": {"floor": 1}})
    with pytest.raises(InvalidSlo):
        merge_slo(old, {"cpu": None, "network_packets": None}, replace=False)


def test_unset(port: FakePort) -> None:
    assert error_field(ask(port, "slo.unset", instance="vm1")) == "instance"
    ask(port, "slo.set", instance="vm1", slo={"cpu": {"floor": 1}, "block_bytes": {"floor": "1MB/s"}})
    assert error_field(ask(port, "slo.unset", instance="vm1", metrics=["smell"])) == "metrics"
    assert error_field(ask(port, "slo.unset", instance="vm1", metrics=["block_latency"])) == "block_latency"
    assert ask(port, "slo.unset", instance="vm1", metrics=["cpu"])["slo"] == {"block_bytes": {"floor": 1e6}}
    assert ask(port, "slo.unset", instance="vm1") == {
        "ok": True, "uuid": VM1, "generation": 3, "slo": None, "reserved_cpu_cores": 0.0, "dry_run": False,
    }  # fmt: skip
    assert not port.store.intents
    assert without(parse_slo({"cpu": {"floor": 1}}), frozenset({Metric.CPU})) is None


def test_an_slo_of_an_instance_that_is_gone_can_be_withdrawn(port: FakePort) -> None:
    port.store.set("gone", parse_slo({"cpu": {"floor": 1}}), reserved_cpu_cores=1.0, estimated=True)
    assert ask(port, "slo.show", instance="gone")["ok"] is True
    assert ask(port, "slo.unset", instance="gone")["ok"] is True


def test_show_list_and_instances(port: FakePort) -> None:
    ask(port, "slo.set", instance="vm1", slo={"cpu": {"floor": 0.5}})
    port.history.record(NOW, [(VM1, [report(), report(Status.VIOLATED, metric=Metric.NETWORK_PACKETS)])])
    shown = ask(port, "slo.show", instance="vm1")["instance"]
    assert isinstance(shown, dict)
    assert (shown["name"], shown["project"], shown["reserved_cpu_cores"]) == ("vm1", "p1", 0.5)
    cpu, packets = shown["objectives"]
    assert (cpu["status"], cpu["attainment"]["1m"]["ratio"]) == ("MET", 1.0)
    assert (packets["status"], packets["cause"], packets["attainment"]["today"]["ratio"]) == ("VIOLATED", "cpu", 0.0)
    assert shown["cpu_cost"] == {"network_packets": 2.0e-5}
    assert ask(port, "slo.list")["instances"] == [shown]
    instances = ask(port, "instances")["instances"]
    assert isinstance(instances, list) and len(instances) == 4


def test_pending_until_a_window_has_closed(port: FakePort, monkeypatch: pytest.MonkeyPatch) -> None:
    slo = parse_slo({"cpu": {"floor": 0.5, "ceiling": 1}})
    for uuid in (VM1, "gone"):
        port.store.set(uuid, slo, reserved_cpu_cores=0.5, estimated=True)
    published = replace(make_published(port.store.intents), pending=frozenset({VM1, "gone"}))
    monkeypatch.setattr(port, "published", lambda: published)
    shown = {i["uuid"]: i["objectives"] for i in ask(port, "slo.list")["instances"]}
    assert [(o["status"], o["cause"], o["usage"]) for o in shown[VM1]] == [
        ("PENDING", None, 0.5),
        ("PENDING", None, 1.5),
    ]
    assert [(o["kind"], o["status"], o["usage"]) for o in shown["gone"]] == [
        ("floor", "PENDING", None),
        ("ceiling", "PENDING", None),
    ]


def test_what_became_of_an_intent_is_shown_beside_what_is_in_force(
    port: FakePort, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, asked = parse_slo({"cpu": {"floor": 0.5}}), parse_slo({"cpu": {"floor": 4}})
    port.store.set(VM1, kept, reserved_cpu_cores=0.5, estimated=True, source="cloud", revision=3)
    standings = {
        VM1: Standing(
            uuid=VM1, source="cloud", revision=4, state=IntentState.REFUSED, slo=asked, reason="too much",
            largest=((Metric.CPU, 1.8),),
        ),
        "elsewhere": Standing(uuid="elsewhere", source="file", revision=1, state=IntentState.PENDING, reason="not here"),
    }  # fmt: skip
    published = replace(
        make_published(port.store.intents),
        standings=standings,
        capabilities={"cpu_floor": "", "block_latency_target": "not enforced"},
        events=(IntentEvent(wall_seconds=1.0, uuid=VM1, message="refused"),),
    )
    monkeypatch.setattr(port, "published", lambda: published)
    shown = {i["uuid"]: i for i in ask(port, "slo.list")["instances"]}
    assert shown[VM1]["slo"] == {"cpu": {"floor": 0.5}} and shown[VM1]["flavor"] == ""
    assert shown[VM1]["intent"] == {
        "source": "cloud", "revision": 4, "state": "refused", "reason": "too much", "largest": {"cpu": 1.8},
        "slo": {"cpu": {"floor": 4.0}}, "in_force_source": "cloud", "in_force_revision": 3,
    }  # fmt: skip
    assert shown["elsewhere"]["intent"]["state"] == "pending" and shown["elsewhere"]["slo"] is None
    assert shown["elsewhere"]["intent"]["in_force_revision"] is None
    assert ask(port, "slo.show", instance=VM2)["instance"]["intent"] is None
    status = ask(port, "status")
    assert status["intent_states"] == {"pending": 1, "enforced": 0, "refused": 1, "degraded": 0}
    assert status["capabilities"]["block_latency_target"] == "not enforced"
    assert status["intent_events"] == [{"wall_seconds": 1.0, "uuid": VM1, "message": "refused"}]
    assert status["thread_restarts"] == dict(supervision.restarts())


def test_windows(port: FakePort) -> None:
    port.history.record(NOW, [(VM1, [report(kind="ceiling"), report(Status.VIOLATED, cause=Cause.CPU)])])
    port.history.record(NOW + 1, [])
    assert ask(port, "windows", after=NOW - 1)["windows"] == [
        {
            "start": NOW,
            "seconds": 1,
            "instances": {
                VM1: {
                    "cpu": {
                        "kind": "floor", "value": 0.5, "usage": 0.5, "demand": 0.75, "status": "VIOLATED", "cause": "cpu",
                        "offender": None,
                    }
                }
            },
        },
        {"start": NOW + 1, "seconds": 1, "instances": {}},
    ]  # fmt: skip
    assert ask(port, "windows", after=NOW + 1)["windows"] == []
    assert error_field(ask(port, "windows", after="x")) == "after"
    assert error_field(ask(port, "windows", after=-1)) == "after"


def test_violations_status_snapshot_calibrate(port: FakePort) -> None:
    for second in range(2):
        port.violations.record(NOW + second, [("gone", "old", [report(Status.VIOLATED, cause=Cause.CPU)])])
    (episode,) = ask(port, "violations", open=True)["violations"]
    assert (episode["uuid"], episode["cause"], episode["open"]) == ("gone", "cpu", True)
    assert ask(port, "violations", instance="old")["violations"] == [episode]
    assert ask(port, "violations", instance="vm1")["violations"] == []
    status = ask(port, "status")
    assert (status["ticks"], status["late_ticks"], status["mode"]) == (3, 1, "enforce")
    assert status["capacity_cpu_cores"] == 1.8 and status["persisted"] is True
    snapshot = ask(port, "snapshot")
    assert snapshot["snapshot"]["host"]["cores"] == 2
    assert ask(port, "calibrate")["priors"] == {"io_per_packet_seconds": 1.1e-5}


def test_before_the_first_tick(port: FakePort) -> None:
    port.ready = False
    for op in ("status", "slo.list", "snapshot", "instances"):
        assert error_field(ask(port, op)) == "agent"


def test_a_name_in_the_form_of_a_uuid_means_nobody_else() -> None:
    known = [(VM1, "vm1"), (VM2, TWIN)]  # the second one calls itself by another's uuid
    assert find_instance(VM1.upper(), known) == VM1
    with pytest.raises(BadRequest):
        find_instance(TWIN, known)


def test_finding_instances() -> None:
    known = [(VM1, "vm1"), (VM2, "twin"), (TWIN, "twin"), ("u", ""), (VM1, "")]
    assert find_instance(VM1, known) == VM1 == find_instance("vm1", known)
    for text in ("twin", "", "VM1", "vm1 ", "x\ny"):
        with pytest.raises(BadRequest) as error:
            find_instance(text, known)
        assert error.value.field == "instance" and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b"", "request"),
        (b"\xff\xfe", "request"),
        (b"{", "request"),
        (b"[]", "request"),
        (b'{"op": "slo.set", "x": NaN}', "request"),
        (b"[" * 60_000, "request"),
        (b" " * (LARGEST_REQUEST_BYTES + 1), "request"),
        (b"{}", "op"),
        (b'{"op": ["status"]}', "op"),
        (b'{"op": "reboot"}', "op"),
        (b'{"op": "status", "x": 1}', "x"),
    ],
)
def test_bad_lines(line: bytes, field: str) -> None:
    with pytest.raises(BadRequest) as error:
        parse_request(line)
    assert error.value.field == field


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["20%", "twin", VM1, "vm1", "1e309"]),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.text()
            | st.sampled_from(["cpu", "block_bytes", "floor", "ceiling", "weight", "direction", "priority", "unit"]),
            children,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.binary()
    | _JSON.map(lambda value: json.dumps(value).encode())
    | st.tuples(
        st.sampled_from(sorted(OPERATIONS)),
        st.dictionaries(
            st.sampled_from(["instance", "slo", "metrics", "dry_run", "replace", "after", "open", "since"]),
            _JSON,
            max_size=3,
        ),
    ).map(lambda pair: json.dumps({"op": pair[0], **pair[1]}).encode())
)
def test_whatever_arrives_is_answered(port: FakePort, line: bytes) -> None:
    found = answer(line, port, NOW)
    json.dumps(found, allow_nan=False)
    assert found["ok"] in (True, False)
    if not found["ok"]:
        error_field(found)  # type: ignore[arg-type]


def test_status_tells_uplinks_and_the_links_that_cannot_be_limited(
    port: FakePort, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_published({})
    uplink = UplinkReading(name="eth0", capacity=1e6, tx_bytes=0)
    first, *others = made.snapshot.instances
    (link,) = first.links or ()
    bad = replace(link, uplink="eth0", unlimited_because=(("tx_bytes", "macvtap"), ("rx_bytes", "macvtap")))
    lost = replace(link, name="tap9", uplink_lack="it reaches none")
    snapshot = replace(
        made.snapshot,
        host=replace(made.snapshot.host, uplinks=(uplink,)),
        instances=(replace(first, links=(bad, lost)), *others),
    )
    why = "senders do not slow down"
    shown = replace(made, snapshot=snapshot, capabilities={"network_received_floor": why})
    monkeypatch.setattr(port, "published", lambda: shown)
    status = ask(port, "status")
    assert status["uplinks"] == [{"name": "eth0", "instances": 1}]
    assert [(one["link"], one["limits"]) for one in status["links_not_limited"]] == [
        ("tap0", {"tx_bytes": "macvtap", "rx_bytes": "macvtap"}),
        ("tap9", {"uplink": "it reaches none"}),
    ]
    text = status_text(status)
    assert "uplinks: eth0 (1 instances)" in text and "cannot be limited in tx_bytes, rx_bytes: macvtap" in text
    answer = ask(port, "slo.set", instance="vm1", slo={"network_bytes": {"floor": 1e5, "direction": "rx"}})
    assert answer["note"] == why
