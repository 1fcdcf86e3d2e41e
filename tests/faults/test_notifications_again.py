"""Nova's notifications come twice, late and in another order, through oslo.messaging: what is done is what Nova says now, once."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stella.clouds.openstack.notifications import Listener
from tests.functional.conftest import Cloud
from tests.functional.engines import wait_for
from tests.functional.nova import EmulatedNova
from tests.functional.test_following import CPU, GOLD, MORE, SILVER, VM, World
from tests.functional.test_notifications import TOPIC, config_of, messaging

_EVENTS = (
    "instance.create.end",
    "instance.resize_prep.end",
    "instance.resize.end",
    "instance.resize_finish.end",
    "instance.resize_confirm.end",
    "instance.update",
    "instance.power_off.end",
    "instance.power_on.end",
)
_TIMES_EACH = 3


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> Iterator[World]:
    """A server of the flavor `silver` on an emulated Nova, whose SLO is in force."""
    nova, directory = EmulatedNova(), tmp_path / "engine"
    directory.mkdir()
    made = World(cloud, nova, directory)
    made.servers.create(VM, host="host1", flavor="silver", extra_specs=SILVER)
    made.pass_seconds()
    yield made
    nova.stop()


@pytest.fixture
def sender(world: World, tmp_path: Path) -> Iterator[Any]:
    """Nova's end; ours listens and gives its hints to the duty."""
    directory = tmp_path / "nova"
    directory.mkdir()
    config = config_of(directory, "fake://")
    listening = Listener(config, world.hints)
    oslo_messaging = messaging()
    oslo_messaging.set_transport_defaults("nova")
    transport = oslo_messaging.get_notification_transport(config, url="fake://")
    listening.start()
    yield oslo_messaging.Notifier(transport, publisher_id="nova-compute:host1", driver="messagingv2", topics=[TOPIC])
    listening.stop()


def _send(sender: Any, world: World, events: list[str]) -> None:
    body = {"nova_object.name": "InstanceActionPayload", "nova_object.data": {"uuid": VM}}
    for event in events:
        sender.info({}, event, body)
        if len(world.hints):
            world.pass_seconds(1.0)
    wait_for(lambda: len(world.hints) > 0)


@pytest.mark.parametrize("seed", range(3))
def test_a_resize_told_many_times_in_any_order(world: World, sender: Any, seed: int) -> None:
    before = world.decisions()
    world.servers.resize(VM, "gold", GOLD)
    world.servers.confirm(VM)
    events = list(_EVENTS * _TIMES_EACH)
    random.Random(seed).shuffle(events)
    _send(sender, world, events)
    for _ in range(3):
        world.pass_seconds()
    slo = world.slo()
    assert slo is not None and (slo["state"], slo["objectives"]) == ("enforced", MORE)
    assert len(world.decisions()) == len(before) + 1, "one change"
    history = world.cloud.member.get(f"/v1/instances/{VM}/slo/history").json["changes"]
    assert len(history) == 2, "created, and changed once"


def test_a_creation_told_after_the_deletion(world: World, sender: Any) -> None:
    assert world.slo()["objectives"] == CPU  # type: ignore[index]
    before = world.decisions()
    world.servers.delete(VM)
    _send(sender, world, ["instance.delete.end", "instance.create.end", "instance.update", "instance.delete.end"])
    for _ in range(3):
        world.pass_seconds()
        world.hints.add(VM)
    assert world.slo() is None and world.reserved("host1") == 0
    gone = [kind for kind, _ in world.decisions()[len(before) :]]
    assert gone == ["instance_gone"], "withdrawn once, and never made again"
    assert not world.book.held[VM]
