"""The real program on recorded hosts: all that it prints, compared with a golden file.

After a change that is meant, look at what ``STELLA_UPDATE_GOLDEN=1 pytest tests/agent`` changed, and commit it with the change.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import HOSTS, xgos

GOLDEN = Path(__file__).parent / "golden"
LEARNED = {"version": 1, "prior": {"io_per_packet": 22e-6}}
"""Of a host that was calibrated: its main loops are dear."""
CLOCKS = ("monotonic_seconds", "wall_seconds", "disks_monotonic_seconds", "duration_seconds")
NAMES = {
    "v1-libvirt9": ("cpu.shares", {"cpu.cfs_quota_us", "cpu.cfs_period_us"}),
    "v1-namespaced": ("cpu.shares", {"cpu.cfs_quota_us", "cpu.cfs_period_us"}),
    "v2-systemd": ("cpu.weight", {"cpu.max"}),
}


def without_clocks(value: Any) -> Any:
    """The same with every clock and duration at 0 (None stays None)."""
    if isinstance(value, dict):
        return {k: 0 if k in CLOCKS and v is not None else without_clocks(v) for k, v in value.items()}
    return [without_clocks(each) for each in value] if isinstance(value, list) else value


def planned(host: str, configured: Callable[..., Path], state: Path) -> dict[str, Any]:
    """What one tick on a recorded host prints."""
    state.mkdir()
    (state / "costs.json").write_text(json.dumps(LEARNED), encoding="utf-8")
    config = configured(slo_file=str(GOLDEN / f"{host}.slo.yaml"))
    done = xgos("--root", HOSTS / host, "--once", "--dry-run", "--config", config)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = without_clocks(json.loads(done.stdout))
    return found


@pytest.mark.parametrize("host", NAMES)
def test_one_tick(host: str, configured: Callable[..., Path], tmp_path: Path) -> None:
    found = planned(host, configured, tmp_path / "state")
    golden = GOLDEN / f"{host}.json"
    if os.environ.get("STELLA_UPDATE_GOLDEN"):
        golden.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    assert found == json.loads(golden.read_text(encoding="utf-8"))
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert left == ["state", "state/costs.json", "xgos.toml"], "a dry run leaves nothing behind"


@pytest.mark.parametrize("host", NAMES)
def test_the_golden_plan_shows_every_kind_of_write(host: str) -> None:
    weight, quotas = NAMES[host]
    document = json.loads((GOLDEN / f"{host}.json").read_text(encoding="utf-8"))
    seen = {instance["name"]: instance["groups"] for instance in document["snapshot"]["instances"]}
    mount = document["snapshot"]["host"]["cgroup_mount"]
    roles = {mount + group["path"]: group["role"] for groups in seen.values() for group in groups}
    written = {(roles[w["target"]["place"]], w["target"]["knob"]) for w in document["writes"]}
    assert {(None, weight), ("emulator", weight), ("iothread", weight)} <= written, "weights on both levels"
    assert {(role, knob) for role, knob in written if knob != weight} == {("vcpu", knob) for knob in quotas}
    assert all(write["temporary"] == (write["target"]["knob"] != weight) for write in document["writes"])
    assert document["outcomes"] == [] and all(write["reason"] for write in document["writes"])
