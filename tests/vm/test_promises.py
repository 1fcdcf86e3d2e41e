"""The real agent on real guests: promises that neighbours break are kept, and the host is left as it was."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stella.bench.figures.session import Session, scenario_file
from stella.bench.progress import Progress
from stella.bench.run import Options, run_all
from stella.bench.scenario_file import load_scenario

pytestmark = [pytest.mark.vm, pytest.mark.timeout(400)]
ROOT = Path(__file__).parents[2]
SECONDS = 15


def cgroups() -> set[str]:
    return (
        {entry.name for entry in os.scandir("/sys/fs/cgroup/cpu") if entry.is_dir()}
        if Path("/sys/fs/cgroup/cpu").is_dir()
        else set()
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    scenario = load_scenario(ROOT / "scenarios" / "demonstration.yaml")
    before = cgroups()
    output = tmp_path_factory.mktemp("demonstration")
    run_all(
        replace(scenario, duration_seconds=SECONDS),
        Options(policies=("none", "stella"), output=output, cache=ROOT / ".run" / "bench"),
        Progress(),
    )
    assert cgroups() == before
    found: dict[str, dict[str, Any]] = json.loads((output / "results.json").read_text())["policies"]
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
    scenario = replace(load_scenario(ROOT / "scenarios" / "demonstration.yaml"), cores=1, duration_seconds=5)
    options = Options(policies=("stella-observe",), output=tmp_path, cache=ROOT / ".run" / "bench")
    document = run_all(scenario, options, Progress())
    assert document["machine"]["cores_used"] == 1
    result = document["policies"]["stella-observe"]
    assert result["host_cpu_cores"] <= 1.05
    assert 0.5 < result["instances_cpu_cores"] <= 1.05


def test_other_policies_leave_no_knob_behind(tmp_path: Path) -> None:
    """`Session.round` raises when a knob cannot be put back; what a policy could not set stands in its notes."""
    session = Session(output=tmp_path, cache=ROOT / ".run" / "bench", progress=Progress())
    scenario = scenario_file("demonstration", duration_seconds=5, warmup_seconds=2.0)
    found = session.round(scenario, ["nova", "static", "gos"], title="round-1")["policies"]
    assert [facts.get("invalid") for facts in found.values()] == [None, None, None]
    assert found["nova"]["result"]["notes"] == []
    assert len(found["static"]["result"]["notes"]) == len(scenario.instances)  # how each was arranged
