"""What `stella-status upgrade check` says of clouds of all kinds: pure functions on facts."""

from dataclasses import replace

import pytest

from stella.checks import verdicts
from stella.checks.facts import Broker, Host, Lease, Login, Notifications, Nova, NovaConf, Placement
from stella.model.check import Code, Result, named, worst
from stella.model.resources import NAMES

NOW = 1_795_600_000.0
HOST = Host(
    name="compute1",
    mode="enforce",
    has_capacity=True,
    reported_at=NOW - 3,
    version="0.1.0",
    clock_offset_seconds=-0.2,
)
LOGIN = Login(user="stella", roles=frozenset(("service", "admin")), services=frozenset(("compute", "stella")))
NOVA = Nova(version=(2, 104), hosts={"compute1": True, "compute2": True})
PLACEMENT = Placement(version=(1, 39), classes={"compute1": frozenset(NAMES)})
CONF = NovaConf(
    files=("/etc/nova/nova.conf",),
    available_filters=(verdicts.ALL_FILTERS, verdicts.FILTER),
    enabled_filters=("ComputeFilter", "StellaFilter"),
    weight_classes=("nova.scheduler.weights.all_weighers", verdicts.WEIGHER),
    login=frozenset(("auth_type", "auth_url", "username")),
    notification_drivers=("messagingv2",),
    notification_topics=("versioned_notifications", "stella_notifications"),
    notification_format="both",
    control_exchange="nova",
)
LISTENING = Notifications(topic="stella_notifications", exchange="nova", brokers=(Broker(address="rabbit:5672"),))


def is_(result: Result, code: Code, *words: str) -> None:
    assert result.code is code, result.line
    assert all(word in result.detail for word in words), result.line


def test_a_cloud_in_which_all_is_well() -> None:
    results = [
        verdicts.hosts([HOST], now=NOW, silent_seconds=90),
        verdicts.agents([HOST], "0.1.0"),
        verdicts.clocks([HOST], largest_seconds=300),
        verdicts.engine(Lease(held=True, renewed_at=NOW - 1), now=NOW, lease_seconds=6),
        verdicts.token_checker(LOGIN),
        verdicts.token_cache(["memcached:11211"]),
        verdicts.keystone(LOGIN),
        verdicts.nova(NOVA, ["compute1"]),
        verdicts.placement(PLACEMENT),
        verdicts.nova_filter(CONF),
        verdicts.nova_weigher(CONF),
        verdicts.notifications(LISTENING, CONF),
        verdicts.message_queue(LISTENING),
    ]
    assert worst(results) is Code.SUCCESS, [each.line for each in results if each.code]


# --- hosts


def test_hosts_that_are_silent_or_never_reported() -> None:
    silent = replace(HOST, name="compute2", reported_at=NOW - 91)
    never = replace(HOST, name="compute3", reported_at=None, has_capacity=False)
    is_(verdicts.hosts([], now=NOW, silent_seconds=90), Code.SUCCESS, "host enroll")
    is_(verdicts.hosts([HOST, silent], now=NOW, silent_seconds=90), Code.WARNING, "1 of 2", "compute2", "xgos check")
    is_(verdicts.hosts([HOST, never], now=NOW, silent_seconds=90), Code.WARNING, "never reported: compute3")
    observing = replace(HOST, name="compute4", mode="observe")
    is_(verdicts.hosts([HOST, observing], now=NOW, silent_seconds=90), Code.SUCCESS, "2 hosts report, 1 enforce")


def test_many_hosts_are_one_line() -> None:
    silent = [replace(HOST, name=f"compute{n:04}", reported_at=NOW - 1000) for n in range(1000)]
    result = verdicts.hosts(silent, now=NOW, silent_seconds=90)
    assert "1000 of 1000" in result.detail and "and 995 more" in result.detail and len(result.line) < 300
    assert named(["b", "a"]) == "a, b" and named([]) == ""


@pytest.mark.parametrize(
    ("version", "api", "code"),
    [
        ("0.1.0", "0.1.0", Code.SUCCESS),
        ("0.1.1", "0.1.0", Code.WARNING),
        ("0.2.0", "0.1.0", Code.WARNING),
        ("0.1.0", "0.2.3", Code.WARNING),
        ("0.1.0", "0.3.0", Code.FAILURE),
        ("1.0.0", "0.9.0", Code.FAILURE),
        ("main", "0.1.0", Code.FAILURE),
        ("", "0.1.0", Code.SUCCESS),
    ],
)
def test_agents_one_release_apart_work(version: str, api: str, code: Code) -> None:
    is_(verdicts.agents([replace(HOST, version=version)], api), code)


@pytest.mark.parametrize(
    ("offset", "code"),
    [(None, Code.SUCCESS), (4.9, Code.SUCCESS), (-5.1, Code.WARNING), (60.0, Code.WARNING), (-151.0, Code.FAILURE)],
)
def test_clocks(offset: float | None, code: Code) -> None:
    result = verdicts.clocks([HOST, replace(HOST, name="compute2", clock_offset_seconds=offset)], largest_seconds=300)
    is_(result, code, *(["compute2", "NTP"] if code else []))
    is_(verdicts.clocks([], largest_seconds=300), Code.SUCCESS)


def test_an_engine_that_does_not_lead() -> None:
    is_(verdicts.engine(None, now=NOW, lease_seconds=6), Code.WARNING, "Start stella-engine")
    is_(verdicts.engine(Lease(held=False, renewed_at=NOW), now=NOW, lease_seconds=6), Code.FAILURE, "None leads")
    late = Lease(held=True, renewed_at=NOW - 40)
    is_(verdicts.engine(late, now=NOW, lease_seconds=6), Code.FAILURE, "40 s ago")


# --- Keystone


def test_who_checks_tokens() -> None:
    is_(verdicts.token_checker(Login(error="HTTP 401")), Code.FAILURE, "cannot log in", "HTTP 401")
    is_(
        verdicts.token_checker(replace(LOGIN, roles=frozenset(("member", "reader")))),
        Code.FAILURE,
        "role add --user stella --project service service",
    )
    is_(verdicts.token_checker(replace(LOGIN, roles=frozenset(("admin",)))), Code.WARNING, "as admin")
    is_(verdicts.token_cache([]), Code.WARNING, "memcached_servers")


def test_the_engines_user_and_the_catalogue() -> None:
    is_(verdicts.keystone(Login(error="refused")), Code.FAILURE, "refused")
    is_(verdicts.keystone(replace(LOGIN, services=frozenset(("compute",)))), Code.WARNING, "type stella")


# --- Nova, Placement


@pytest.mark.parametrize(
    ("wrong", "code", "words"),
    [
        ({"error": "compute: GET /servers: HTTP 403"}, Code.FAILURE, "all projects"),
        ({"version": (2, 60)}, Code.FAILURE, "2.60; Stella needs 2.69"),
        ({"hosts": {"compute1.example.org": True}}, Code.FAILURE, "no nova-compute on compute1"),
        ({"hosts": {"compute1": False}}, Code.WARNING, "down on compute1"),
        ({"hosts": {"compute1": True}}, Code.SUCCESS, "1 of 1"),
    ],
)
def test_nova(wrong: dict[str, object], code: Code, words: str) -> None:
    is_(verdicts.nova(replace(NOVA, **wrong), ["compute1"]), code, words)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "code", "words"),
    [
        ({"error": "placement: HTTP 403"}, Code.FAILURE, "resource providers"),
        ({"version": (1, 35)}, Code.FAILURE, "1.35; Stella needs 1.36"),
        ({"without_root": frozenset(("compute1",)), "classes": {"compute1": None}}, Code.FAILURE, "nova-compute"),
        ({"classes": {"compute1": None}}, Code.WARNING, "no inventory of Stella for compute1"),
        ({"classes": {"compute1": frozenset()}}, Code.WARNING, "within a minute"),
        ({"classes": {}}, Code.SUCCESS, "no host has reported"),
    ],
)
def test_placement(wrong: dict[str, object], code: Code, words: str) -> None:
    is_(verdicts.placement(replace(PLACEMENT, **wrong)), code, words)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "code", "words"),
    [
        ({"files": ()}, Code.WARNING, "--nova-conf /etc/nova/nova.conf"),
        ({"error": "x does not exist"}, Code.FAILURE, "x does not exist"),
        ({"enabled_filters": ("ComputeFilter",)}, Code.WARNING, "Add StellaFilter"),
        ({"available_filters": (verdicts.ALL_FILTERS,)}, Code.FAILURE, "available_filters = stella_nova"),
        ({"available_filters": (verdicts.FILTER,)}, Code.FAILURE, "all_filters"),
        ({"login": frozenset(("auth_url",))}, Code.FAILURE, "auth_type"),
        ({"login": frozenset(("auth_section",))}, Code.SUCCESS, "Enabled"),
    ],
)
def test_novas_filter(wrong: dict[str, object], code: Code, words: str) -> None:
    is_(verdicts.nova_filter(replace(CONF, **wrong)), code, words)  # type: ignore[arg-type]


def test_novas_weigher() -> None:
    is_(verdicts.nova_weigher(replace(CONF, weight_classes=())), Code.WARNING, verdicts.WEIGHER)
    is_(verdicts.nova_weigher(NovaConf()), Code.WARNING, "Not checked")


@pytest.mark.parametrize(
    ("listening", "wrong", "words"),
    [
        (Notifications(), {}, "transport_url"),
        (LISTENING, {"files": ()}, "is not checked"),
        (LISTENING, {"notification_drivers": ()}, "driver = messagingv2"),
        (LISTENING, {"notification_format": "unversioned"}, "notification_format = both"),
        (LISTENING, {"notification_topics": ("versioned_notifications",)}, "add it to"),
        (LISTENING, {"control_exchange": "cell1"}, "exchange = cell1"),
    ],
)
def test_notifications(listening: Notifications, wrong: dict[str, object], words: str) -> None:
    is_(verdicts.notifications(listening, replace(CONF, **wrong)), Code.WARNING, words)  # type: ignore[arg-type]


def test_the_message_queue() -> None:
    away, there = Broker(address="a:5672", error="Connection refused"), Broker(address="b:5672")
    is_(verdicts.message_queue(Notifications()), Code.SUCCESS, "None is used")
    is_(verdicts.message_queue(replace(LISTENING, brokers=(away, there))), Code.WARNING, "Of 2", "a:5672")
    is_(verdicts.message_queue(replace(LISTENING, brokers=(away,))), Code.FAILURE, "Connection refused")
