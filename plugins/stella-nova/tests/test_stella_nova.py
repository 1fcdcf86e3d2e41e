"""Filter and weigher without Nova, against the real API behind a socket; and Stella down, slow, wrong."""

import re
import threading
import tomllib
from pathlib import Path
from typing import Any

import pytest
from nova_values import Flavor, Spec, hosts, load
from oslo_config import cfg
from oslo_context import context
from stella_nova import decisions, options, patterns
from stella_nova.candidates import Candidate, Candidates, Question, Unanswered, read
from stella_nova.transport import HttpTransport

from stella.model import flavor as stella_flavor
from tests.functional.conftest import Cloud, uuid

_GOLD = {"stella:slo_cpu_floor": "0.5", "stella:slo_network_packets_floor": "10000", "hw:cpu_policy": "shared"}


class Made:
    """Candidates with the warnings that they gave, and a clock that the test moves."""

    def __init__(self, config: cfg.ConfigOpts) -> None:
        self.now = 1000.0
        self.warnings: list[str] = []
        retry_seconds = config[options.GROUP].retry_seconds
        self.candidates = Candidates(
            HttpTransport(config), retry_seconds=retry_seconds, warn=self.warnings.append, clock=lambda: self.now
        )

    def passing(self, spec: Spec, *names: str) -> list[str]:
        found = hosts(*names)
        return [host.host for host in decisions.passing(decisions.ask(self.candidates, spec, found), spec, found)]

    def weights(self, spec: Spec, *names: str, head_room: float = 1.0, attainment: float = 1.0) -> list[float]:
        found = hosts(*names)
        multipliers = {"head_room_weight_multiplier": head_room, "attainment_weight_multiplier": attainment}
        answer = decisions.ask(self.candidates, spec, found)
        return decisions.weights(answer, found, lambda host, name: multipliers[name])


@pytest.fixture
def fleet(cloud: Cloud) -> None:
    """One host with room, one half full, one full, one that only observes."""
    for name, mode, cpus, held in (
        ("roomy", "enforce", 8, 0),
        ("half", "enforce", 8, 6),
        ("full", "enforce", 1, 1),
        ("watching", "observe", 8, 0),
    ):
        agent = cloud.host(name, mode=mode, cpus=cpus)
        names = [uuid(abs(hash(name)) % 10**6 * 100 + number) for number in range(held)]
        for one in names:
            agent.add(one)
        assert agent.report().status_code == 200
        for one in names:
            assert cloud.member.put_slo(one, {"cpu": {"floor": 0.5}}).status_code == 201


@pytest.fixture
def made(config: cfg.ConfigOpts) -> Made:
    return Made(config)


@pytest.mark.usefixtures("fleet")
def test_filter_and_weigher_ask_once(made: Made, front: Any) -> None:
    context.RequestContext(request_id="req-1")
    spec = Spec(Flavor(_GOLD))
    assert made.passing(spec, "roomy", "half", "full", "watching", "unknown") == ["roomy", "half"]
    roomy, half = made.weights(spec, "roomy", "half")
    assert roomy > half > 1.0, "no demand yet: attainment counts as kept"
    assert made.weights(spec, "half", "roomy", attainment=0.0) == pytest.approx([half - 1.0, roomy - 1.0])
    assert (
        made.weights(spec, "roomy", "half", head_room=-1.0)[0] < made.weights(spec, "roomy", "half", head_room=-1.0)[1]
    )
    (body,) = front.bodies
    assert body["extra_specs"] == {name: value for name, value in _GOLD.items() if name.startswith("stella:")}
    assert (body["vcpus"], body["instance"]) == (1, spec.instance_uuid)
    context.RequestContext(request_id="req-2")
    made.passing(spec, "roomy")
    assert len(front.bodies) == 2, "another request asks anew"
    made.passing(spec, "roomy", "half")
    assert len(front.bodies) == 3, "a host that was not asked about"
    made.now += 60
    made.passing(spec, "roomy")
    assert len(front.bodies) == 4, "it was long ago"


def test_the_time_that_it_took_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    decisions.note("filter", Spec(Flavor(_GOLD)), hosts=20, left=3, seconds=0.01234)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == (
        "Stella: filter, 3 of 20 hosts left, took 12.3 ms for instance 00000000-0000-4000-8000-000000000099"
    )


@pytest.mark.usefixtures("fleet")
def test_several_instances_at_once_are_one_question(made: Made, front: Any) -> None:
    context.RequestContext(request_id="req-many")
    for number in range(5):
        assert made.passing(Spec(Flavor(_GOLD), instance_uuid=uuid(900 + number), num_instances=5), "roomy") == [
            "roomy"
        ]
    assert len(front.bodies) == 1 and "instance" not in front.bodies[0]


@pytest.mark.usefixtures("fleet")
def test_flavors_without_slo_are_no_question(made: Made, front: Any) -> None:
    spec = Spec(Flavor({"hw:cpu_policy": "shared", "resources:CUSTOM_STELLA_NET_KPPS": "1"}))
    assert made.passing(spec, "unknown", "full") == ["unknown", "full"]
    assert made.weights(spec, "unknown", "full") == [0.0, 0.0]
    assert front.bodies == [] and made.warnings == []


@pytest.mark.usefixtures("fleet")
def test_what_a_user_set_beside_a_flavor_without_slo_is_asked_for_when_the_instance_moves(
    made: Made, front: Any, cloud: Any
) -> None:
    one, plain = uuid(77), {"hw:cpu_policy": "shared"}
    home = cloud.host("home", cpus=8)
    home.add(one)
    assert home.report().status_code == 200
    new = Spec(Flavor(plain), instance_uuid=one)
    moving = Spec(Flavor(plain), instance_uuid=one, ignore_hosts=["home"])
    assert made.passing(new, "full", "roomy") == ["full", "roomy"] and front.bodies == []
    assert made.passing(moving, "full", "roomy", "unknown") == ["full", "roomy", "unknown"], "it has no SLO"
    assert cloud.member.put_slo(one, {"cpu": {"floor": 0.5}}).status_code == 201
    made.now += 60
    assert made.passing(moving, "full", "roomy", "unknown") == ["roomy"]
    assert "extra_specs" not in front.bodies[-1] and front.bodies[-1]["instance"] == one and made.warnings == []
    assert made.weights(moving, "roomy")[0] > 0.0


@pytest.mark.usefixtures("fleet")
def test_a_flavor_that_contradicts_itself_fits_nowhere(made: Made) -> None:
    spec = Spec(Flavor({"stella:slo_cpu_floor": "2", "stella:slo_cpu_ceiling": "1"}, vcpus=4))
    assert made.passing(spec, "roomy", "half") == []
    assert len(made.warnings) == 1 and "is above the ceiling" in made.warnings[0]
    assert made.passing(Spec(Flavor(_GOLD)), "roomy") == ["roomy"], "that was no failure of Stella"


@pytest.mark.parametrize(
    ("status", "content", "told"),
    [
        (503, b'{"errors": [{"code": "stella.server.database_unreachable", "detail": "It cannot."}]}', "503 (stella."),
        (500, b"<html>", "it answered 500"),
        (401, b"{}", "it answered 401"),
        (403, b"[]", "it answered 403"),
        (404, b"", "it answered 404"),
        (200, b"not json", "is not that of stella-api"),
        (200, b"[]", "is not that of stella-api"),
        (200, b'{"candidates": [{"host": "roomy"}]}', "is not that of stella-api"),
        (200, b'{"candidates": [{"host": "roomy", "fits": "yes"}]}', "is not that of stella-api"),
        (200, b'{"candidates": [{"host": "roomy", "fits": true, "head_room_ratio": "x"}]}', "is not that of stella"),
    ],
)
@pytest.mark.usefixtures("fleet")
def test_stella_is_wrong(made: Made, front: Any, status: int, content: bytes, told: str) -> None:
    """All hosts pass, the weigher is neutral, one warning, no second question for a while; then it works again."""
    real, front.answer = front.answer, lambda *_: (status, content)
    spec = Spec(Flavor(_GOLD))
    assert made.passing(spec, "roomy", "full") == ["roomy", "full"]
    assert made.weights(spec, "roomy", "full") == [0.0, 0.0]
    assert made.passing(Spec(Flavor(_GOLD), instance_uuid=uuid(5)), "roomy", "full") == ["roomy", "full"]
    assert len(front.bodies) == 1 and len(made.warnings) == 1
    assert told in made.warnings[0] and "\n" not in made.warnings[0]
    front.answer = real
    made.now += 6
    assert made.passing(Spec(Flavor(_GOLD), instance_uuid=uuid(6)), "roomy", "full") == ["roomy"]


@pytest.mark.usefixtures("fleet")
def test_stella_is_slow(front: Any, cloud: Cloud, tmp_path: Path) -> None:
    """The time-out of ``[stella]`` holds; what comes later disturbs nothing."""
    token = f"auth_type = admin_token\nendpoint = {front.url}\ntoken = {cloud.service.token}\n"
    assert load(tmp_path, token)[options.GROUP].timeout == options.TIMEOUT_SECONDS
    slow = Made(load(tmp_path, f"{token}timeout = 1\n"))
    release = threading.Event()
    front.answer = lambda *_: (release.wait(30), (200, b"{}"))[1]
    try:
        assert slow.passing(Spec(Flavor(_GOLD)), "roomy", "full") == ["roomy", "full"]
        assert "timed out" in slow.warnings[0].lower()
    finally:
        release.set()


def test_stella_is_away_or_not_configured(tmp_path: Path) -> None:
    for group in ("auth_type = admin_token\nendpoint = http://127.0.0.1:9\ntoken = x\n", "auth_type = nonsense\n", ""):
        away = Made(load(tmp_path, group))
        assert away.passing(Spec(Flavor(_GOLD)), "a", "b") == ["a", "b"], group
        assert away.weights(Spec(Flavor(_GOLD)), "a", "b") == [0.0, 0.0]
        assert len(away.warnings) == 1 and "\n" not in away.warnings[0]


@pytest.mark.usefixtures("fleet")
def test_endpoint_override_and_names_that_cannot_be(front: Any, cloud: Cloud, tmp_path: Path) -> None:
    group = f"auth_type = admin_token\nendpoint = http://127.0.0.1:9\ntoken = {cloud.service.token}\n"
    other = Made(load(tmp_path, f"{group}endpoint_override = {front.url}\n"))
    assert other.passing(Spec(Flavor(_GOLD)), "roomy", "a b", "../x", "") == ["roomy"]
    assert front.bodies[0]["hosts"] == ["roomy"] and other.warnings == []


@pytest.mark.usefixtures("fleet")
def test_many_threads(made: Made, front: Any) -> None:
    """Requests at once get their own answers; each asks once."""
    results: dict[int, list[list[str]]] = {}

    def schedule(number: int) -> None:
        context.RequestContext(request_id=f"req-{number}")
        spec = Spec(Flavor(_GOLD if number % 2 else {"stella:slo_cpu_floor": "0.1"}), instance_uuid=uuid(number))
        results[number] = [made.passing(spec, "roomy", "half", "full") for _ in range(3)]

    threads = [threading.Thread(target=schedule, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {0: ["roomy", "half", "full"], 1: ["roomy", "half"]}
    assert {number: found == [expected[number % 2]] * 3 for number, found in results.items()} == dict.fromkeys(
        range(16), True
    )
    assert len(front.bodies) == 16


def test_more_hosts_than_one_call_takes(made: Made, front: Any) -> None:
    names = [f"h{number}" for number in range(2500)]
    assert made.passing(Spec(Flavor(_GOLD)), *names) == []
    assert [len(body["hosts"]) for body in front.bodies] == [1000, 1000, 500]


def test_the_cache_does_not_grow(made: Made) -> None:
    for number in range(600):
        made.candidates.find(f"req-{number}", Question(extra_specs=(("stella:slo_cpu_floor", "1"),), vcpus=1), [])
    assert len(made.candidates._kept) == 256


def test_ratios_are_ratios() -> None:
    one = {"host": "a", "fits": True, "head_room_ratio": 7, "attainment_ratio": -1, "reason": "x\ny", "more": 1}
    assert read({"candidates": [one]}) == {
        "a": Candidate(fits=True, reason="x y", head_room_ratio=1.0, attainment_ratio=0.0)
    }
    with pytest.raises(Unanswered):
        read({"candidates": {"a": 1}})


def test_the_patterns_are_those_of_stella() -> None:
    """The plugin may not import Stella: that both know the same extra specs is checked here."""
    assert set(patterns.SPECS) - {stella_flavor.PRIORITY} <= set(stella_flavor.SPECS)
    for name in set(stella_flavor.SPECS) - set(patterns.SPECS):
        with pytest.raises(stella_flavor.InvalidSlo):
            stella_flavor.slo_of({**_whole(name), name: "64"})
    for name, spec in patterns.SPECS.items():
        value = spec.choices[0] if spec.choices else "7"
        assert stella_flavor.slo_of({**_whole(name), name: value}) is not None, name


def _whole(name: str) -> dict[str, str]:
    """An SLO that has room for this extra spec."""
    metric = next((m for m in ("block_latency", *patterns._UNITS) if name.startswith(f"{patterns.PREFIX}{m}_")), "cpu")
    return {f"{patterns.PREFIX}{metric}_{'target' if metric == 'block_latency' else 'weight'}": "1"}


@pytest.mark.parametrize("value", ["1", "0.5", "20000", "0.000001", "1000000000000000"])
def test_amounts(value: str) -> None:
    assert re.fullmatch(patterns.AMOUNT, value)
    for wrong in ("", "0", "0.0", "-1", "1e3", "20%", " 1", "1 ", ".5", "5.", "nan", "1\n", "\u0663"):
        assert not re.fullmatch(patterns.AMOUNT, wrong), wrong


def test_one_process_has_one(config: cfg.ConfigOpts) -> None:
    shared = decisions.Shared()
    first = shared.get(config)
    assert shared.get(config) is first
    shared.forget()
    assert shared.get(config) is not first


def test_what_is_named_to_others_is_there() -> None:
    """Nova finds the validators and the classes by names; those that import Nova are looked for as files."""
    root = Path(__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {
        "nova.api.extra_spec_validators": {"stella": "stella_nova.extra_specs"},
        "oslo.config.opts": {"stella_nova": "stella_nova.options:list_opts"},
    }
    for module, name in (
        ("extra_specs", "def register"),
        ("filter", "class StellaFilter"),
        ("weigher", "class StellaWeigher"),
    ):
        assert name in (root / "stella_nova" / f"{module}.py").read_text()


def test_options_are_listed() -> None:
    ((group, listed),) = options.list_opts()
    names = {option.name for option in listed}
    assert group == "stella" and {"timeout", "endpoint-override", "head_room_weight_multiplier", "auth_type"} <= names
