"""`stella-bench demo`: the demonstration without Stella, then with it as a cloud has it (API, engine, agent); the table of both."""

import shutil
from dataclasses import replace
from pathlib import Path

from stella.bench.figures.session import scenario_file
from stella.bench.policies import Policy, make_policy
from stella.bench.policies.through_api import ApiPolicy
from stella.bench.progress import Progress
from stella.bench.report import text_table, write_report
from stella.bench.run import Options, invalid_reasons, run_all

POLICIES = ("none", "stella")


def make(name: str, directory: Path) -> Policy:
    """Policy ``stella`` goes through the API."""
    if name != ApiPolicy.name:
        return make_policy(name, directory)
    shutil.rmtree(directory, ignore_errors=True)  # of an earlier demonstration
    return ApiPolicy(directory)


def run_demo(output: Path, seconds: int, cache: Path, progress: Progress) -> list[str]:
    """Run it, print the table and where the report is. Returns why it does not count; raises `InvalidRun`, `PolicyError`.

    The directory with the guest image is deleted again if it was not there before: nothing is left but ``output``.
    """
    scenario = replace(scenario_file("demonstration"), duration_seconds=seconds)
    ours = not cache.exists()
    progress.note(f"three VMs with an SLO, two best-effort VMs, {seconds} s each: first without Stella, then with it")
    try:
        options = Options(policies=POLICIES, output=output, cache=cache, on_the_minute=True, make=make)
        document = run_all(scenario, options, progress)
    finally:
        if ours:
            shutil.rmtree(cache, ignore_errors=True)
    progress.step("drawing the report")
    page = write_report(output, document)
    progress.close()
    print(text_table(document))
    print(f"\nreport: {page.resolve()}")
    return invalid_reasons(document)
