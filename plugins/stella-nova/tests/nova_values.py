"""Nova's values as far as the filter and the weigher look at them: objects that tell which of their fields are set."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oslo_config import cfg
from stella_nova import options


@dataclass
class Flavor:
    """``nova.objects.Flavor``."""

    extra_specs: dict[str, str] = field(default_factory=dict)
    vcpus: int = 1
    name: str = "gold"

    def __contains__(self, name: str) -> bool:
        return True


@dataclass
class Spec:
    """``nova.objects.RequestSpec``."""

    flavor: Flavor
    instance_uuid: str = "00000000-0000-4000-8000-000000000099"
    num_instances: int = 1
    ignore_hosts: list[str] | None = None

    def __contains__(self, name: str) -> bool:
        return True


@dataclass
class Host:
    """``nova.scheduler.host_manager.HostState``."""

    host: str


def hosts(*names: str) -> list[Any]:
    return [Host(name) for name in names]


def load(directory: Path, group: str) -> cfg.ConfigOpts:
    """A nova.conf with this ``[stella]``."""
    path = directory / "nova.conf"
    path.write_text(f"[stella]\n{group}")
    found = cfg.ConfigOpts()
    found([], default_config_files=[str(path)], project="nova")
    options.register(found)
    options.register(found)
    return found
