"""Rounds and runs on a laboratory that is only pretended, at a time that is only pretended: who begins, ends and is judged when."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, Self

import pytest

from stella.bench import run
from stella.bench.figures import session as sessions
from stella.bench.figures.session import Session
from stella.bench.lab.model import LabError
from stella.bench.policies import NonePolicy, Policy
from stella.bench.policies.base import PolicyError
from stella.bench.policies.static import StaticPolicy
from stella.bench.probes import Probe
from stella.bench.progress import Progress
from stella.bench.recording import Asked, InstanceRecording, Recording, Series
from stella.bench.run import InvalidRun, Options, run_all
from stella.bench.scenario import Scenario
from stella.bench.scenario_file import parse_scenario

SCENARIO = parse_scenario(
    """
name: pretended
duration: 10s
warmup: 2s
instances:
  - {name: vm1, workload: {kind: udp}, slo: {network_packets: {floor: 100pps, direction: tx}}}
  - {name: hog, workload: {kind: disk, rate: 5MB/s}}
events:
  - {at: 5s, instance: hog, workload: {rate: 9MB/s}}
"""
)


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Recorder:
    def __init__(self, lab: "Lab") -> None:
        self.lab = lab

    def died(self) -> Mapping[str, str]:
        return self.lab.dead

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def watch_agent(self, pid: int) -> None:
        pass

    def finish(self, start: float, end: float) -> Recording:
        def steady(rate: float) -> Series:
            return Series([start - 1, end + 1], [0.0, rate * (end - start + 2)])

        rate = self.lab.rates.get(self.lab.log[-1] if self.lab.log else "", 50.0)
        vm1 = InstanceRecording(
            windows={"network_packets.tx": steady(rate)}, asked=[Asked(start - 1, "network_packets.tx", math.inf)]
        )
        vm1.cpu, vm1.run = steady(0.5), {"vcpu": steady(0.4), "main": steady(0.1)}
        hog = InstanceRecording(windows={"block_bytes.read": steady(5e6)})
        hog.cpu = steady(1.0)
        found = Recording(start=start, end=end, instances={"vm1": vm1, "hog": hog})
        found.host_cpu, found.instances_cpu = steady(1.8), steady(1.5)
        found.steal = steady(self.lab.steal.pop(0) if self.lab.steal else 0.0)
        return found


class Lab:
    """A stage on which nothing is. ``log``: which policies are in force; ``done``: what was asked of it."""

    accelerator, cpus, partition, uri = "tcg", (0, 1), "/lab", ""
    qemu_pids: Mapping[str, int] = {}

    def __init__(self, top: Path, clock: Clock) -> None:
        self.cgroup = SimpleNamespace(cpu_root=top, cpuset_root=None, version=1)
        self.partition_cgroup, self.clock = top / "lab.partition", clock
        (self.partition_cgroup / "vm1").mkdir(parents=True, exist_ok=True)
        self.knob = self.partition_cgroup / "vm1" / "cpu.shares"
        self.knob.write_text("1024\n")
        self.log: list[str] = []
        self.done: list[Any] = []
        self.dead: dict[str, str] = {}
        self.steal: list[float] = []
        self.rates = {"stella": 100.0, "static": 80.0}
        self.boots = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def boot(self, guests: Sequence[Any], *, prepare: bool = True) -> None:
        self.boots += 1

    def record(self) -> Recorder:
        return Recorder(self)

    def start(self, name: str) -> None:
        self.done.append(("start", name))

    def stop(self, name: str) -> None:
        self.done.append(("stop", name))

    def halt(self) -> None:
        self.done.append("halt")

    def change(self, name: str, *, index: int | None = None, **keys: Any) -> None:
        self.done.append((name, keys))


class Touching(NonePolicy):
    """A policy that changes a knob and leaves it so."""

    def __init__(self, name: str, fails: str = "") -> None:
        self.name, self._fails = name, fails

    def begin(self, lab: Any, scenario: Scenario, slos: Mapping[str, Any]) -> tuple[()]:
        assert lab.knob.read_text() == "1024\n", "another policy's knob is still set"
        lab.knob.write_text("7\n")
        if self._fails:
            raise PolicyError(self._fails)
        lab.log.append(self.name)
        return ()

    def end(self) -> None:
        pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(run, "time", made)
    return made


@pytest.fixture
def lab(tmp_path: Path, clock: Clock) -> Lab:
    return Lab(tmp_path / "cgroup", clock)


class Silent(Progress):
    def note(self, text: str) -> None:
        pass

    step = note

    def tick(self, text: str, done_seconds: float, all_seconds: float) -> None:
        pass


@pytest.fixture
def session(tmp_path: Path, lab: Lab) -> Session:
    return Session(output=tmp_path, cache=tmp_path, progress=Silent(), open_stage=lambda *_: lab)  # type: ignore[arg-type,return-value]


def touching(name: str, directory: Path) -> Policy:
    return Touching(name)


def test_all_policies_of_a_round_have_the_same_guests_as_they_were(session: Session, lab: Lab) -> None:
    facts = session.round(SCENARIO, ["none", "stella"], title="toy round-1", make=touching)
    assert lab.boots == 1
    ratios = {name: found["result"]["all_met_95_ratio"] for name, found in facts["policies"].items()}
    assert ratios == {"none": 0.0, "stella": 1.0}
    assert lab.knob.read_text() == "1024\n"
    rates = [keys["rate"] for what in lab.done if isinstance(what, tuple) and isinstance(keys := what[1], dict)]
    assert rates == [9e6, 5e6, 9e6, 5e6]  # the event of each run, and back
    assert facts["cores"] == 2
    assert all(found["discarded"] == [] for found in facts["policies"].values())


def test_solo_runs_are_made_once_and_size_what_needs_them(session: Session, lab: Lab) -> None:
    given: list[StaticPolicy] = []

    class Sized(StaticPolicy):
        def begin(self, lab: Any, scenario: Scenario, slos: Mapping[str, Any]) -> tuple[()]:
            given.append(self)
            return ()

    for _ in range(2):
        facts = session.round(SCENARIO, ["static"], title="toy round-1", make=lambda *_: Sized())
    assert [policy.overhead_cores for policy in given] == pytest.approx([0.3, 0.3])
    assert given[0].solo is given[1].solo
    assert given[0].solo["vm1"].vcpu_cores == pytest.approx(0.4)
    assert [what for what in lab.done if what == ("stop", "vm1")] == [("stop", "vm1")]
    (best_effort,) = facts["policies"]["static"]["result"]["best_effort"]
    # 2 - 0.3 of overhead - the floor's 0.5 x 50/50 leave 1.2; the hog wants 1.0 of it
    assert best_effort["fair_cores"] == pytest.approx(1.0)
    assert best_effort["share_of_fair"] == pytest.approx(1.0)


def test_only_a_fault_of_the_machine_is_tried_again(session: Session, lab: Lab) -> None:
    lab.steal = [0.5, 0.0, 0.5, 0.5]
    facts = session.round(SCENARIO, ["none", "stella"], title="toy round-1", with_solo=False, make=touching)["policies"]
    assert len(facts["none"]["discarded"]) == 1
    assert "invalid" not in facts["none"]
    assert "steal" in facts["stella"]["invalid"]
    assert len(facts["stella"]["discarded"]) == sessions.ATTEMPTS


def test_an_agent_that_does_not_start_is_not_tried_again_and_the_others_go_on(session: Session, lab: Lab) -> None:
    made: Iterator[int] = itertools.count()

    def make(name: str, directory: Path) -> Policy:
        next(made)
        return Touching(name, fails="the agent does not start" if name == "stella" else "")

    facts = session.round(SCENARIO, ["stella", "none"], title="toy round-1", with_solo=False, make=make)["policies"]
    assert facts["stella"] == {"invalid": "the agent does not start", "discarded": []}
    assert "invalid" not in facts["none"]
    assert next(made) == 2


def test_a_guest_that_dies_ends_the_round(session: Session, lab: Lab) -> None:
    lab.dead = {"vm1": "the guest ended"}
    with pytest.raises(InvalidRun, match="vm1: the guest ended"):
        session.round(SCENARIO, ["none"], title="toy round-1", with_solo=False, make=touching)


def test_a_knob_that_cannot_be_put_back_ends_the_round(
    session: Session, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions.Knobs, "_write", lambda *_: None)
    with pytest.raises(InvalidRun, match=r"knobs cannot be put back after a policy: vm1/cpu\.shares"):
        session.round(SCENARIO, ["none", "stella"], title="toy round-1", with_solo=False, make=touching)


def test_probes_are_told_the_stages_in_order(session: Session) -> None:
    told: list[str] = []

    class Listening(Probe):
        name = "heard"

        def before(self, lab: Any, policy: Policy) -> None:
            told.append("before")

        def begun(self) -> None:
            told.append("begun")

        def ending(self) -> None:
            told.append("ending")

        def ended(self) -> None:
            told.append("ended")

        def facts(self, start: float, end: float) -> float:
            return end - start

    facts = session.round(
        SCENARIO, ["none"], title="toy round-1", with_solo=False, make=touching, probes=lambda _: (Listening(),)
    )
    assert told == ["before", "begun", "ending", "ended"]
    assert facts["policies"]["none"]["heard"] == 10


def options(tmp_path: Path, lab: Lab, *policies: str, make: Callable[[str, Path], Policy] = touching) -> Options:
    return Options(policies=policies, output=tmp_path, cache=tmp_path, make=make, open_stage=lambda *_: lab)  # type: ignore[arg-type,return-value]


def test_a_run_of_static_measures_solo_first(tmp_path: Path, lab: Lab) -> None:
    class Sized(StaticPolicy):
        def begin(self, lab: Any, scenario: Scenario, slos: Mapping[str, Any]) -> tuple[()]:
            assert set(self.solo) == {"vm1", "hog"}
            lab.log.append("static")
            return ()

    document = run_all(SCENARIO, options(tmp_path, lab, "static", make=lambda *_: Sized()), Silent())
    assert lab.boots == 2  # once for the solo runs
    assert set(document["solo"]) == {"vm1", "hog"}
    assert document["command"].startswith("stella-bench")
    assert document["machine"]["cores_used"] == 2
    assert (tmp_path / "static.csv").read_text().splitlines()[0].endswith("cpu_cores.vm1,cpu_cores.hog,cpu_cores")


def test_what_goes_wrong_on_the_stage_is_one_line(tmp_path: Path, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(guests: Sequence[Any], *, prepare: bool = True) -> None:
        raise LabError("guest vm1 does not boot: no answer")

    monkeypatch.setattr(lab, "boot", fail)
    with pytest.raises(InvalidRun, match="guest vm1 does not boot"):
        run_all(SCENARIO, options(tmp_path, lab, "none"), Silent())
