"""The instances of a simulated host: the same for the same name, number and seed, in every run."""

import uuid
from collections.abc import Sequence

from stella.sim import chance
from stella.sim.instance import InstanceSpec
from stella.sim.loads import Load, Wave, block, compute, network

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "sim.stella")
PROJECT = "demo"
OTHER_PROJECT = "acme"
FLAVOR = "sim.small"
_KINDS = ("web", "db", "batch", "acme-batch", "batch", "web", "db", "cache")
"""In turn; from the ninth instance on again from the first. The one of another project comes once on each host."""


def instance_uuid(host_name: str, number: int) -> str:
    """The uuid of the ``number``-th instance (from 1) of a host."""
    return str(uuid.uuid5(NAMESPACE, f"{host_name}/{number}"))


def specs(host_name: str, host_number: int, instances: int, *, seed: int = 0) -> Sequence[InstanceSpec]:
    """The instances of the ``host_number``-th host (from 1). Their names differ over all hosts that have equally many."""
    counts: dict[str, int] = {}
    kinds = []
    for n in range(instances):
        kind = _KINDS[n % len(_KINDS)]
        kinds.append("batch" if kind == "acme-batch" and n >= len(_KINDS) else kind)
    found = []
    for n, kind in enumerate(kinds):
        counts[kind] = counts.get(kind, 0) + 1
        number = (host_number - 1) * kinds.count(kind) + counts[kind]
        vcpus, loads = _loads(kind, chance.derived(seed, host_name, n))
        found.append(
            InstanceSpec(
                uuid=instance_uuid(host_name, n + 1),
                name=f"{kind}-{number}",
                project=OTHER_PROJECT if kind == "acme-batch" else PROJECT,
                flavor=FLAVOR,
                vcpus=vcpus,
                iothreads=1,
                loads=loads,
            )
        )
    return found


def _loads(kind: str, seed: int) -> tuple[int, tuple[Load, ...]]:
    """(vCPUs, loads): what asks for much, wakes and idles; batches never sleep for long."""
    about = 0.85 + 0.3 * chance.unit(seed, 0)
    if kind == "web":
        wave = Wave(period_seconds=40 * about, awake_ratio=0.8, low=0.1)
        return 2, (network(45_000 * about, wave=wave),)
    if kind == "db":
        wave = Wave(period_seconds=60 * about, awake_ratio=0.8, low=0.05)
        return 2, (block(350e6 * about, wave=wave),)
    if kind == "cache":
        wave = Wave(period_seconds=30 * about, awake_ratio=0.5, low=0.02)
        return 2, (network(15_000 * about, wave=wave), compute(1, busy_ratio=0.3, wave=wave))
    wave = Wave(period_seconds=300 * about, awake_ratio=0.9, low=0.1)
    return 4, (compute(4, wave=wave),)
