"""One of several hosts is cut off, as a machine whose plug is pulled, and started again with what was on its disk."""

from laboratory import plan, steps
from laboratory.control_plane import ControlPlane
from laboratory.enclosure import Enclosure
from laboratory.services import Services
from laboratory.settings import Host, LaboratoryError, Settings

AGENT = "xgos"
"""Ansible started it, so no step here does."""


def _one_of_several(settings: Settings, name: str) -> Host:
    host = settings.host(name)
    if not host.cpus:
        raise LaboratoryError(f"{name} is the control plane's host: make openstack-down ends it")
    return host


def off(settings: Settings, name: str) -> None:
    """End every process of a host at once, and with them its mounts, links and control groups. Raises `LaboratoryError`."""
    place = Enclosure(settings, _one_of_several(settings, name))
    if place.is_open():
        Services(place).remember(AGENT)
    place.close()


def on(settings: Settings, name: str) -> None:
    """Start a host that is off, and wait until its services answer. Raises `LaboratoryError`."""
    host, around = _one_of_several(settings, name), Enclosure(settings)
    mine = plan.of_host(settings, host, ControlPlane(settings, around))
    names = {step.name for step in mine}
    if not steps.run([step.only_after(names) for step in mine]):
        raise LaboratoryError(f"{name} is not up; see {host.logs}")
    Services(Enclosure(settings, host)).start(AGENT)
