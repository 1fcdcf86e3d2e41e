"""The laboratory's fake hosts without OpenStack: how many there are, what they are told, and their processes."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from laboratory import fake_computes, fake_hosts, files, settings
from laboratory.fake_hosts import FakeHosts
from laboratory.settings import LaboratoryError

PATIENCE_SECONDS = 20.0


def wait_until(true: Any) -> bool:
    limit = time.monotonic() + PATIENCE_SECONDS
    while not true():
        if time.monotonic() > limit:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHosts:
    """Those of a laboratory whose services are not started."""
    made = settings.Settings(
        run=tmp_path,
        state=tmp_path / "openstack",
        volatile=tmp_path / "shm",
        environments=tmp_path / "venvs",
        ports=dict(settings.PUBLIC_PORTS),
        passwords={},
    )
    nothing: Any = None
    found = FakeHosts(made, nothing, nothing, nothing, lambda: None)
    monkeypatch.setattr(FakeHosts, "_ensure", lambda self, batch: None)
    monkeypatch.setattr(FakeHosts, "_join", lambda self, numbers: None)
    return found


def test_hosts_are_added_in_batches(fakes: FakeHosts) -> None:
    fakes.have(3)
    fakes.have(3)
    fakes.have(20)
    assert fakes.batches() == [range(1, 4), range(4, 21)]
    with pytest.raises(LaboratoryError, match="there are 20 fake hosts: remove them first"):
        fakes.have(5)
    with pytest.raises(LaboratoryError, match="at most 50"):
        fakes.have(51)
    with pytest.raises(LaboratoryError, match="at most 50"):
        fakes.have(-1)
    assert fakes.batches() == [range(1, 4), range(4, 21)]


def test_none_to_remove(fakes: FakeHosts, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Nobody:
        def admin(self) -> None:
            return None

    monkeypatch.setattr(fakes, "_cloud", Nobody())
    fakes.have(0)
    assert "there are no fake hosts" in capsys.readouterr().out


def test_each_has_a_name_and_a_directory_of_its_own(tmp_path: Path) -> None:
    one, two = (files.ini(fake_hosts.options_of(number, tmp_path)) for number in (1, 2))
    assert "host = fake1\n" in one and f"state_path = {tmp_path}/fake1\n" in one
    assert "compute_driver = laboratory.Driver" in one
    assert one.replace("fake1", "fake2") == two


def test_a_process_that_ends_is_started_again_and_all_end_at_last(tmp_path: Path) -> None:
    def run(number: int) -> int:
        (tmp_path / f"{number}.{os.getpid()}").touch()
        if number == 2 and len(list(tmp_path.glob("2.*"))) == 1:
            return 3
        time.sleep(PATIENCE_SECONDS)
        return 0

    hosts = fake_computes.Hosts(run)
    thread = threading.Thread(target=hosts.keep, args=(range(1, 4),))
    thread.start()
    try:
        assert wait_until(lambda: len(list(tmp_path.glob("2.*"))) == 2)
        assert wait_until(lambda: len(list(tmp_path.glob("*"))) == 4)
    finally:
        hosts.stop()
        thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    for path in tmp_path.glob("*"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.suffix[1:]), signal.SIG_DFL)


class Placement:
    """Placement's answers to what `Providers` asks; what is deleted is noted."""

    def __init__(self) -> None:
        self.there = {"fake1": "r1", "fake1:stella": "c1", "compute1": "r9", "compute1:stella": "c9"}
        self.deleted: list[str] = []

    def get(self, path: str, microversion: str) -> Any:
        body: dict[str, Any] = {}
        if path == "/resource_providers":
            body = {"resource_providers": [{"name": name, "uuid": uuid} for name, uuid in self.there.items()]}
        elif path.endswith("c1/inventories"):
            body = {"inventories": {"CUSTOM_STELLA_CPU_MILLICORES": {}}}
        elif path.endswith("c1/allocations"):
            body = {"allocations": {"consumer": {}}}
        return Answer(200, body)

    def delete(self, path: str, microversion: str) -> Any:
        self.deleted.append(path)
        return Answer(204, None)


class Answer:
    def __init__(self, status: int, body: Any) -> None:
        self.status_code, self._body = status, body

    def json(self) -> Any:
        return json.loads(json.dumps(self._body))


class Admin:
    def __init__(self) -> None:
        self.placement = Placement()


def test_providers_of_fake_hosts() -> None:
    admin = Admin()
    providers = fake_hosts.Providers(admin)
    assert providers.ready({"fake1", "fake2"}) == {"fake1"}
    providers.delete({"fake1", "fake2"})
    assert admin.placement.deleted == ["/allocations/consumer", "/resource_providers/c1", "/resource_providers/r1"]
