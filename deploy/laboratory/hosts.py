"""What runs on one host of the laboratory: Open vSwitch and Neutron's agent, and where there are instances libvirt and nova-compute.

A host beside the control plane reads the same configuration files as it; each of several hosts reads one more, with what is its own.
"""

import os
import subprocess
import time
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from laboratory import files, packages
from laboratory.control_plane import NOTIFICATIONS, ControlPlane
from laboratory.enclosure import DATA_PATH, HERE, Enclosure
from laboratory.fabric import GATEWAY, PHYSICAL
from laboratory.services import Service, Services
from laboratory.settings import QUEUE_PORT, SWITCH_PORT, Host, LaboratoryError, Settings

_LINK_SECONDS = 30.0


class HostServices:
    """Each public method is one step, or one service of a step."""

    def __init__(self, settings: Settings, host: Host, control: ControlPlane) -> None:
        self.host = host
        self.enclosure = Enclosure(settings, host)
        self.services = Services(self.enclosure)
        self._settings, self._control = settings, control
        self._is_one_of_several = bool(host.cpus)

    # --- the control plane's ports, on this host's own 127.0.0.1

    def portal(self) -> Service:
        """Forwards what this host asks of its own 127.0.0.1 to the laboratory's; it ends with the host."""
        ports = [*self._settings.ports.values(), QUEUE_PORT]
        return Service(
            name="portal",
            argv=[
                *("/usr/bin/nsenter", "--net", f"--target={self.enclosure.holder}", "--", packages.PYTHON),
                *(str(HERE / "portal.py"), str(Enclosure(self._settings).holder), *map(str, ports)),
            ],
            files=[HERE / "portal.py"],
            ready=lambda: all(map(self._listens, ports)),
            outside=True,
        )

    def _listens(self, port: int) -> bool:
        argv = self.enclosure.inside(["/bin/bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"])
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    # --- Open vSwitch

    def _switch(self) -> tuple[Service, Service]:
        database = self.host.data / "openvswitch" / "conf.db"
        store = Service(
            name="ovsdb-server",
            argv=[
                *("/usr/sbin/ovsdb-server", str(database), "--remote=punix:/run/openvswitch/db.sock"),
                *(f"--remote=ptcp:{SWITCH_PORT}:127.0.0.1", "--unixctl=/run/openvswitch/ovsdb-server.ctl"),
            ],
            ready=(self.host.run / "openvswitch" / "db.sock").exists,
        )
        # As an operator gives its unit CPUSchedulingPolicy=batch: it then takes packets by the dozen, not each as it comes.
        argv = ["/usr/bin/chrt", "--batch", "0", "/usr/sbin/ovs-vswitchd", "unix:/run/openvswitch/db.sock"]
        argv += ["--unixctl=/run/openvswitch/vswitchd.ctl"]
        return store, Service(name="ovs-vswitchd", argv=argv, group=DATA_PATH)

    def openvswitch_done(self) -> bool:
        """Whether it runs with its bridges."""
        return (self.host.stamps / "bridges").exists() and all(map(self.services.is_current, self._switch()))

    def openvswitch(self) -> None:
        """The virtual switch on its userspace datapath (no kernel module is needed), the guests' bridge and the outer one."""
        store, switch = self._switch()
        database = self.host.data / "openvswitch" / "conf.db"
        database.parent.mkdir(parents=True, exist_ok=True)
        if not database.exists():
            schema = "/usr/share/openvswitch/vswitch.ovsschema"
            self.enclosure.run(["/usr/bin/ovsdb-tool", "create", str(database), schema])
        self.services.ensure(store)
        self.enclosure.run(["/usr/bin/ovs-vsctl", "--timeout=20", "--no-wait", "init"])
        self.services.ensure(switch)
        command = ["/usr/bin/ovs-vsctl", "--timeout=30"]
        for bridge in ("br-ex", "br-int"):
            command += ["--", "--may-exist", "add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev"]
        if self._settings.host_cpus:
            command += ["--", "--may-exist", "add-port", "br-ex", PHYSICAL]
        self.enclosure.run(command)
        self._wait_for_link("br-ex")  # of a host that is started again it is in the database before it is there
        if not self._settings.host_cpus:
            self.enclosure.run(["/usr/sbin/ip", "address", "replace", GATEWAY, "dev", "br-ex"])
        self.enclosure.run(["/usr/sbin/ip", "link", "set", "br-ex", "up"])
        # The userspace datapath reads frames before the kernel would fill their checksums in.
        self.enclosure.run(["/usr/sbin/ethtool", "--offload", "br-ex", "tx", "off"])
        (self.host.stamps / "bridges").touch()

    def _wait_for_link(self, device: str) -> None:
        limit = time.monotonic() + _LINK_SECONDS
        argv = self.enclosure.inside(["/usr/sbin/ip", "link", "show", device])
        while subprocess.run(argv, capture_output=True, check=False).returncode:
            if time.monotonic() > limit:
                raise LaboratoryError(f"Open vSwitch makes no {device}: {self.services.last_words('ovs-vswitchd')}")
            time.sleep(0.1)

    # --- libvirt

    def _libvirt(self) -> tuple[Service, Service]:
        etc, address = self.host.etc / "libvirt", self.host.address
        user = 'user = "root"\ngroup = "root"\ndynamic_ownership = 1\nremember_owner = 0\nsecurity_driver = "none"\n'
        listens = "listen_tls = 0\nlisten_tcp = 0\n"
        argv, environment = ["/usr/sbin/libvirtd"], dict[str, str]()
        if self._is_one_of_several:
            # libvirt refuses to migrate to a host with its own UUID, which otherwise is the machine's.
            uuid = uuid5(NAMESPACE_URL, f"{self._settings.state}/{self.host.name}")
            listens = (
                f'listen_tls = 0\nlisten_tcp = 1\nlisten_addr = "{address}"\nauth_tcp = "none"\nhost_uuid = "{uuid}"\n'
            )
            user += f'migration_address = "{address}"\n'
            argv.append("--listen")
            environment = {
                "LD_PRELOAD": str(packages.shared_storage_library(self._settings)),
                "LABORATORY_SHARED": str(self._settings.data / "instances"),
            }
        qemu = files.write(etc / "qemu.conf", f"{user}namespaces = []\n")
        daemon = files.write(etc / "libvirtd.conf", f'{listens}auth_unix_rw = "none"\nauth_unix_ro = "none"\n')
        files.write(etc / "virtlogd.conf", "")
        log = Service(
            name="virtlogd",
            argv=["/usr/sbin/virtlogd"],
            ready=(self.host.run / "libvirt" / "virtlogd-sock").exists,
        )
        return log, Service(
            name="libvirtd",
            argv=argv,
            files=[qemu, daemon],
            environment=environment,
            ready=self._libvirt_answers,
            group=DATA_PATH,
        )

    def _libvirt_answers(self) -> bool:
        argv = ["/usr/bin/virsh", "--connect", self.host.libvirt_uri, "version"]
        try:
            done = subprocess.run(argv, capture_output=True, check=False, timeout=10, env={**os.environ, "LC_ALL": "C"})
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def libvirt_done(self) -> bool:
        """Whether it runs."""
        return all(map(self.services.is_current, self._libvirt()))

    def libvirt(self) -> None:
        """libvirtd and virtlogd with directories of their own."""
        for service in self._libvirt():
            self.services.ensure(service)

    # --- agents

    def _own(self, service: str, sections: files.Sections) -> list[Path]:
        """The file with what is this host's own; none for a host beside the control plane."""
        if not self._is_one_of_several:
            return []
        return [files.write_ini(self.host.etc / f"{service}.conf", sections)]

    def _common(self, service: str) -> dict[str, dict[str, object]]:
        for name in (service, "locks"):
            (self.host.data / name).mkdir(parents=True, exist_ok=True)
        return {
            "DEFAULT": {"host": self.host.name, "state_path": self.host.data / service},
            "oslo_concurrency": {"lock_path": self.host.data / "locks"},
        }

    def _nova_options(self) -> dict[str, dict[str, object]]:
        sections = self._common("nova")
        sections["DEFAULT"] |= {
            "my_ip": self.host.address,
            "reserved_host_memory_mb": 0,  # of the host's memory, which is less than the machine's
        }
        # Nova asks how many CPUs the machine has, not how many the host's cpuset holds.
        sections["compute"] = {"cpu_shared_set": ",".join(map(str, self.host.cpus))}
        sections["libvirt"] = {"live_migration_inbound_addr": self.host.address, "live_migration_scheme": "tcp"}
        return sections

    def nova_compute(self) -> Service:
        """Nova's agent, with the options that Stella's role leaves for it."""
        nova = self._settings.etc / "nova"
        notifications = nova / "nova.conf.d" / NOTIFICATIONS
        paths = [nova / "nova-compute.conf", *self._own("nova", self._nova_options())]
        return self._control.program("nova-compute", [*paths, *([notifications] if notifications.exists() else [])])

    def neutron_agents(self) -> tuple[Service, ...]:
        """Neutron's agents: the switch, and on the first host DHCP."""
        neutron, own = self._settings.etc / "neutron", self._own("neutron", self._common("neutron"))
        wanted = [("neutron-openvswitch-agent", "neutron-ml2.conf")]
        if self.host == self._settings.controller:
            wanted.append(("neutron-dhcp-agent", "neutron-dhcp.conf"))
        return tuple(
            self._control.program(name, [neutron / "neutron.conf", neutron / file, *own], stop_seconds=2)
            for name, file in wanted
        )
