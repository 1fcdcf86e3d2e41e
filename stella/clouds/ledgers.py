"""Which ledger there is beside the database, as ``[cloud] kind`` says."""

from functools import partial
from typing import TYPE_CHECKING

from oslo_config import cfg

from stella.clouds.port import Ledger
from stella.clouds.standalone import NoLedger
from stella.conf.cloud import OPENSTACK

if TYPE_CHECKING:
    from stella.clouds.openstack.session import OpenStack


def find(config: cfg.ConfigOpts) -> Ledger:
    """The ledger; nothing is asked yet. Raises `stella.conf.InvalidConfig`."""
    if config.cloud.kind != OPENSTACK:
        return NoLedger()
    # imported here: without OpenStack its client is not loaded
    from stella.clouds.openstack.session import OpenStack  # noqa: PLC0415

    return of_openstack(OpenStack(config))


def of_openstack(openstack: "OpenStack") -> Ledger:
    """Placement, with Nova to tell what it is moving."""
    from stella.clouds.openstack.allocations import PlacementLedger  # noqa: PLC0415
    from stella.clouds.openstack.nova import migrations  # noqa: PLC0415

    return PlacementLedger(openstack.placement, migrations=partial(migrations, openstack.nova))
