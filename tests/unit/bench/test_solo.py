"""Solo runs: each load alone, then all together."""

import pytest

from stella.bench import solo
from stella.bench.figures.session import scenario_file
from stella.bench.recording import InstanceRecording, Recording, Series


def test_solo_scenario_runs_each_alone_and_then_all() -> None:
    scenario, turns = solo.solo_scenario(scenario_file("demonstration"))
    assert list(turns) == ["vm1", "vm2", "vm3", "hog", "noisy", ""]
    assert all(scenario.starts_idle(i.name) and not scenario.has_slo(i.name) for i in scenario.instances)
    assert [e.at_seconds for e in scenario.events] == sorted(e.at_seconds for e in scenario.events)


def test_a_solo_run_is_read_from_its_turn_alone() -> None:
    recording = Recording(start=100.0, end=115.0)
    for name, second in (("a", 0.0), ("b", 5.0)):
        times = [100.0, 100.0 + second, 104.0 + second, 115.0]
        record = recording.instances[name] = InstanceRecording()
        record.cpu = Series(times, [0.0, 0.0, 6.0, 6.0])
        record.run = {"vcpu": Series(times, [0.0, 0.0, 4.0, 4.0]), "main": Series(times, [0.0, 0.0, 2.0, 2.0])}
        record.windows = {
            "network_packets.tx": Series(times, [0.0, 0.0, 40.0, 40.0]),
            "cpu_events": Series(times, [0.0] * 4),
        }
    recording.host_cpu, recording.instances_cpu = (
        Series([100.0, 115.0], [0.0, 30.0]),
        Series([100.0, 115.0], [0.0, 27.0]),
    )
    turns = {"a": 0, "b": 5, "": 10}
    found = solo.read_solo(recording, turns, 5)
    assert set(found) == {"a", "b"}
    one = found["b"]
    assert (one.cores, one.vcpu_cores, one.main_cores, one.iothread_cores) == pytest.approx((1.5, 1.0, 0.5, 0.0))
    assert one.work == {"network_packets.tx": pytest.approx(10.0)}
    assert solo.overhead_cores(recording, turns) == pytest.approx(0.2)
