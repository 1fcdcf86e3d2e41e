"""schemathesis, all its checks, against the document and the process as clients meet them: no 5xx, nothing that is not documented.

CI has it try every boundary that the document names as an administrator, and a fixed choice of random requests as a member. With
``STELLA_LONG_TESTS=1`` both are more than 1 000 requests, at random.
"""

import re
import subprocess
import time
from pathlib import Path

import pytest

from stella.api.routes import ROUTES
from tests.functional.conftest import Cloud, uuid
from tests.functional.long import LONG
from tests.functional.process import serving

_HOSTS, _INSTANCES_EACH, _SLOS_EACH = 3, 4, 3

CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "401", "403", "404", "409", "422"]

[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "411", "413", "415", "422"]
"""
_SEMANTICS = """
[[operations]]
include-operation-id = "{operation}"
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "400", "401", "403", "404", "409", "413", "422"]
"""
_BEYOND_SCHEMAS = {
    "slo.put": "units depend on the metric, floors on ceilings",
    "quota.put": "units depend on the metric",
    "estimate.post": "units depend on the metric, floors on ceilings",
    "candidate.post": "units depend on the metric, extra specs are names of their own",
    "sla.post": "steps of a credit table depend on one another, time zones are names of their own, units depend on the metric",
    "sla.patch": "steps of a credit table depend on one another, units depend on the metric",
    "attachment.post": "an instance is known or not",
    "exclusion.post": "until depends on start and that on the time, the target on the scope",
    "exclusion.delete": "the reason must be given",
    "correction.delete": "the reason must be given",
    "correction.post": "the target depends on the source, the instance must have been under the class",
    "sla_report.show": "the period must have begun",
    "report.post": "the host's clock is compared with the server's; a full report may be larger than what is taken at once",
}
"""Operations that answer 400 to some requests that their schema allows, and why no schema can say so."""
_PAIRS = ({"from", "to"}, {"sort", "marker"})
"""The same for parameters that go together: from is before to; with sort, the marker names what is there."""


def beyond_schemas() -> list[str]:
    """Names of the operations whose requests no schema describes in full."""
    known = {operation.name: operation for operations in ROUTES.values() for operation in operations.values()}
    assert set(_BEYOND_SCHEMAS) <= set(known)
    paired = [name for name, found in known.items() if any(pair <= set(found.query["properties"]) for pair in _PAIRS)]
    return sorted({*_BEYOND_SCHEMAS, *paired})


def fill(cloud: Cloud) -> str:
    """Hosts, instances and SLOs; the credential of one host is returned."""
    cloud.clock.now = time.time()
    made = [cloud.host(f"host{number}", cpus=8) for number in range(_HOSTS)]
    for number, host in enumerate(made):
        names = [uuid(10 * number + one) for one in range(_INSTANCES_EACH)]
        for name in names:
            host.add(name)
        assert host.report().status_code == 200
        for name in names[:_SLOS_EACH]:
            assert cloud.member.put_slo(name, {"cpu": {"floor": 0.1}}).status_code == 201
        assert host.acknowledge().status_code == 200
    return made[0].credential


@pytest.mark.timeout(900)
@pytest.mark.parametrize("role", ["admin", "member"])
def test_every_answer_is_documented(cloud: Cloud, tmp_path: Path, role: str) -> None:
    credential = fill(cloud)
    (tmp_path / "schemathesis.toml").write_text(
        CONFIG + "".join(_SEMANTICS.format(operation=operation) for operation in beyond_schemas())
    )
    phases = "coverage,fuzzing" if LONG else {"admin": "coverage", "member": "fuzzing"}[role]
    options = ["--phases", phases, "-n", "100" if LONG else "10", "--checks", "all", "--continue-on-failure"]
    options += [] if LONG else ["--seed", "1"]
    with serving(cloud.config_path) as server:
        command = ["schemathesis", "run", f"{server.url}/openapi.json", "--no-color", "--generation-database", "none"]
        headers = ["-H", f"X-Auth-Token: {getattr(cloud, role).token}", "-H", f"Authorization: Bearer {credential}"]
        done = subprocess.run(
            [*command, *headers, *options], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=850
        )
    report = "\n".join(line[:500] for line in done.stdout.splitlines())
    assert done.returncode == 0, report + done.stderr
    generated = re.search(r"(\d+) generated", report)
    assert generated and int(generated[1]) >= (1000 if LONG else 100), report
    log = server.log.read_text()
    assert "Traceback" not in log, log[-3000:]
    assert credential not in log and cloud.admin.token not in log
    print(f"{role}: {generated[0]}")
