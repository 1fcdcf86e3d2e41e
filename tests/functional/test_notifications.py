"""Nova's notifications through oslo.messaging itself, on its transport in memory and on one that nobody serves."""

import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stella import conf
from stella.clouds.openstack.notifications import Hints, Listener, SeldomRepeated, messaging, server_in
from stella.conf import InvalidConfig
from stella.engine import surroundings
from tests.functional.conftest import uuid
from tests.functional.engines import wait_for
from tests.functional.nova import config_file

TOPIC = "stella_notifications"


def config_of(directory: Path, url: str, more: str = "") -> Any:
    text = f"[notifications]\ntransport_url = {url}\n{more}"
    return conf.load([str(config_file(directory, "http://127.0.0.1:1", text))])


def payload(number: int) -> dict[str, Any]:
    return {"nova_object.name": "InstanceActionPayload", "nova_object.data": {"uuid": uuid(number).upper()}}


@pytest.fixture
def sender(tmp_path: Path) -> Any:
    """Nova's end of the transport in memory, which one process shares."""
    directory = tmp_path / "nova"
    directory.mkdir()
    config = config_of(directory, "fake://")
    oslo_messaging = messaging()
    oslo_messaging.set_transport_defaults("nova")
    transport = oslo_messaging.get_notification_transport(config, url="fake://")
    return oslo_messaging.Notifier(transport, publisher_id="nova-compute:host1", driver="messagingv2", topics=[TOPIC])


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[tuple[Listener, Hints]]:
    hints = Hints()
    made = Listener(config_of(tmp_path, "fake://"), hints)
    yield made, hints
    made.stop()


def test_a_hint_is_the_server_that_a_notification_is_about(sender: Any, listener: tuple[Listener, Hints]) -> None:
    listening, hints = listener
    listening.start()
    listening.start()

    def told() -> bool:
        sender.info({}, "instance.resize_confirm.end", payload(1))
        return len(hints) > 0

    wait_for(told)
    sender.error({}, "instance.create.error", payload(2))
    sender.info({}, "instance.create.start", payload(3))
    sender.info({}, "aggregate.create.end", payload(4))
    sender.info({}, "instance.update", payload(5))
    wait_for(lambda: len(hints) == 3)
    assert sorted(hints.take(10)) == [uuid(1), uuid(2), uuid(5)]


def test_who_does_not_lead_does_not_listen(sender: Any, listener: tuple[Listener, Hints]) -> None:
    listening, hints = listener
    listening.start()
    wait_for(_listens)
    listening.stop()
    wait_for(lambda: not _listens())
    hints.take(10)
    sender.info({}, "instance.delete.end", payload(7))
    assert hints.take(10) == []
    listening.start()
    wait_for(lambda: len(hints) == 1)
    assert hints.take(10) == [uuid(7)], "it waited in the queue"


def _listens() -> bool:
    return any("_runner" in thread.name for thread in threading.enumerate())


def test_a_broker_that_is_away_holds_nobody_up_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    url = f"rabbit://stella:geheim%40wort@127.0.0.1:{port}/"
    more = "[oslo_messaging_rabbit]\nrabbit_retry_interval = 1\nrabbit_interval_max = 1\n"
    listening = Listener(config_of(tmp_path, url, more), Hints())
    with caplog.at_level(logging.DEBUG):
        began = time.monotonic()
        listening.start()
        listening.stop()
        listening.start()
        assert time.monotonic() - began < 0.5
        wait_for(lambda: "refused" in caplog.text.lower())
        time.sleep(3.5)  # it tries again each second, and oslo.messaging would tell each time
        listening.stop()
    said = [record for record in caplog.records if "refused" in record.getMessage().lower()]
    assert len(said) == 1, caplog.text
    assert "geheim" not in caplog.text


@pytest.mark.parametrize(
    "url", ["nonsense", "rabbit://u:geheim@host:port/", "none-such://u:geheim@host/", "rabbit://u:geheim%2F@host/"]
)
def test_a_url_that_cannot_be_used_is_refused_without_telling_it(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidConfig, match=r"\[notifications\] transport_url") as refused:
        surroundings.find(config_of(tmp_path, url))
    assert "geheim" not in str(refused.value) and len(str(refused.value).splitlines()) == 1


def test_without_a_url_nothing_listens(tmp_path: Path) -> None:
    assert surroundings.find(conf.load([str(config_file(tmp_path, "http://127.0.0.1:1"))])).companions == []


@pytest.mark.parametrize(
    ("event", "body"),
    [
        ("instance.update", None),
        ("instance.update", {}),
        ("instance.update", {"nova_object.data": []}),
        ("instance.update", {"nova_object.data": {"uuid": 5}}),
        ("instance.update", {"nova_object.data": {"uuid": "../../servers"}}),
        ("instance.exists", payload(1)),
        ("volume.usage", payload(1)),
    ],
)
def test_what_names_no_server_is_no_hint(event: str, body: object) -> None:
    assert server_in(event, body) is None


def test_hints_are_bounded_and_each_is_there_once() -> None:
    hints = Hints(largest=3)
    for number in (1, 2, 1, 3, 4):
        hints.add(uuid(number))
    assert hints.take(2) == [uuid(1), uuid(2)]
    assert hints.take(2) == [uuid(3)] and len(hints) == 0


def test_a_message_is_let_through_once_in_a_while() -> None:
    now = [0.0]
    seldom = SeldomRepeated(monotonic=lambda: now[0])

    def passes(text: str, level: int = logging.ERROR) -> bool:
        return seldom.filter(logging.LogRecord("amqp", level, __file__, 1, text, None, None))

    first, second = (
        "AMQP server is unreachable. Trying again in 1 seconds.",
        "AMQP server is unreachable. Trying again in 31 seconds.",
    )
    assert passes(first) and not passes(second) and passes("another")
    now[0] = 301.0
    assert passes(second)
    assert not passes("sent [...]", logging.DEBUG)
