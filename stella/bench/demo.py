"""`stella-bench demo`: the demonstration without management, then with Stella; the table of both."""

import shutil
from dataclasses import replace
from pathlib import Path

from stella.bench.figures.session import scenario_file
from stella.bench.progress import Progress
from stella.bench.report import text_table, write_report
from stella.bench.run import Options, invalid_reasons, run_all

POLICIES = ("none", "stella")


def run_demo(output: Path, seconds: int, cache: Path, progress: Progress) -> list[str]:
    """Run it, print the table and where the report is. Returns why it does not count; raises `InvalidRun`, `PolicyError`.

    The directory with the guest image is deleted again if it was not there before: nothing is left but ``output``.
    """
    scenario = replace(scenario_file("demonstration"), duration_seconds=seconds)
    ours = not cache.exists()
    progress.note(
        f"three VMs with promises, two noisy neighbours, {seconds} s each: first as it is today, then with Stella"
    )
    try:
        document = run_all(scenario, Options(policies=POLICIES, output=output, cache=cache), progress)
    finally:
        if ours:
            shutil.rmtree(cache, ignore_errors=True)
    progress.step("drawing the report")
    page = write_report(output, document)
    progress.close()
    print(text_table(document))
    print(f"\nreport: {page.resolve()}")
    return invalid_reasons(document)
