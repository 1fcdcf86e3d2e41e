"""What is in the cloud: service users and their catalogue, the demonstration's project, member, flavors, network and image."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import openstack
from keystoneauth1.exceptions import ClientException
from openstack.exceptions import SDKException

from laboratory.guest import GuestImage
from laboratory.settings import REGION, LaboratoryError, Settings

MEMBER, PROJECT = "member", "demo"
OTHER, OTHER_PROJECT = "other", "neighbour"
NETWORK = "demo-net"
IMAGE = "stella-bench"
FLAVORS = (("small", 1, 512), ("medium", 2, 512), ("large", 4, 512))
CATALOGUE = (
    ("placement", "placement", "placement", ""),
    ("glance", "image", "glance", ""),
    ("nova", "compute", "nova", "/v2.1"),
    ("neutron", "network", "neutron", ""),
)
READY_SECONDS = 180.0


class Cloud:
    """Each method is one step; each finds what is there before it makes anything."""

    def __init__(self, settings: Settings, image: GuestImage) -> None:
        self._settings, self._image = settings, image

    def admin(self) -> Any:
        """openstacksdk as the administrator, with the catalogue as it is now: each caller has a connection of its own."""
        return self._connect("admin", "admin")

    def _connect(self, user: str, project: str) -> Any:
        return openstack.connect(
            load_envvars=False,
            load_yaml_config=False,
            region_name=REGION,
            auth={
                "auth_url": self._settings.keystone,
                "username": user,
                "password": self._settings.passwords[user],
                "project_name": project,
                "user_domain_name": "Default",
                "project_domain_name": "Default",
            },
        )

    def _stamped(self, name: str) -> bool:
        return (self._settings.stamps / name).exists()

    def _stamp(self, name: str) -> None:
        (self._settings.stamps / name).touch()

    def service_users_done(self) -> bool:
        """Whether that was done on this database."""
        return self._stamped("service-users")

    def service_users(self) -> None:
        """A user of each service in the project `service`, with the roles admin and service, and the catalogue."""
        identity = self.admin().identity
        project = identity.find_project("service") or identity.create_project(name="service", domain_id="default")
        roles = {role.name: role for role in identity.roles()}
        if "service" not in roles:
            roles["service"] = identity.create_role(name="service")
        for name, kind, port, path in CATALOGUE:
            user = identity.find_user(name, domain_id="default") or identity.create_user(
                name=name, password=self._settings.passwords[name], domain_id="default", default_project_id=project.id
            )
            for role in ("admin", "service"):
                identity.assign_project_role_to_user(project, user, roles[role])
            service = identity.find_service(name) or identity.create_service(name=name, type=kind)
            there = {endpoint.interface for endpoint in identity.endpoints(service_id=service.id)}
            for interface in {"public", "internal", "admin"} - there:
                url = self._settings.url(port, path)
                identity.create_endpoint(service_id=service.id, interface=interface, url=url, region_id=REGION)
        self._stamp("service-users")

    def image_done(self) -> bool:
        """Whether the image was uploaded as it is now."""
        return self._stamped(f"image-{self._image.digest()}")

    def image(self) -> None:
        """Kernel, initramfs and a small disk, as the formats aki, ari and ami; an older one of the same name is replaced."""
        images = self.admin().image
        kernel, initramfs, disk = self._image.files()
        for each in images.images():
            if each.name.startswith(IMAGE):
                images.delete_image(each, ignore_missing=True)
        ids = []
        for name, kind, path in ((f"{IMAGE}-kernel", "aki", kernel), (f"{IMAGE}-ramdisk", "ari", initramfs)):
            made = images.create_image(
                name,
                filename=str(path),
                container_format=kind,
                disk_format=kind,
                visibility="public",
                validate_checksum=False,
            )
            ids.append(made.id)
        images.create_image(
            IMAGE,
            filename=str(disk),
            container_format="ami",
            disk_format="ami",
            visibility="public",
            validate_checksum=False,
            kernel_id=ids[0],
            ramdisk_id=ids[1],
            os_command_line=self._image.arguments(),
            hw_video_model="none",
        )
        self._stamp(f"image-{self._image.digest()}")

    def tenants_done(self) -> bool:
        """Whether that was done on this database."""
        return self._stamped("tenants")

    def tenants(self) -> None:
        """Two projects with a plain member each."""
        identity = self.admin().identity
        role = identity.find_role("member")
        for name, project_name in ((MEMBER, PROJECT), (OTHER, OTHER_PROJECT)):
            project = identity.find_project(project_name) or identity.create_project(
                name=project_name, domain_id="default"
            )
            user = identity.find_user(name, domain_id="default") or identity.create_user(
                name=name, password=self._settings.passwords[name], domain_id="default", default_project_id=project.id
            )
            identity.assign_project_role_to_user(project, user, role)
        self._stamp("tenants")

    def flavors_done(self) -> bool:
        """Whether that was done on this database."""
        return self._stamped(self._flavors_stamp)

    def flavors(self) -> None:
        """The flavors of the demonstration."""
        compute = self.admin().compute
        there = {flavor.name for flavor in compute.flavors(details=False)}
        for name, vcpus, ram in FLAVORS:
            if name not in there:
                compute.create_flavor(name=name, vcpus=vcpus, ram=ram, disk=1)
        self._stamp(self._flavors_stamp)

    @property
    def _flavors_stamp(self) -> str:
        return "-".join(("flavors", *(name for name, _, _ in FLAVORS)))

    def network_done(self) -> bool:
        """Whether that was done on this database."""
        return self._stamped("network")

    def network(self) -> None:
        """One shared network on the laboratory's outer bridge, and leave for pings and the guests' agent in `default`."""
        found = self.admin().network
        network = found.find_network(NETWORK) or found.create_network(
            name=NETWORK, shared=True, provider_network_type="flat", provider_physical_network="physical"
        )
        if not found.find_subnet("demo-subnet"):
            found.create_subnet(
                name="demo-subnet",
                network_id=network.id,
                ip_version=4,
                cidr="10.77.0.0/24",
                gateway_ip="10.77.0.1",
                allocation_pools=[{"start": "10.77.0.10", "end": "10.77.0.200"}],
            )
        for user, project in ((MEMBER, PROJECT), (OTHER, OTHER_PROJECT)):
            # As the member: Neutron makes a project's security group when its own user first asks.
            mine = self._connect(user, project)
            group = mine.network.find_security_group(
                "default", ignore_missing=False, project_id=mine.current_project_id
            )
            there = {rule.protocol for rule in mine.network.security_group_rules(security_group_id=group.id)}
            for protocol, port in (("icmp", None), ("tcp", GuestImage.port)):
                if protocol not in there:
                    mine.network.create_security_group_rule(
                        security_group_id=group.id,
                        direction="ingress",
                        ether_type="IPv4",
                        protocol=protocol,
                        port_range_min=port,
                        port_range_max=port,
                        remote_ip_prefix="10.77.0.1/32",
                    )
        self._stamp("network")

    def _are_up(self) -> tuple[bool, bool]:
        """Whether the compute hosts' services are all up, and whether their cell has been told of them all."""
        compute, names = self.admin().compute, {host.name for host in self._settings.computes}
        up = {each.host for each in compute.services(binary="nova-compute") if each.state == "up"}
        return names <= up, names <= {each.name for each in compute.hypervisors()}

    def hosts_ready(self) -> bool:
        """Whether Nova knows its compute hosts and Neutron its agents, all alive."""
        wanted = {("neutron-openvswitch-agent", host.name) for host in self._settings.hosts}
        wanted.add(("neutron-dhcp-agent", self._settings.controller.name))
        try:
            agents = {(agent.binary, agent.host) for agent in self.admin().network.agents() if agent.is_alive}
            return agents >= wanted and self._are_up() == (True, True)
        except (SDKException, ClientException):
            return False

    def wait_for_hosts(self, discover: Callable[[], None]) -> None:
        """Wait for that; ``discover`` makes Nova look for new hosts, which by itself it does once a minute.

        Raises `LaboratoryError`.
        """
        limit = time.monotonic() + READY_SECONDS
        while not self.hosts_ready():
            with contextlib.suppress(SDKException, ClientException):
                if self._are_up() == (True, False):
                    discover()
            if time.monotonic() > limit:
                raise LaboratoryError(
                    f"compute hosts or agents are not up; see {self._settings.computes[0].logs}/nova-compute.log"
                )
            time.sleep(0.5)
