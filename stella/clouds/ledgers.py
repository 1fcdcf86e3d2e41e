"""Which ledger there is beside the database, as ``[cloud] kind`` says."""

from oslo_config import cfg

from stella.clouds.port import Ledger
from stella.clouds.standalone import NoLedger
from stella.conf.cloud import OPENSTACK


def find(config: cfg.ConfigOpts) -> Ledger:
    """The ledger; nothing is asked yet. Raises `stella.conf.InvalidConfig`."""
    if config.cloud.kind != OPENSTACK:
        return NoLedger()
    # imported here: without OpenStack its client is not loaded
    from stella.clouds.openstack.allocations import ledger_of  # noqa: PLC0415
    from stella.clouds.openstack.session import OpenStack  # noqa: PLC0415

    return ledger_of(OpenStack(config))
