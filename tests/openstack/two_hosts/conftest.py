"""The cloud of `make openstack HOSTS=2`: its two compute hosts, seen from their agents, from libvirt and from the kernel."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from laboratory import power
from laboratory.enclosure import Enclosure
from laboratory.settings import Host, Settings, load

from stella.linux import cgroup
from tests.openstack.conftest import Person, create_server

FIGURES: list[tuple[str, str, float]] = []
"""What was done, what was waited for, and the seconds that took."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here needs two hosts."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.two_hosts)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The figures of docs/openstack/moves.md and relief.md, in seconds where nothing else is said."""
    for done, awaited, seconds in FIGURES:
        terminalreporter.write_line(f"{done:<24} {awaited:<26} {seconds:8.1f}")


def moment(told: str) -> float:
    """A time as Stella tells it, in Unix seconds."""
    return datetime.fromisoformat(told).timestamp()


def create_server_on(
    host: str, person: Person, operator: Person, hosts: Mapping[str, Any], name: str, *, flavor: str
) -> str:
    """The uuid of a running server that Nova puts on ``host``, since the others are disabled meanwhile."""
    others = [one for one in hosts if one != host]
    try:
        for one in others:
            operator.run("openstack", "compute", "service", "set", "--disable", one, "nova-compute")
        uuid = create_server(person, name, flavor=flavor)
    finally:
        for one in others:
            operator.run("openstack", "compute", "service", "set", "--enable", one, "nova-compute")
    assert operator.openstack("server", "show", uuid)["OS-EXT-SRV-ATTR:host"] == host
    return uuid


class ComputeHost:
    """One of the two."""

    def __init__(self, settings: Settings, host: Host, admin: Person) -> None:
        self._settings, self._host, self._admin = settings, host, admin
        self.name = host.name
        self.place = Enclosure(settings, host)
        self.controller = Enclosure(settings)

    def xgos(self, *words: str) -> Any:
        """What its agent answers."""
        words = ("xgos", *words, "--socket", str(self._host.agent_socket), "--format", "json")
        return json.loads(self._admin.run(*words))

    def instance(self, uuid: str) -> Mapping[str, Any]:
        """What its agent knows of an instance; empty where it knows none."""
        return next((each for each in self.xgos("instances") if each["uuid"] == uuid), {})

    def _groups(self) -> Iterator[tuple[Path, list[str]]]:
        """Every control group of the host, with its files. One that vanishes meanwhile is passed over."""
        for group in self.place.groups():
            for directory, _, files in os.walk(group):
                yield Path(directory), files

    def knobs(self) -> dict[str, str]:
        """What every knob that Stella may set holds, but for those of instances."""
        return {
            str(directory / name): (directory / name).read_text()
            for directory, files in self._groups()
            for name in cgroup.KNOBS.intersection(files)
            if not any(part.startswith("qemu-") for part in directory.parts)
        }

    def traces(self, uuid: str, domain: str, ports: list[str]) -> list[str]:
        """What there is of an instance on this host."""
        found = []
        if uuid in self.place.run(["/usr/bin/virsh", "list", "--all", "--uuid"]):
            found.append("a domain")
        found += [f"the group {directory}" for directory, _ in self._groups() if domain in directory.name]
        for pid in self._processes():
            with contextlib.suppress(OSError):
                if uuid.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(f"the process {pid}")
        links = self.place.run(["/usr/sbin/ip", "-o", "link"])
        found += [f"a link of the port {port}" for port in ports if port[:11] in links]
        journal = self._host.run / "xgos" / "journal"
        if journal.exists() and uuid in journal.read_text():
            found.append("entries in the agent's journal")
        return found

    def _processes(self) -> set[str]:
        found: set[str] = set()
        for directory, _ in self._groups():
            with contextlib.suppress(OSError):
                found.update((directory / "cgroup.procs").read_text().split())
        return found

    def off(self) -> None:
        """Pull its plug."""
        power.off(self._settings, self.name)

    def on(self) -> None:
        """Start it again."""
        power.on(self._settings, self.name)


@pytest.fixture(scope="session")
def hosts(admin: Person) -> Iterator[dict[str, ComputeHost]]:
    """Both, by name; all are on at the end."""
    settings = load(make=False)
    if settings is None or len(settings.computes) != 2 or not Enclosure(settings).is_open():
        pytest.fail("two compute hosts are needed: make openstack HOSTS=2", pytrace=False)
    found = {host.name: ComputeHost(settings, host, admin) for host in settings.computes}
    yield found
    for host in found.values():
        if not host.place.is_open():
            host.on()
