"""Where the laboratory keeps its files, which hosts and ports it has, and its passwords: chosen once, kept until it is removed."""

import json
import os
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
RUN = REPOSITORY / ".run"
NAME = "stella-openstack"
REGION = "RegionOne"
MOST_HOSTS = 4
"""Compute hosts of one machine; each takes half a gigabyte of memory at rest."""

# Services that answer on this machine's 127.0.0.1, and the port that each takes if it is free.
PUBLIC_PORTS = {
    "keystone": 5000,
    "placement": 8778,
    "glance": 9292,
    "nova": 8774,
    "neutron": 9696,
    "stella": 8791,
    "horizon": 8080,
}
FIRST_OTHER_PORT = 21000
PORTS_VARIABLE = "STELLA_OPENSTACK_PORTS"

# Inside the laboratory's own network namespace nothing else listens: the usual ports.
DATABASE_PORT, QUEUE_PORT, CACHE_PORT, SWITCH_PORT = 3306, 5672, 11211, 6640
MANAGEMENT = "10.78.0"
"""The network, of 24 bits, between several hosts, over which instances migrate; in the laboratory's namespaces alone."""

PASSWORDS = (
    *("database", "queue", "admin", "placement", "glance", "nova", "neutron", "stella", "member", "other"),
    "horizon",
)


class LaboratoryError(Exception):
    """The laboratory cannot go on; the message is one line that says what would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host: namespaces of its own, with its own ``/run``, libvirt, Open vSwitch and agents.

    ``cpus``: those that a compute host of several is confined to; empty for the laboratory's own namespaces, which have the control
    plane and all CPUs. ``address``: where the other hosts reach it. ``runs_instances``: it has libvirt, nova-compute and xgos.
    ``etc``, ``data`` and ``logs`` stay when the host is cut off; ``volatile`` but for its ``services`` does not.
    """

    name: str
    address: str
    cpus: tuple[int, ...]
    runs_instances: bool
    etc: Path
    data: Path
    logs: Path
    volatile: Path

    @property
    def run(self) -> Path:
        """Its ``/run``."""
        return self.volatile / "run"

    @property
    def stamps(self) -> Path:
        """Marks of steps that need not be done again as long as the host runs."""
        return self.volatile / "stamps"

    @property
    def services(self) -> Path:
        """What runs, and how it was started."""
        return self.volatile / "services" if self.cpus else self.run / "services"

    @property
    def agent_socket(self) -> Path:
        """The control socket of its xgos, as seen from the machine itself."""
        return self.run / "xgos" / "xgos.sock"

    @property
    def libvirt_uri(self) -> str:
        """libvirt's address as seen from the machine itself."""
        return f"qemu+unix:///system?socket={self.run}/libvirt/libvirt-sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``state`` is kept on disk, ``volatile`` in memory (the database, sockets); both are removed by `down`.

    ``host_cpus``: the CPUs of each compute host, where there are several; empty: one, in the namespaces of the control plane.
    """

    run: Path
    state: Path
    volatile: Path
    environments: Path
    ports: dict[str, int]
    passwords: dict[str, str]
    host_cpus: tuple[tuple[int, ...], ...] = ()

    @property
    def controller(self) -> Host:
        """The laboratory's own namespaces: the control plane, the guests' network and its DHCP; alone, also the compute host."""
        return Host(
            name="controller" if self.host_cpus else "compute1",
            address=f"{MANAGEMENT}.1" if self.host_cpus else "127.0.0.1",
            cpus=(),
            runs_instances=not self.host_cpus,
            etc=self.etc,
            data=self.data,
            logs=self.logs,
            volatile=self.volatile,
        )

    @property
    def computes(self) -> tuple[Host, ...]:
        """The hosts with instances."""
        return tuple(self._compute(number) for number in range(1, len(self.host_cpus) + 1)) or (self.controller,)

    @property
    def hosts(self) -> tuple[Host, ...]:
        """All hosts, the control plane's first."""
        return (self.controller, *(host for host in self.computes if host.cpus))

    def host(self, name: str) -> Host:
        """The host of that name. Raises `LaboratoryError`."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise LaboratoryError(f"no host {name!r}; there are {', '.join(host.name for host in self.hosts)}")

    def _compute(self, number: int) -> Host:
        name = f"compute{number}"
        return Host(
            name=name,
            address=f"{MANAGEMENT}.{10 + number}",
            cpus=self.host_cpus[number - 1],
            runs_instances=True,
            etc=self.etc / name,
            data=self.data / name,
            logs=self.logs / name,
            volatile=self.volatile / "hosts" / name,
        )

    @property
    def etc(self) -> Path:
        """Configuration files."""
        return self.state / "etc"

    @property
    def logs(self) -> Path:
        """One file for each service."""
        return self.state / "log"

    @property
    def data(self) -> Path:
        """What services keep: images, instances, libvirt's and Open vSwitch's state."""
        return self.state / "data"

    @property
    def stamps(self) -> Path:
        """Marks of steps that need not be done again. In memory, like the database that they speak of."""
        return self.volatile / "stamps"

    def url(self, service: str, path: str = "") -> str:
        """The address of a service, the same inside the laboratory and on this machine."""
        return f"http://127.0.0.1:{self.ports[service]}{path}"

    @property
    def keystone(self) -> str:
        """Keystone's address with its version."""
        return self.url("keystone", "/v3")

    def database(self, name: str) -> str:
        """SQLAlchemy's URL of one service's database."""
        user = name.split("_", maxsplit=1)[0]
        return f"mysql+pymysql://{user}:{self.passwords['database']}@127.0.0.1:{DATABASE_PORT}/{name}?charset=utf8mb4"

    @property
    def queue(self) -> str:
        """oslo.messaging's URL of RabbitMQ."""
        return f"rabbit://stella:{self.passwords['queue']}@127.0.0.1:{QUEUE_PORT}/"

    def program(self, name: str, environment: str = "services") -> str:
        """A program of one of the laboratory's virtual environments."""
        return str(self.environments / environment / "bin" / name)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose_ports(wanted: str) -> dict[str, int]:
    """Ports by service. ``wanted`` (``horizon=18080 nova=18774``) is taken as it is; of the others each is its usual one if free.

    Raises `LaboratoryError` for a wanted port that cannot be.
    """
    ports: dict[str, int] = {}
    for word in wanted.replace(",", " ").split():
        name, _, number = word.partition("=")
        if name not in PUBLIC_PORTS or not number.isdigit() or not 1 <= int(number) <= 65535:
            raise LaboratoryError(f"{PORTS_VARIABLE}: {word!r} is not SERVICE=PORT of {', '.join(PUBLIC_PORTS)}")
        if not _is_free(int(number)):
            raise LaboratoryError(f"{PORTS_VARIABLE}: port {number} for {name} is taken; choose another")
        ports[name] = int(number)
    other = FIRST_OTHER_PORT
    for name, usual in PUBLIC_PORTS.items():
        if name in ports:
            continue
        if usual not in ports.values() and _is_free(usual):
            ports[name] = usual
            continue
        while other in ports.values() or not _is_free(other):
            other += 1
        ports[name] = other
    return ports


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read; it never exists with another mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    unfinished.rename(path)


def divide(cpus: Sequence[int], hosts: int) -> tuple[tuple[int, ...], ...]:
    """An equal share of ``cpus`` for each of several hosts; they share CPUs only when there are more hosts than CPUs."""
    each = max(1, len(cpus) // hosts)
    return tuple(
        tuple(cpus[(number * each + position) % len(cpus)] for position in range(each)) for number in range(hosts)
    )


def load(*, make: bool, hosts: int | None = None) -> Settings | None:
    """The settings of the laboratory that is there; made anew when there is none and ``make``, else None.

    ``hosts``: how many compute hosts are wanted; None: as many as there are, else one. Raises `LaboratoryError`.
    """
    if hosts is not None and not 1 <= hosts <= MOST_HOSTS:
        raise LaboratoryError(f"HOSTS: {hosts} is not from 1 to {MOST_HOSTS}")
    state = RUN / "openstack"
    path = state / "settings.json"
    if not path.exists():
        if not make:
            return None
        chosen = {
            "ports": choose_ports(os.environ.get(PORTS_VARIABLE, "")),
            "passwords": {name: secrets.token_urlsafe(18) for name in PASSWORDS},
            "host_cpus": divide(sorted(os.sched_getaffinity(0)), hosts) if hosts and hosts > 1 else (),
        }
        state.mkdir(parents=True, exist_ok=True)
        state.chmod(0o700)
        write_private(path, json.dumps(chosen, indent=1))
    kept = json.loads(path.read_text(encoding="utf-8"))
    cpus = tuple(tuple(each) for each in kept.get("host_cpus", ()))
    if hosts is not None and hosts != max(1, len(cpus)):
        raise LaboratoryError(f"HOSTS: the laboratory was made with {max(1, len(cpus))}: run make openstack-down first")
    return _settings(kept["ports"], kept["passwords"], cpus)


def without_choices() -> Settings:
    """Where things are, for a laboratory whose settings were lost: enough to remove it."""
    return _settings({}, {}, ())


def _settings(ports: dict[str, int], passwords: dict[str, str], host_cpus: tuple[tuple[int, ...], ...]) -> Settings:
    return Settings(
        run=RUN,
        state=RUN / "openstack",
        volatile=Path("/dev/shm") / NAME,  # noqa: S108 - a fixed name: one laboratory for each machine
        environments=REPOSITORY / ".venv-openstack",
        ports=ports,
        passwords=passwords,
        host_cpus=host_cpus,
    )
