"""The tenant of the demonstration, who sets SLOs in Horizon."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from stella.bench.openstack.dashboard import Dashboard, DashboardTenant
from stella.model.slo import Direction, Metric, Objective, Slo
from tests.browser.keystone import PASSWORD
from tests.browser.site import Project, Site


def apart(call: Callable[..., Any], *words: object) -> Any:
    """Call it in a thread of its own: Playwright has one loop for each, and the other tests' browser may be open in this one."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(call, *words).result()


def test_an_slo_is_set_in_force_and_removed(site: Site, project: Project, tmp_path: Path) -> None:
    uuid = project.instance("vm1")
    dashboard = Dashboard(url=site.horizon.url, user=project.account.name, password=PASSWORD, pictures=tmp_path)
    tenant = DashboardTenant(dashboard, {"vm1": uuid}, lambda *_: None, lambda path: project.user.get(path).json)

    def packets(floor: float) -> Slo:
        return Slo((Objective(metric=Metric.NETWORK_PACKETS, floor=floor, direction=Direction.TX),))

    assert apart(tenant.set_at_start, {"vm1": packets(10_000.0)}) == []
    shown = project.user.get(f"/v1/instances/{uuid}/slo").json
    assert shown["state"] == "enforced"
    assert shown["objectives"]["network_packets"] == {"floor": 10_000.0, "direction": "tx"}
    assert {path.name for path in tmp_path.iterdir()} == {"list-before.png", "form-vm1.png", "list-vm1.png"}
    apart(tenant.look_back)
    assert tenant.notes == [] and {path.name for path in tmp_path.iterdir()} >= {
        "measured-vm1.png",
        "list-measured.png",
    }
    assert [(one.instance, one.metric) for one in tenant.shown] == [("vm1", "network_packets")]
    (refused,) = apart(tenant.change, "vm1", packets(200_000.0), 5.0)
    assert "does not fit" in refused.message
    apart(tenant.withdraw)
    assert project.user.get(f"/v1/instances/{uuid}/slo").status_code == 404
