"""What Stella says for a person is read back into codes; a page can say it in its own language."""

import re
from pathlib import Path

import pytest

from stella.control import capabilities
from stella.control.admission import InstanceShape, admit
from stella.control.capacity import Held, HostCapacity
from stella.control.cost import Prior
from stella.control.following import SHELVED, Followed, Server, decide
from stella.control.memory import fresh_costs
from stella.engine.duties.failover import HAS_PLACE, NO_PLACE
from stella.model import reasons
from stella.model.reasons import CODES, OTHER, Reason
from stella.model.slo import InvalidSlo, parse_slo
from stella.model.slo_union import together

SAID = [
    ("the instance is shut off", "shut_off", {}),
    ("the host h-1.example is in mode observe", "host_mode_is", {"host": "h-1.example", "mode": "observe"}),
    ("the host is in mode maintenance", "host_mode_is", {"mode": "maintenance"}),
    ("the host h1 has not reported its capacity yet", "host_not_reported", {"host": "h1"}),
    (SHELVED, "shelved", {}),
    ("The instance is gone.", "gone", {}),
    ("3 other instances of the project are watched; no more may be.", "project_watched", {"number": 3.0}),
    ("0.250 cores reserved", "reserved", {"cores": 0.25}),
    ("its flavor is m1; large; 0.250 cores reserved", "of_flavor", {"flavor": "m1; large", "cores": 0.25}),
    ("the server is deleted; its SLO is withdrawn, 0.300 cores are free", "server_deleted", {"cores": 0.3}),
    (
        "gone from its host for 61 s; its SLO is withdrawn, 0.300 cores are free",
        "gone_long",
        {"seconds": 61.0, "cores": 0.3},
    ),
    (
        "cpu.floor: its floors cost more CPU than before, and this host lacks 0.10 cores for them",
        "costs_grew",
        {"field": "cpu.floor", "cores": 0.1},
    ),
    (
        "objectives.cpu.floor: Placement has room for 3 millicores (CUSTOM_STELLA_CPU_MILLICORES) on this host, what the instance "
        "holds included.",
        "placement_room",
        {"field": "cpu.floor", "free": 3.0, "class": "CUSTOM_STELLA_CPU_MILLICORES"},
    ),
    ("mode observe -> enforce", "mode_changed", {"before": "observe", "after": "enforce"}),
    (
        "relief as the cloud -> act",
        "relief_mode_changed",
        {"relief_before": "as the cloud", "relief_after": "act"},
    ),
    ("fenced", "fenced", {}),
    ("not fenced any more", "not_fenced_any_more", {}),
    ("it is paused", "state_is", {"state": "paused"}),
    ("its status is SUSPENDED", "status_is", {"status": "SUSPENDED"}),
    (NO_PLACE, "no_failover_place", {}),
    (HAS_PLACE, "has_failover_place", {}),
]
SHAPE = InstanceShape(vcpus=2, iothreads=1, links=1, disks=1)
FREE = HostCapacity(capacity_cores=15.9, cpus=tuple(range(16)), one_cpu_cores=0.99)
FULL = HostCapacity(capacity_cores=1.0, cpus=(0, 1), one_cpu_cores=0.99, held=(Held(cores=0.9),))


@pytest.mark.parametrize(("text", "code", "values"), SAID)
def test_a_sentence_has_a_code_and_values(text: str, code: str, values: dict[str, object]) -> None:
    assert reasons.read(text) == (Reason(code, values),)  # type: ignore[arg-type]


def test_a_sentence_inside_another_comes_after_it() -> None:
    text = "does not fit on h1: cpu.floor: the floors need 0.53 cores of CPU and this host has 0.12 cores left to guarantee"
    outer, inner = reasons.read(text)
    assert outer == Reason("does_not_fit_on", {"host": "h1"})
    assert inner == Reason("capacity", {"field": "cpu.floor", "cores": 0.53, "free": 0.12})
    none = reasons.read(f"none of 2 hosts can take the instance, such as h1: {text.partition('h1: ')[2]}")
    assert [one.code for one in none] == ["no_candidate", "capacity"]


def test_why_an_instance_moves_is_read() -> None:
    said = "the floors of 2 instances are missed on h1; moving it to h2 frees 0.500 cores, which is not all that is lacking"
    assert reasons.read(said) == (
        Reason("floors_missed", {"number": 2.0, "host": "h1"}),
        Reason("move_frees_part", {"host": "h2", "cores": 0.5}),
    )
    why, what = reasons.read("the fencing command failed: fence: took longer than 30 s")
    assert (why.code, what) == ("fencing_failed", Reason(OTHER, {"text": "fence: took longer than 30 s"}))


def test_what_is_not_known_stays_text() -> None:
    assert reasons.read("of a later release") == reasons.read("") == reasons.read("cpu.floor: of a later release") == ()
    assert reasons.read("does not fit on h1: of a later release")[1] == Reason(OTHER, {"text": "of a later release"})
    assert reasons.read("the instance is shut off" * 1000) == ()


@pytest.mark.parametrize(
    ("keys", "shape", "capacity", "code"),
    [
        ({"network_packets": {"floor": 1}}, InstanceShape(vcpus=1, links=0), FREE, "no_network_interface"),
        ({"block_bytes": {"floor": 1}}, InstanceShape(vcpus=1, disks=0), FREE, "no_disk"),
        ({"cpu": {"floor": 3}}, SHAPE, FREE, "few_vcpus"),
        ({"cpu": {"floor": 2}}, InstanceShape(vcpus=1), FREE, "few_vcpus"),
        ({"cpu": {"ceiling": 0.1}, "network_packets": {"floor": "20kpps"}}, SHAPE, FREE, "ceiling_too_low"),
        ({"network_packets": {"floor": "900Mpps"}}, SHAPE, FREE, "guest_cpu"),
        ({"network_packets": {"floor": "90kpps"}}, SHAPE, FREE, "one_thread"),
        ({"cpu": {"floor": 0.5}}, SHAPE, FULL, "capacity"),
        ({"cpu": {"floor": 1.0}}, InstanceShape(vcpus=1), FREE, "one_cpu"),
        ({"cpu": {"floor": 1.99}}, SHAPE, FREE, "one_cpu"),
        ({"cpu": {"floor": 0.5}}, InstanceShape(vcpus=1, allowed_cpus=(99,)), FREE, "one_allowed_cpu"),
    ],
)
def test_what_admission_says_is_read(
    keys: dict[str, dict[str, object]], shape: InstanceShape, capacity: HostCapacity, code: str
) -> None:
    slo = parse_slo(keys)
    answer = admit(slo, fresh_costs(Prior(), slo), shape=shape, margin=1.1, capacity=capacity)
    assert [one.code for one in reasons.read(f"{answer.field}: {answer.message}")] == [code], answer.message


def test_what_a_host_cannot_enforce_is_read() -> None:
    given = [value for name, value in vars(capabilities).items() if name.startswith("_NO_") and isinstance(value, str)]
    given = [f"{text}no nft" if text.endswith(": ") else text for text in given]
    said = [
        *given,
        "its link tap0 cannot be limited: no",
        "its disk vda cannot be limited: no",
        "none of its disks is on a back end that block_backends names",
        "this host does not report it",
    ]
    assert len(said) >= 7
    for text in said:
        (one,) = reasons.read(text)
        assert one.code != OTHER
        assert [
            found.code for found in reasons.read(f"cpu.floor: this host lacks the capability cpu_floor: {text}")
        ] == [
            "host_lacks",
            one.code,
        ]


def test_a_contradiction_with_the_flavor_is_read() -> None:
    flavor = parse_slo({"network_packets": {"floor": 1000, "direction": "tx"}})
    added = parse_slo({"network_packets": {"floor": 1000, "direction": "rx"}})
    specs = {"stella:slo_network_packets_floor": "1000", "stella:slo_network_packets_direction": "tx"}
    step = decide(
        Server(uuid="u", status="ACTIVE", extra_specs=specs, host="h1"),
        Followed(host="h1", is_reported=True, flavor=None, added=added, is_held=True),
    )
    found = reasons.read(step.reason)
    assert [one.code for one in found] == ["contradicts_flavor", "other_direction"], step.reason
    with pytest.raises(InvalidSlo) as caught:
        together(flavor, added)
    assert reasons.read(f"objectives.{caught.value}")[0].values["direction"] == "tx"


@pytest.mark.parametrize(
    ("keys", "code"),
    [({"cpu": {"floor": 2, "ceiling": 1}}, "above_ceiling"), ({"cpu": {"floor": "0%"}}, "not_positive")],
)
def test_what_no_slo_can_be_is_read(keys: dict[str, object], code: str) -> None:
    with pytest.raises(InvalidSlo) as caught:
        parse_slo(keys)
    assert [one.code for one in reasons.read(f"objectives.{caught.value}.")] == [code]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("the host h1 is in mode observe", "the host is in mode observe"),
        ("does not fit on h1: cpu.floor: no", "does not fit on its host: cpu.floor: no"),
        ("of a later release, on h1 and h1.x and h10", "of a later release, on its host and h1.x and h10"),
        (
            "does not fit on other.example: the host h1 is in mode observe",
            "does not fit on its host: the host is in mode observe",
        ),
        ("the instance is shut off", "the instance is shut off"),
        ("", ""),
    ],
)
def test_a_tenant_is_told_no_host(text: str, told: str) -> None:
    assert reasons.without_hosts(text, "h1") == told


def test_every_sentence_that_the_engine_and_the_agent_keep_has_a_code() -> None:
    """Their sources have these words; whoever changes them changes the code's sentence too."""
    sources = "\n".join(
        path.read_text() for path in Path(reasons.__file__).parents[1].rglob("*.py") if path.name != "reasons.py"
    )
    for code, pattern in CODES.items():
        plain = re.sub(r"\(\?[:P<].*|\(.*|\.\+.*|\\.*|\{.*|\|.*", "", pattern).strip()
        if len(plain) > 12 and code not in reasons.OF_EARLIER_RELEASES:
            assert plain.split("; ")[0] in sources, code
