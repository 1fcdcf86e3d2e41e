"""The real agent on real guests: promises that neighbours break are kept, and the host is left as it was."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

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


def kept(result: dict[str, Any]) -> dict[str, float]:
    """For each promise the share of it that was given in the mean, at most 1."""
    return {o["instance"]: min(1.0, o["mean"] / o["value"]) for o in result["objectives"]}


def test_neighbours_break_promises_and_stella_mends_them(results: dict[str, dict[str, Any]]) -> None:
    """How well is a figure (`make figures`), not a test: machines that run tests are shared."""
    unmanaged, managed = results["none"], results["stella"]
    assert unmanaged["all_met_95_ratio"] < 0.5
    assert managed["all_met_95_ratio"] >= unmanaged["all_met_95_ratio"]
    assert min(kept(managed).values()) > min(kept(unmanaged).values())
    assert sum(kept(managed).values()) > sum(kept(unmanaged).values())


def test_the_agent_judges_as_the_outside_does(results: dict[str, dict[str, Any]]) -> None:
    agent = results["stella"]["agent"]
    assert agent["status_agreement_ratio"] > 0.8
    assert agent["ticks"] > SECONDS * 4


def test_no_promise_was_refused(results: dict[str, dict[str, Any]]) -> None:
    assert results["stella"]["refused"] == []
