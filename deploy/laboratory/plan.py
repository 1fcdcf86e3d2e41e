"""All steps of the laboratory, and what each waits for."""

from functools import partial

from laboratory import environment, packages
from laboratory.cloud import Cloud
from laboratory.control_plane import ControlPlane
from laboratory.enclosure import HERE, Enclosure
from laboratory.fabric import Fabric
from laboratory.guest import GuestImage
from laboratory.horizon import Horizon
from laboratory.hosts import HostServices
from laboratory.infrastructure import Infrastructure
from laboratory.services import Maker, Service, Services, answers
from laboratory.settings import Host, Settings
from laboratory.stella import Stella
from laboratory.steps import Step


def _portal(settings: Settings, enclosure: Enclosure) -> Service:
    ports = [str(port) for port in settings.ports.values()]
    return Service(
        name="portal",
        argv=[packages.PYTHON, str(HERE / "portal.py"), str(enclosure.holder), *ports],
        files=[HERE / "portal.py"],
        ready=lambda: all(answers(port) for port in settings.ports.values()),
        outside=True,
    )


def prepare(settings: Settings) -> list[Step]:
    """What the machine needs; nothing of it runs afterwards."""
    environments = packages.Environments(settings)
    steps = [
        Step(
            name="packages",
            run=partial(packages.distribution, settings),
            done=partial(packages.distribution_done, settings),
        )
    ]
    for name, before in (("tools", "packages"), ("services", "tools"), ("horizon", "tools")):
        steps.append(
            Step(
                name=f"environment {name}",
                run=partial(environments.make, name),
                done=partial(environments.done, name),
                after=(before if before == "packages" else f"environment {before}",),
            )
        )
    return steps


def at(host: Host, step: str) -> str:
    """The name of a step of each host."""
    return f"{step} {host.name}" if host.cpus else step


def of_host(settings: Settings, host: Host, control: ControlPlane) -> list[Step]:
    """The steps of one host; those after which they come are in `steps`, or of the same host."""
    own = HostServices(settings, host, control)
    on_its_own: list[Step] = []
    ready: tuple[str, ...] = ("environment services", "bridges" if settings.host_cpus else "namespaces")
    portals: tuple[str, ...] = ()
    if host.cpus:
        fabric = Fabric(settings)
        ready, portals = ("environment services", at(host, "links")), (at(host, "portal"),)
        on_its_own = [
            Step(name=at(host, "namespaces"), run=own.enclosure.open, done=own.enclosure.is_open, after=("bridges",)),
            Step(
                name=at(host, "links"),
                run=partial(fabric.join, host),
                done=partial(fabric.has_joined, host),
                after=(at(host, "namespaces"),),
            ),
            Step(
                name=at(host, "portal"),
                run=own.services.ensured(own.portal),
                done=own.services.current(own.portal),
                after=(at(host, "namespaces"),),
            ),
        ]
    switch = Step(name=at(host, "openvswitch"), run=own.openvswitch, done=own.openvswitch_done, after=ready)
    agents = Step(
        name=at(host, "neutron agents"),
        run=own.services.ensured(own.neutron_agents),
        done=own.services.current(own.neutron_agents),
        after=("neutron", switch.name, *portals),
    )
    if not host.runs_instances:
        return [*on_its_own, switch, agents]
    libvirt = Step(name=at(host, "libvirt"), run=own.libvirt, done=own.libvirt_done, after=ready)
    compute = Step(
        name=at(host, "nova-compute"),
        run=own.services.ensured(own.nova_compute),
        done=own.services.current(own.nova_compute),
        after=("nova", "neutron", libvirt.name, *portals),
    )
    return [*on_its_own, switch, agents, libvirt, compute]


def steps(settings: Settings) -> list[Step]:
    """From a machine to a cloud with Stella in it."""
    enclosure = Enclosure(settings)
    services = Services(enclosure)
    under = Infrastructure(settings, enclosure, services)
    control = ControlPlane(settings, enclosure)
    guest = GuestImage(settings)
    cloud = Cloud(settings, guest)
    horizon, stella = Horizon(settings, enclosure, services), Stella(settings, enclosure)
    of_hosts = [step for host in settings.hosts for step in of_host(settings, host, control)]
    named = {"portal", *(step.name for step in of_hosts)}
    if settings.host_cpus:
        fabric = Fabric(settings)
        of_hosts.append(Step(name="bridges", run=fabric.make, done=fabric.is_made, after=("namespaces",)))

    def portal() -> None:
        services.ensure(_portal(settings, enclosure))

    def portal_done() -> bool:
        return enclosure.is_open() and services.is_current(_portal(settings, enclosure))

    def running(name: str, *makers: Maker, after: tuple[str, ...]) -> Step:
        return Step(name=name, run=services.ensured(*makers), done=services.current(*makers), after=after)

    def on_hosts(*names: str) -> tuple[str, ...]:
        """Those of these steps that there are, on every host."""
        return tuple(at(host, name) for name in names for host in settings.hosts if at(host, name) in named)

    def schema(name: str) -> Step:
        return Step(
            name=f"{name} schema",
            run=getattr(control, f"{name}_schema"),
            done=control.has_schema(name),
            after=("configuration", "mariadb"),
        )

    machine = ("environment services", "namespaces")
    return [
        *prepare(settings),
        Step(name="guest image", run=guest.make, done=guest.done, after=("packages",)),
        Step(name="namespaces", run=enclosure.open, done=enclosure.is_open, after=("packages",)),
        Step(name="portal", run=portal, done=portal_done, after=("namespaces",)),
        Step(name="configuration", run=control.configure, after=machine),
        Step(name="mariadb", run=under.mariadb, done=under.mariadb_done, after=machine),
        Step(name="rabbitmq", run=under.rabbitmq, done=under.rabbitmq_done, after=machine),
        Step(name="memcached", run=under.memcached, done=under.memcached_done, after=machine),
        *(schema(name) for name in ("keystone", "nova", "neutron", "placement", "glance")),
        running("keystone", control.keystone_api, after=("keystone schema", "memcached", "portal")),
        Step(name="service users", run=cloud.service_users, done=cloud.service_users_done, after=("keystone",)),
        running("placement", control.placement_api, after=("service users", "placement schema")),
        running("glance", control.glance_api, after=("service users", "glance schema")),
        running(
            "nova",
            control.nova_api,
            control.nova_workers,
            after=("service users", "nova schema", "rabbitmq", "placement", "stella-nova"),
        ),
        running(
            "neutron", control.neutron_api, control.neutron_rpc, after=("service users", "neutron schema", "rabbitmq")
        ),
        *of_hosts,
        Step(name="image", run=cloud.image, done=cloud.image_done, after=("glance", "guest image")),
        Step(name="tenants", run=cloud.tenants, done=cloud.tenants_done, after=("service users",)),
        Step(name="flavors", run=cloud.flavors, done=cloud.flavors_done, after=("nova",)),
        Step(name="network", run=cloud.network, done=cloud.network_done, after=("neutron", "tenants")),
        Step(
            name="stella-nova packages",
            run=stella.nova_install,
            done=stella.nova_install_done,
            after=("environment services",),
        ),
        Step(
            name="stella-nova",
            run=stella.nova,
            done=stella.nova_done,
            after=("configuration", "stella-nova packages"),
        ),
        Step(name="stella packages", run=stella.install, done=stella.install_done, after=("environment tools",)),
        Step(
            name="stella",
            run=stella.deploy,
            done=stella.done,
            after=("stella packages", "mariadb", "service users", *on_hosts("libvirt", "portal")),
        ),
        Step(
            name="stella-dashboard",
            run=horizon.plugin,
            done=horizon.plugin_done,
            after=("environment horizon",),
        ),
        Step(
            name="horizon files",
            run=horizon.static,
            done=horizon.static_done,
            after=("stella-dashboard", "memcached"),
        ),
        Step(name="horizon", run=horizon.run, done=horizon.done, after=("horizon files", "keystone", "memcached")),
        Step(
            name="hosts",
            run=partial(cloud.wait_for_hosts, control.discover_hosts),
            done=cloud.hosts_ready,
            after=on_hosts("nova-compute", "neutron agents"),
        ),
        Step(name="credentials", run=partial(environment.write, settings), after=("tenants",)),
    ]
