"""`stella-bench demo`: the demonstration without Stella, then with it as a cloud has it (API, engine, agent); the table of both.

Its guests are the bench's own laboratory's, or servers that Nova makes in the OpenStack of `make openstack`.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from stella.bench.figures.session import scenario_file
from stella.bench.lab.model import LabError
from stella.bench.policies import Policy, make_policy
from stella.bench.policies.through_api import ApiPolicy
from stella.bench.progress import Progress
from stella.bench.report import text_table, write_report
from stella.bench.run import InvalidRun, Options, invalid_reasons, run_all
from stella.bench.scenario import Scenario, check_machine

POLICIES = ("none", "stella")


def make(name: str, directory: Path) -> Policy:
    """Policy ``stella`` goes through the API."""
    if name != ApiPolicy.name:
        return make_policy(name, directory)
    shutil.rmtree(directory, ignore_errors=True)  # of an earlier demonstration
    return ApiPolicy(directory)


def run_demo(output: Path, seconds: int, cache: Path, progress: Progress) -> list[str]:
    """Run it in the bench's own laboratory, print the table and where the report is.

    Returns why it does not count; raises `InvalidScenario` where the machine is too small, `InvalidRun`, `PolicyError`. The directory
    with the guest image is deleted again if it was not there before: nothing is left but ``output``.
    """
    scenario = _scenario(seconds)
    check_machine(scenario, cores=os.cpu_count() or 1)
    ours = not cache.exists()
    options = Options(policies=POLICIES, output=output, cache=cache, on_the_minute=True, make=make)
    try:
        return _run(scenario, options, progress)
    finally:
        if ours:
            shutil.rmtree(cache, ignore_errors=True)


def run_on_openstack(
    output: Path, seconds: int, cache: Path, cloud: Path, progress: Progress, *, in_browser: bool = False
) -> list[str]:
    """The same on Nova's servers. ``cloud``: the directory with the files that `make openstack` wrote (``.run``).

    In a browser: the member sets the SLOs in Horizon; pictures of it are left beside the results.

    Nova makes no server with more vCPUs than its host has CPUs: instances get as many at most, and keep their loads.
    """
    from stella.bench.openstack.policies import without_and_with  # noqa: PLC0415 (nothing else needs OpenStack's libraries)
    from stella.bench.openstack.stage import opener  # noqa: PLC0415
    from stella.bench.openstack.surroundings import find  # noqa: PLC0415

    try:
        there = find(cloud)
    except LabError as error:
        raise InvalidRun(str(error)) from None
    options = Options(
        policies=POLICIES,
        output=output,
        cache=cache,
        on_the_minute=True,
        policy_first=True,
        make=without_and_with(there, in_browser=in_browser),
        open_stage=opener(there),
    )
    scenario, cpus = _scenario(seconds), os.cpu_count() or 1
    fitting = tuple(replace(i, vcpus=min(i.vcpus, cpus)) for i in scenario.instances)
    reasons = _run(replace(scenario, instances=fitting), options, progress)
    url, user, password = (there.operator.get(f"HORIZON_{key}", "") for key in ("URL", "USER", "PASSWORD"))
    print(f"the cloud is up: {url} as {user}, password {password}; make openstack-down removes it")
    return reasons


def _scenario(seconds: int) -> Scenario:
    return scenario_file("demonstration", duration_seconds=seconds)


def _run(scenario: Scenario, options: Options, progress: Progress) -> list[str]:
    seconds = scenario.duration_seconds
    progress.note(f"three VMs with an SLO, two best-effort VMs, {seconds} s each: first without Stella, then with it")
    document = run_all(scenario, options, progress)
    progress.step("drawing the report")
    page = write_report(options.output, document)
    progress.close()
    print(text_table(document))
    print(f"\nreport: {page.resolve()}")
    return invalid_reasons(document)
