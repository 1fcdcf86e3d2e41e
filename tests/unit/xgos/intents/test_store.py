"""What was asked for survives: restarts, cut files, full disks."""

import json
import os
import stat
from pathlib import Path

import pytest

from stella.model.intent import IntentState
from stella.model.slo import Slo, parse_slo
from stella.xgos.intents.source import FILE, MANUAL
from stella.xgos.intents.store import IntentStore
from stella.xgos.intents.store_file import checksum
from tests.unit.xgos.conftest import VM1, VM2

SLO = parse_slo({"cpu": {"floor": "20%"}, "network_packets": {"floor": "20kpps", "direction": "tx", "priority": 3}})


def put(store: IntentStore, uuid: str = VM1, slo: Slo = SLO, source: str = MANUAL) -> int:
    return store.set(uuid, slo, reserved_cpu_cores=0.7, estimated=True, source=source).generation


def test_intents_come_back(tmp_path: Path) -> None:
    path = tmp_path / "state" / "intents.json"
    store = IntentStore(path)
    assert (put(store), put(store), put(store, VM2, source=FILE)) == (1, 2, 1)
    assert store.save()
    again = IntentStore(path)
    assert again.intents == store.intents
    assert again.intents[VM1].slo == SLO and again.intents[VM1].reserved_cpu_cores == 0.7
    assert (again.source(VM1), again.source(VM2), again.source("x")) == (MANUAL, FILE, None)
    assert not list(path.parent.glob("*.tmp"))


def test_generations_never_run_backwards(tmp_path: Path) -> None:
    store = IntentStore(tmp_path / "i")
    put(store)
    assert store.unset(VM1) == 2 and store.unset(VM1) is None
    store.save()
    store = IntentStore(tmp_path / "i")
    assert VM1 not in store.intents and put(store) == 3
    readmitted = store.readmit(VM1, reserved_cpu_cores=0.9, estimated=False)
    assert readmitted and (readmitted.generation, readmitted.reserved_cpu_cores) == (3, 0.9)
    assert store.readmit("nobody", reserved_cpu_cores=1.0, estimated=False) is None


def test_a_view_never_changes(tmp_path: Path) -> None:
    store = IntentStore(tmp_path / "i")
    put(store)
    view = store.intents
    store.unset(VM1)
    assert VM1 in view and VM1 not in store.intents


def _cut(text: str) -> str:
    return text[: len(text) // 2]


def _other_floor(text: str) -> str:
    return text.replace("20000.0", "90000.0")


def _older(text: str) -> str:
    return text.replace('"version": 2', '"version": 0')


@pytest.mark.parametrize(
    "damage",
    [_cut, _other_floor, _older, lambda t: "", lambda t: "[]", lambda t: '{"payload": 3}', lambda t: "\x00" * 50],
)
def test_a_damaged_file_is_set_aside(tmp_path: Path, damage: object, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "i"
    store = IntentStore(path)
    put(store)
    store.save()
    damaged = damage(path.read_text())  # type: ignore[operator]
    path.write_text(damaged)
    store = IntentStore(path)
    assert not store.intents and not path.exists()
    assert (tmp_path / "i.set-aside-0").read_text() == damaged
    assert "set aside" in caplog.text
    put(store)
    assert store.save() and IntentStore(path).intents


def test_keys_of_the_next_release_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "i"
    store = IntentStore(path)
    put(store)
    store.save()
    found = json.loads(path.read_text())
    found["payload"]["intents"][0]["colour"] = "blue"
    found["payload"]["more"] = []
    found["checksum"] = checksum(found["payload"])
    path.write_text(json.dumps(found))
    assert IntentStore(path).intents == store.intents


def test_a_full_disk_is_told_and_lived_with(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocker = tmp_path / "state"
    store = IntentStore(blocker / "i")
    blocker.write_text("a file where the directory should be")
    put(store)
    assert not store.save() and not store.persisted and VM1 in store.intents
    assert "go on in memory" in caplog.text
    blocker.unlink()
    assert store.save() and store.persisted and IntentStore(blocker / "i").intents


def test_a_crash_between_two_writes_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "i"
    store = IntentStore(path)
    put(store)
    store.save()
    before = path.read_bytes()

    def crash(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", crash)
    put(store)
    assert not store.save()
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_without_a_file_its_intents_are_in_hand(tmp_path: Path) -> None:
    store = IntentStore(tmp_path / "i")
    put(store)
    store.set(VM2, SLO, reserved_cpu_cores=0.7, estimated=True, source=FILE, declared_as="vm2")
    store.save()
    again = IntentStore(tmp_path / "i")
    assert (again.declared_as(VM2), again.declared_as(VM1)) == ("vm2", "")
    assert (again.hand_over(), again.hand_over()) == (1, 0)
    assert (again.source(VM2), again.declared_as(VM2), again.slo(VM2)) == (MANUAL, "", SLO)
    assert set(again.manual) == {VM1, VM2}


def _version_1(*intents: dict[str, object]) -> str:
    payload = {"generations": {"old": 4}, "intents": list(intents)}
    return json.dumps({"version": 1, "checksum": checksum(payload), "payload": payload})


def _entry(uuid: str, source: str, metric: str = "cpu") -> dict[str, object]:
    return {
        "uuid": uuid, "slo": {metric: {"floor": 0.5}}, "generation": 3, "reserved_cpu_cores": 0.55, "estimated": False,
        "source": source, "declared_as": "",
    }  # fmt: skip


def test_a_file_of_version_1_is_read_and_written_as_version_2(tmp_path: Path) -> None:
    path = tmp_path / "i"
    path.write_text(_version_1(_entry(VM1, "hand"), _entry(VM2, FILE)))
    store = IntentStore(path)
    assert (store.intents[VM1].generation, store.intents[VM1].reserved_cpu_cores) == (3, 0.55)
    assert set(store.manual) == {VM1} and store.source(VM2) == FILE and store.generation("old") == 4
    store.mark(VM1, IntentState.DEGRADED, reserved_cpu_cores=0.1, reason="full")
    assert store.save() and json.loads(path.read_text())["version"] == 2
    again = IntentStore(path)
    assert again.intents == store.intents and again.manual == store.manual and again.intents[VM1].reason == "full"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_metric_of_a_later_release_costs_only_its_own_slo(tmp_path: Path) -> None:
    path = tmp_path / "i"
    path.write_text(_version_1(_entry(VM1, "hand"), _entry(VM2, "hand", "smell")))
    store = IntentStore(path)
    assert set(store.intents) == {VM1} and store.unread == {VM2: store.unread[VM2]} and "smell" in store.unread[VM2]
    assert store.generation(VM2) == 3
    put(store, VM2)
    assert not store.unread


def test_revoking_keeps_what_was_set_by_hand_and_unsetting_does_not(tmp_path: Path) -> None:
    store = IntentStore(tmp_path / "i")
    put(store)
    assert store.revoke(VM1) == 2 and not store.intents and set(store.manual) == {VM1}
    assert store.unset(VM1) is None and not store.manual
