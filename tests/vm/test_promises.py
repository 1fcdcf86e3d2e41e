"""The real agent on real guests: promises that neighbours break are kept, and the host is left as it was."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stella.bench import stage
from stella.bench.figures.session import Session, scenario_file
from stella.bench.policies import make_policy
from stella.bench.progress import Progress
from stella.bench.results import policy_result
from stella.bench.run import Options, measured, opened, run_all
from stella.bench.scenario import Scenario
from tests.functional.long import LONG, choose

pytestmark = [pytest.mark.vm, pytest.mark.timeout(400)]
CACHE = Path(__file__).parents[2] / ".run" / "bench"
SECONDS = 15


def cgroups() -> set[str]:
    return (
        {entry.name for entry in os.scandir("/sys/fs/cgroup/cpu") if entry.is_dir()}
        if Path("/sys/fs/cgroup/cpu").is_dir()
        else set()
    )


def with_few_guests(scenario: Scenario, *names: str) -> Scenario:
    """Only these guests, unless the long versions are wanted: each takes seconds to boot."""
    return scenario if LONG else replace(scenario, instances=tuple(scenario.instance(name) for name in names))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Both policies on the same guests: `none` comes first, and leaves no knob that `stella` could meet."""
    scenario, progress = scenario_file("demonstration", duration_seconds=SECONDS), Progress()
    before = cgroups()
    output = tmp_path_factory.mktemp("demonstration")
    options = Options(policies=(), output=output, cache=CACHE)
    found = {}
    with opened(scenario, options, progress, "demonstration") as lab:
        lab.boot(stage.guests(scenario))
        for name in ("none", "stella"):
            run = measured(scenario, lab, make_policy(name, output / name), options, progress, title=name)
            lab.halt()
            found[name] = policy_result(scenario, run, {}, series="")
    assert cgroups() <= before
    return found


def test_neighbours_break_floors_and_stella_mends_them(results: dict[str, dict[str, Any]]) -> None:
    """How well is a figure (`make figures`), not a test: machines that run tests are shared. On any machine it runs on two CPUs."""
    unmanaged, managed = results["none"], results["stella"]
    assert unmanaged["all_met_95_ratio"] < 0.5
    assert managed["all_met_95_ratio"] >= unmanaged["all_met_95_ratio"] + 0.3


def test_the_agent_judges_as_the_outside_does(results: dict[str, dict[str, Any]]) -> None:
    agent = results["stella"]["agent"]
    assert agent["status_agreement_ratio"] > 0.8
    assert agent["ticks"] > SECONDS * 3


def test_no_slo_was_refused(results: dict[str, dict[str, Any]]) -> None:
    assert results["stella"]["refused"] == []


def test_a_confined_laboratory_is_a_small_host_for_all_in_it(tmp_path: Path) -> None:
    """On one CPU: what runs in it, and what the agent guarantees, is of that CPU."""
    scenario = with_few_guests(scenario_file("demonstration", cores=1, duration_seconds=5), "vm3", "hog")
    document = run_all(scenario, Options(policies=("stella-observe",), output=tmp_path, cache=CACHE), Progress())
    assert document["machine"]["cores_used"] == 1
    result = document["policies"]["stella-observe"]
    assert result["host_cpu_cores"] <= 1.05
    assert 0.5 < result["instances_cpu_cores"] <= 1.05


def test_other_policies_leave_no_knob_behind(tmp_path: Path) -> None:
    """`Session.round` raises when a knob cannot be put back; what a policy could not set stands in its notes."""
    policies = choose(short=["static"], long=["nova", "static", "gos"])
    session = Session(output=tmp_path, cache=CACHE, progress=Progress())
    scenario = scenario_file("demonstration", duration_seconds=5, warmup_seconds=2.0)
    scenario = with_few_guests(scenario, "vm2", "hog")
    found = session.round(scenario, policies, title="round-1")["policies"]
    assert {name: facts.get("invalid") for name, facts in found.items()} == dict.fromkeys(policies)
    assert len(found["static"]["result"]["notes"]) == len(scenario.instances)  # how each was arranged
    if LONG:
        assert found["nova"]["result"]["notes"] == []
