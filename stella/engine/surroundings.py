"""Which cloud the engine works in, as ``[cloud]`` says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oslo_config import cfg

from stella.clouds.port import Cloud, Ledger
from stella.clouds.standalone import NoLedger, Standalone
from stella.conf.cloud import OPENSTACK
from stella.engine.duties import DUTIES, evacuation, failover, relief
from stella.engine.duty import Companion, Duty
from stella.model.slo import Metric

_LIMITS = {
    Metric.NETWORK_PACKETS: "largest_network_packets_per_second",
    Metric.NETWORK_BYTES: "largest_network_bytes_per_second",
    Metric.BLOCK_BYTES: "largest_block_bytes_per_second",
    Metric.BLOCK_OPERATIONS: "largest_block_operations_per_second",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The cloud that is asked, what there is to do in it, and what goes on beside that."""

    cloud: Cloud
    ledger: Ledger
    duties: Sequence[Duty]
    companions: Sequence[Companion] = ()


def limits_of_devices(config: cfg.ConfigOpts) -> Mapping[Metric, float]:
    """What the devices of each host can do, in each metric's base unit, where it is configured."""
    found = {metric: config.cloud[option] for metric, option in _LIMITS.items()}
    return {metric: value for metric, value in found.items() if value is not None}


def find(config: cfg.ConfigOpts) -> Surroundings:
    """What ``[cloud] kind`` says; nothing is asked yet. Raises `stella.conf.InvalidConfig`."""
    if config.cloud.kind != OPENSTACK:
        moving = (relief.duty(config, None), evacuation.duty(config, None), failover.duty(config))
        return Surroundings(cloud=Standalone(), ledger=NoLedger(), duties=(*DUTIES, *moving))
    # imported here: without OpenStack its client is not loaded
    from stella.clouds.openstack.allocations import ledger_of  # noqa: PLC0415
    from stella.clouds.openstack.moves import Moves  # noqa: PLC0415
    from stella.clouds.openstack.notifications import Hints, Listener  # noqa: PLC0415
    from stella.clouds.openstack.nova import Nova  # noqa: PLC0415
    from stella.clouds.openstack.session import OpenStack  # noqa: PLC0415
    from stella.engine.duties import following, ledger, limits, no_host, placement  # noqa: PLC0415

    openstack, hints, unplaced = OpenStack(config), Hints(), Hints()
    held = ledger_of(openstack)
    mover = Moves(openstack.nova, held)
    own = (
        relief.duty(config, mover),
        evacuation.duty(config, mover),
        failover.duty(config),
        following.duty(openstack.nova, hints, margin=config.link.reservation_margin_ratio),
        *placement.duties(openstack, limits=limits_of_devices(config)),
        *ledger.duties(openstack),
        *limits.duties(openstack),
        no_host.duty(openstack.nova, unplaced, margin=config.link.reservation_margin_ratio),
    )
    return Surroundings(
        cloud=Nova(openstack.nova),
        ledger=held,
        duties=(*DUTIES, *own),
        companions=[Listener(config, hints, unplaced)] if config.notifications.transport_url else [],
    )
