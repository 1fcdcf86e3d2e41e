"""Which instances are gone, asked of an emulated Nova over HTTP: nothing but a clear "no such server" counts."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stella import conf
from stella.clouds.openstack.nova import AGAIN_SECONDS, ASKED_AT_ONCE, Nova, compute_nodes
from stella.clouds.openstack.session import OpenStack
from stella.clouds.port import Missing, Unanswered
from stella.clouds.standalone import Standalone
from stella.cmd import stella_engine
from stella.conf import InvalidConfig
from stella.engine import surroundings
from stella.engine.duties import DUTIES
from tests.functional.conftest import uuid
from tests.functional.nova import EmulatedNova, config_file


@pytest.fixture
def emulated() -> Iterator[EmulatedNova]:
    made = EmulatedNova()
    yield made
    if made.thread.is_alive():
        made.stop()


class Clock:
    """Time that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def nova(emulated: EmulatedNova, tmp_path: Path) -> Nova:
    return Nova(OpenStack(conf.load([str(config_file(tmp_path, emulated.url))])).nova, monotonic=Clock())


def missing(*numbers: int) -> list[Missing]:
    return [Missing(uuid=uuid(number), host="host1", gone_at=1.0) for number in numbers]


def test_what_nova_does_not_know_is_gone(emulated: EmulatedNova, nova: Nova) -> None:
    emulated.has(1)
    emulated.has(2, "SHELVED_OFFLOADED")
    emulated.has(3, "SOFT_DELETED")
    emulated.has(4, "UNKNOWN")
    emulated.has(5, "DELETED")
    assert nova.gone(missing(1, 2, 3, 4, 5, 6)) == {uuid(5), uuid(6)}
    path, headers = emulated.asked[0]
    assert "all_tenants=1" in path
    assert headers["OpenStack-API-Version"] == "compute 2.69"
    assert headers["X-Auth-Token"] == "secret-token"


def test_nothing_is_asked_of_nothing(emulated: EmulatedNova, nova: Nova) -> None:
    assert nova.gone([]) == frozenset()
    assert emulated.asked == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_a_user_who_may_not_see_all_projects_learns_nothing(emulated: EmulatedNova, nova: Nova, status: int) -> None:
    emulated.answers["/servers"] = (status, {"forbidden": {}})
    with pytest.raises(Unanswered):
        nova.gone(missing(1))
    assert all(not path.endswith(uuid(1)) for path, _ in emulated.asked)


@pytest.mark.parametrize(
    "answer",
    [
        (500, {"computeFault": {}}),
        (503, b"<html>proxy</html>"),
        (404, b"<html>no such page</html>"),
        (404, {"error": "no such route"}),
        (403, {"forbidden": {}}),
        (300, {"choices": []}),
        (200, b"not JSON"),
        (200, []),
        (200, {"server": {}}),
    ],
)
def test_anything_else_leaves_that_one_unknown_and_the_others_are_told(
    emulated: EmulatedNova, nova: Nova, answer: tuple[int, Any]
) -> None:
    emulated.answers[f"/servers/{uuid(1)}"] = answer
    assert nova.gone(missing(1, 2)) == {uuid(2)}


def test_what_exists_is_asked_for_again_once_a_minute(emulated: EmulatedNova, tmp_path: Path) -> None:
    clock = Clock()
    nova = Nova(OpenStack(conf.load([str(config_file(tmp_path, emulated.url))])).nova, monotonic=clock)
    emulated.has(1)
    assert nova.gone(missing(1)) == frozenset()
    del emulated.answers[f"/servers/{uuid(1)}"]
    clock.now += AGAIN_SECONDS - 1
    asked = len(emulated.asked)
    assert nova.gone(missing(1)) == frozenset() and len(emulated.asked) == asked
    assert nova.gone(missing(1, 2)) == {uuid(2)}, "another is not held up"
    clock.now += 1
    assert nova.gone(missing(1)) == {uuid(1)}


def test_those_that_exist_do_not_hide_the_others(emulated: EmulatedNova, tmp_path: Path) -> None:
    nova = Nova(OpenStack(conf.load([str(config_file(tmp_path, emulated.url))])).nova, monotonic=Clock())
    for number in range(ASKED_AT_ONCE):
        emulated.has(number)
    everything = missing(*range(ASKED_AT_ONCE + 2))
    assert nova.gone(everything) == frozenset()
    assert len(emulated.asked) == ASKED_AT_ONCE + 1
    assert nova.gone(everything) == {uuid(ASKED_AT_ONCE), uuid(ASKED_AT_ONCE + 1)}


def test_a_nova_that_does_not_answer_tells_nothing(emulated: EmulatedNova, nova: Nova) -> None:
    emulated.stop()
    with pytest.raises(Unanswered):
        nova.gone(missing(1))


def test_compute_nodes_are_told_by_host(emulated: EmulatedNova, tmp_path: Path) -> None:
    hypervisors = [{"id": uuid(n), "service": {"host": f"host{n}"}} for n in (1, 2)]
    hypervisors += [{"id": uuid(n), "service": {"host": "ironic"}} for n in (3, 4)]
    emulated.answers["/os-hypervisors/detail"] = (200, {"hypervisors": hypervisors})
    adapter = OpenStack(conf.load([str(config_file(tmp_path, emulated.url))])).nova
    assert compute_nodes(adapter) == {"host1": uuid(1), "host2": uuid(2)}
    emulated.answers["/os-hypervisors/detail"] = (403, {"forbidden": {}})
    with pytest.raises(Unanswered):
        compute_nodes(adapter)


def test_the_configuration_chooses_the_cloud(tmp_path: Path, emulated: EmulatedNova) -> None:
    found = surroundings.find(conf.load([str(config_file(tmp_path, emulated.url))]))
    assert isinstance(found.cloud, Nova)
    own = ["relief", "evacuation", "failover", "following", "placement", "ledger", "limits", "no_host"]
    assert [duty.name for duty in found.duties] == [*(duty.name for duty in DUTIES), *own]
    alone = tmp_path / "alone.conf"
    alone.write_text("[database]\nconnection = sqlite://\n")
    standing = surroundings.find(conf.load([str(alone)]))
    assert isinstance(standing.cloud, Standalone)
    assert [duty.name for duty in standing.duties] == [
        *(duty.name for duty in DUTIES),
        "relief",
        "evacuation",
        "failover",
    ]
    alone.write_text("[database]\nconnection = sqlite://\n[relief]\nfencing_command = power-off\n")
    with pytest.raises(InvalidConfig, match=r"\[relief\] fencing_command does not name {host}"):
        surroundings.find(conf.load([str(alone)]))
    assert emulated.asked == [], "nothing is asked yet"


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("", "auth_type is not set"),
        ("[openstack]\nauth_type = none-such\n", "none-such"),
        ("[openstack]\nauth_type = password\n", "auth_url"),
    ],
)
def test_a_configuration_without_a_way_to_log_in_is_refused_in_one_line(
    tmp_path: Path, section: str, words: str
) -> None:
    path = tmp_path / "stella.conf"
    path.write_text(f"[database]\nconnection = sqlite://\n[cloud]\nkind = openstack\n{section}")
    with pytest.raises(InvalidConfig):
        surroundings.find(conf.load([str(path)]))
    command = [sys.executable, "-m", "stella.cmd.stella_engine", "--config-file", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == stella_engine.USAGE
    said = done.stderr.splitlines()[-1]
    assert said.startswith("stella-engine: [openstack]") and words in said
    assert "Traceback" not in done.stderr
