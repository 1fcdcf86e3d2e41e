"""The agent's configuration: each wrong key is one line that names it."""

from pathlib import Path

import pytest

from stella.model.intent import Mode
from stella.model.snapshot import BlockBackend
from stella.xgos.process import config
from stella.xgos.process.config import Config, InvalidConfig, load_config, parse_config
from stella.xgos.sensing.uplinks import NamedUplink

SAMPLE = Path(__file__).parents[4] / "etc" / "xgos.toml"


def test_the_sample_holds_the_defaults() -> None:
    assert parse_config(SAMPLE.read_text()) == Config() == parse_config("")
    assert Config().metrics_address == ("127.0.0.1", 9817)


def test_values_are_taken() -> None:
    found = parse_config('mode = "enforce"\nsocket = "/tmp/s"\nmetrics_listen = "[::1]:0"\ncapacity_cpu_cores = 3')
    assert found.mode is Mode.ENFORCE and found.socket == Path("/tmp/s")
    assert found.metrics_address == ("::1", 0) and found.capacity_cpu_cores == 3.0
    for url in (
        "https://stella.example.org:9800/prefix",
        "http://127.0.0.1:9800",
        "http://[::1]:9800",
        "http://localhost",
        "",
    ):
        assert parse_config(f'api_url = "{url}"').api_url == url
    assert parse_config('metrics_listen = ""').metrics_address is None


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('mode = "force"', "mode"),
        ("mode = []", "mode"),
        ("tick_milliseconds = 99", "tick_milliseconds"),
        ("tick_milliseconds = 250.5", "tick_milliseconds"),
        ("tick_milliseconds = true", "tick_milliseconds"),
        ("capacity_cpu_cores = -1", "capacity_cpu_cores"),
        ("capacity_cpu_cores = nan", "capacity_cpu_cores"),
        ("reservation_margin_ratio = 2.5", "reservation_margin_ratio"),
        ('network_uplink = "eth0/1"', "network_uplink"),
        ("network_uplink = 3", "network_uplink"),
        ('network_uplink = ["eth0", "eth0"]', "network_uplink"),
        ('network_uplink = ["eth0", ""]', "network_uplink[1]"),
        ('network_uplink = [{bridges = ["br0"]}]', "network_uplink[0]"),
        ('network_uplink = [{device = "eth0", speed = 3}]', "network_uplink[0]"),
        ('network_uplink = [{device = "eth0", bridges = "br0"}]', "network_uplink[0].bridges"),
        (
            'network_uplink = [{device = "eth0", capacity_mbit_per_second = "1G"}]',
            "network_uplink[0].capacity_mbit_per_second",
        ),
        ('network_uplink = [{device = "e0", bridges = ["b"]}, {device = "e1", bridges = ["b"]}]', "network_uplink"),
        ("network_uplink_capacity_packets_per_second = -1", "network_uplink_capacity_packets_per_second"),
        ("network_uplink_capacity_mbit_per_second = -1", "network_uplink_capacity_mbit_per_second"),
        ('block_backends = "ssd"', "block_backends"),
        ("block_backends = [1]", "block_backends[0]"),
        ('block_backends = [{ name = "a b" }]', "block_backends[0].name"),
        ('block_backends = [{ name = "a", sources = [] }]', "block_backends[0].sources"),
        ('block_backends = [{ name = "a", sources = ["relative"] }]', "block_backends[0].sources"),
        ('block_backends = [{ name = "a", sources = ["/x"] }]', "block_backends[0]"),
        ('block_backends = [{ name = "a", sources = ["/x"], capacity = 5 }]', "block_backends[0].capacity"),
        (
            'block_backends = [{ name = "a", sources = ["/x"], capacity_megabytes_per_second = -5 }]',
            "block_backends[0].capacity_megabytes_per_second",
        ),
        (
            "block_backends = [" + '{ name = "a", sources = ["/x"], capacity_operations_per_second = 5 },' * 2 + "]",
            "block_backends[1].name",
        ),
        ("host_reserved_cpu_cores = inf", "host_reserved_cpu_cores"),
        ('host_overhead = "none"', "host_overhead"),
        ('socket = "relative"', "socket"),
        ('api_url = "stella.example.org"', "api_url"),
        ('api_url = "http://stella.example.org:9800"', "api_url"),
        ('api_url = "ftp://127.0.0.1"', "api_url"),
        ('api_url = "https://user:word@stella.example.org"', "api_url"),
        ('api_url = "https://stella.example.org:port"', "api_url"),
        ('api_url = "https://[::1"', "api_url"),
        ('api_host_name = "../host2"', "api_host_name"),
        ('api_credential_file = "credential"', "api_credential_file"),
        ("socket = 3", "socket"),
        ('metrics_listen = "9817"', "metrics_listen"),
        ('metrics_listen = "127.0.0.1:99999"', "metrics_listen"),
        ('log_level = "loud"', "log_level"),
        ("tick_ms = 250", "tick_ms"),
        ('"a\\nb" = 1', "a b"),
        ("mode =", "config"),
        ("[mode]", "mode"),
    ],
)
def test_what_is_wrong_names_its_key_in_one_line(text: str, field: str) -> None:
    with pytest.raises(InvalidConfig) as error:
        parse_config(text)
    assert error.value.field == field and "\n" not in str(error.value)


def test_an_unknown_key_is_answered_with_the_one_that_was_meant() -> None:
    with pytest.raises(InvalidConfig, match=r"^tick_millisecond: unknown key; did you mean tick_milliseconds\?$"):
        parse_config("tick_millisecond = 250")
    with pytest.raises(InvalidConfig, match=r"^smell: unknown key; the keys are mode, tick_milliseconds, "):
        parse_config("smell = 3")


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "DEFAULT_PATH", tmp_path / "none.toml")
    assert load_config(None) == Config()
    with pytest.raises(InvalidConfig, match=r"^config: .*none\.toml: No such file"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "bad").write_bytes(b"\xff")
    with pytest.raises(InvalidConfig, match="UTF-8"):
        load_config(tmp_path / "bad")


def test_uplinks_have_the_capacities_of_the_host_where_they_have_none_of_their_own() -> None:
    assert parse_config('network_uplink = ""').uplinks == ()
    config = parse_config(
        """
        network_uplink = ["eth0", {device = "eth1", capacity_mbit_per_second = 200, bridges = ["br-ex"]}]
        network_uplink_capacity_mbit_per_second = 1000
        network_uplink_capacity_packets_per_second = 50000
        """
    )
    first, second = config.uplinks
    assert first == NamedUplink(device="eth0", capacity_mbit_per_second=1000, capacity_packets_per_second=50000)
    assert second.capacity_mbit_per_second == 200 and second.bridges == ("br-ex",)
    (one,) = parse_config('network_uplink = "bond0"').uplinks
    assert one == NamedUplink(device="bond0")


def test_back_ends_are_in_base_units() -> None:
    text = 'block_backends = [{ name = "ssd", sources = ["/srv", "nbd:10.0.0.5:10809"], capacity_megabytes_per_second = 500 }]'
    assert parse_config(text).block_backends == (
        BlockBackend(name="ssd", sources=("/srv", "nbd:10.0.0.5:10809"), capacity_bytes_per_second=500e6),
    )
