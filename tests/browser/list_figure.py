"""How long Horizon takes for the list: ``python -m tests.browser.list_figure [INSTANCES]``.

One after the other, the same page of a project with few and with many instances, some with an SLO: the time until the last byte, as a
signed-in member gets it, and how many requests Horizon sent to stella-api for it.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.browser.keystone import PASSWORD
from tests.browser.pages import PANEL, sign_in
from tests.browser.site import Site, chromium, new_project, running

FEW, MANY = 20, 500
LOADS, WARM_UP = 60, 5
_EACH_WITH_SLO = 5


def measure(site: Site, instances: int) -> str:
    """A line of the figure."""
    project = new_project(site, "member")
    for number in range(instances):
        uuid = f"{instances:08d}-0000-4000-8000-{number:012d}"
        project.host.agent.add(uuid, project=project.name, name=f"server-{number}")
    project.host.agent.report()
    for number in range(0, min(instances, FEW), _EACH_WITH_SLO):
        project.set(f"{instances:08d}-0000-4000-8000-{number:012d}", cpu=0.1)
    with chromium() as browser:
        page = browser.new_page()
        sign_in(page, site.horizon.url, project.account.name, PASSWORD)
        took = []
        for number in range(WARM_UP + LOADS):
            if number == WARM_UP:
                asked = site.stella.answered
            began = time.monotonic()
            answer = page.context.request.get(f"{site.horizon.url}{PANEL}")
            assert answer.ok and 'data-stella-instance="' in answer.text(), answer.status
            took.append((time.monotonic() - began) * 1000)
    took = sorted(took[WARM_UP:])
    p50, p95 = statistics.median(took), took[round(len(took) * 0.95) - 1]
    calls = (site.stella.answered - asked) / LOADS
    times = f"median {p50:.0f} ms, p95 {p95:.0f} ms, largest {took[-1]:.0f} ms of {LOADS}"
    return f"{instances} instances: {times}; {calls:.1f} requests to stella-api"


def main(arguments: list[str]) -> int:
    """Print both."""
    many = int(arguments[0]) if arguments else MANY
    with tempfile.TemporaryDirectory() as directory, running(Path(directory)) as site:
        site.stella.hosts.clear()  # nothing reports meanwhile: it would be counted, and share the CPU
        for instances in (FEW, many):
            print(measure(site, instances), flush=True)
            site.stella.hosts.clear()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
