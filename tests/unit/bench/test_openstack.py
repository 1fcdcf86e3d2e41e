"""The demonstration on Nova's servers: what the laboratory left, which process is whose, servers by a member, the host's mode."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from stella.bench.lab.loads import PORTS_OF_A_GUEST, GuestLoads
from stella.bench.lab.model import Guest, LabError, Place, Workload
from stella.bench.openstack import tour
from stella.bench.openstack.policies import CloudPolicy, HostMode, dashboard_of, without_and_with
from stella.bench.openstack.servers import MARK, Member, flavor_for
from stella.bench.openstack.surroundings import Surroundings, find, listener, parse_exports, qemu_of
from stella.bench.policies.base import PolicyError
from stella.cmd import stella_bench


def test_variables_of_a_credentials_file() -> None:
    text = "export OS_USERNAME=member\nexport OS_PASSWORD='a b'\nexport PATH='/x/bin':\"$PATH\"\nunset OS_CLOUD\n"
    assert parse_exports(text) == {"OS_USERNAME": "member", "OS_PASSWORD": "a b"}


def test_without_a_laboratory_there_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"make openstack.*openstack\.env is not there"):
        find(tmp_path)
    (tmp_path / "member.env").write_text("export OS_USERNAME=member\n")
    (tmp_path / "openstack.env").write_text(
        f"export XGOS_SOCKET={tmp_path}/gone.sock\nexport STELLA_OPENSTACK_LIBVIRT=qemu+unix:///system?socket=/l/sock\n"
    )
    with pytest.raises(LabError, match="is not up"):
        find(tmp_path)
    (tmp_path / "gone.sock").touch()
    there = find(tmp_path)
    assert (there.member["OS_USERNAME"], str(there.libvirt_socket)) == ("member", "/l/sock")
    assert "OS_USERNAME" not in there.operator and there.hosts == () and there.checkout == tmp_path.parent
    with (tmp_path / "openstack.env").open("a") as file:
        file.write("export XGOS_SOCKET_COMPUTE2=/b\nexport XGOS_SOCKET_COMPUTE1=/a\n")
    assert find(tmp_path).hosts == ("compute1", "compute2")


@pytest.mark.skipif(os.geteuid() != 0, reason="demo refuses anybody else before")
def test_the_command_says_it_in_one_line_and_ends_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["demo", "--on", "openstack", "--cloud", str(tmp_path), "--output", str(tmp_path / "out")]
    assert stella_bench.main(words) == stella_bench.INVALID_RUN
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1
    assert "run is invalid: no OpenStack of `make openstack` is up" in lines[0]


def test_an_unknown_ground_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        stella_bench.main(["demo", "--on", "moon"])
    assert ended.value.code == stella_bench.INVALID_SCENARIO
    assert "--on" in capsys.readouterr().err


def test_who_listens_on_a_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        assert listener(tmp_path / "s") == os.getpid()
    with pytest.raises(LabError):
        listener(tmp_path / "none")


def test_a_servers_qemu_is_known_by_its_uuid(tmp_path: Path) -> None:
    for pid, words in {
        "41": ["bash", "-c", "echo -uuid abc"],
        "42": ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-uuid", "abc", "-S"],
        "43": ["qemu-system-x86_64", "-accel", "kvm", "-uuid", "def"],
        "self": ["x"],
    }.items():
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "cmdline").write_bytes("\0".join([*words, ""]).encode())
    assert (qemu_of("abc", tmp_path), qemu_of("def", tmp_path)) == ((42, "tcg"), (43, "kvm"))
    with pytest.raises(LabError, match="no QEMU process"):
        qemu_of("ghi", tmp_path)


def flavor(name: str, vcpus: int, ram: int, disk: int = 1, **specs: str) -> SimpleNamespace:
    return SimpleNamespace(name=name, vcpus=vcpus, ram=ram, disk=disk, extra_specs=specs)


def test_the_smallest_flavor_that_sells_no_slo() -> None:
    flavors = [
        flavor("gold", 1, 512, **{"stella:slo_cpu_floor": "0.05"}),
        flavor("diskless", 1, 512, 0),
        flavor("roomy", 1, 1024),
        flavor("small", 1, 512),
        flavor("medium", 2, 512),
        flavor("tiny", 2, 256),
    ]
    guest = Guest(name="vm", disk=("local", 1))
    assert flavor_for(guest, flavors).name == "small"
    assert flavor_for(Guest(name="vm"), flavors).name == "diskless"
    assert flavor_for(Guest(name="vm", vcpus=2), flavors).name == "medium"
    with pytest.raises(LabError, match="no flavor has 4 vCPUs"):
        flavor_for(Guest(name="vm", vcpus=4), flavors)


@pytest.mark.skipif(os.geteuid() != 0, reason="tour refuses anybody else before")
def test_the_tour_with_one_host_says_in_one_line_that_it_needs_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "agent.sock").touch()
    (tmp_path / "member.env").write_text("export OS_USERNAME=member\n")
    (tmp_path / "openstack.env").write_text(
        f"export XGOS_SOCKET={tmp_path}/agent.sock\nexport STELLA_OPENSTACK_LIBVIRT=x\n"
        "export HORIZON_URL=u\nexport HORIZON_USER=u\nexport HORIZON_PASSWORD=p\n"
    )
    assert stella_bench.main(["tour", "--cloud", str(tmp_path), "--output", str(tmp_path)]) == stella_bench.OK
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert "needs two compute hosts" in line and "HOSTS=2" in line


def test_what_the_tour_did_not_show_in_time_is_told() -> None:
    there = Surroundings(member={}, operator={}, agent_socket=Path(), libvirt_uri="")
    nobody: Any = None
    made = tour.Tour(surroundings=there, member=nobody, operator=nobody, dashboard=nobody, say=print)
    made.moments |= {"off": 0.0, "down": 60.0, "silent": 90.0, "fenced": 91.0, "asked": 96.0}
    made.moments |= {"active": 110.0, "in force": 112.0, "shown": 114.0}
    assert made.missed() == []
    assert "Nova calls it down" in made.table() and "  36.0 s" in made.table()
    made.moments |= {"asked": 121.0, "in force": 116.0}
    assert [text.partition(",")[0] for text in made.missed()] == [
        "from down to asked: 61.0 s",
        "from active to in force: 6.0 s",
    ]


def test_guests_with_one_peer_address_have_ports_of_their_own(tmp_path: Path) -> None:
    ports: list[int] = []
    for index in (1, 2):
        seat = Place(index=index, guest_ip=f"10.0.0.{index}", peer_ip="10.0.0.254", namespace="/proc/1/ns/net")
        loads = GuestLoads(
            Guest(name=f"g{index}", workloads=(Workload(kind="cpu"), Workload(kind="udp"))), seat, (), tmp_path
        )
        ports += [slot.port for slot in loads.slots]
    assert len(set(ports)) == len(ports)
    assert max(ports) - min(ports) < 2 * PORTS_OF_A_GUEST


# A member's servers, on HTTP that answers as Keystone, Nova, Glance and Neutron do where it matters here.


class Answers(BaseHTTPRequestHandler):
    """One port for all services."""

    servers: ClassVar[dict[str, dict[str, Any]]] = {}
    broken: ClassVar[set[str]] = set()
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Quietly."""

    def _say(self, document: object, status: int = 200) -> None:
        body = b"" if status == 204 else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.path.endswith("/auth/tokens"):
            self.send_header("X-Subject-Token", "token")
        self.end_headers()
        self.wfile.write(body)

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"  # type: ignore[attr-defined]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/auth/tokens"):
            kinds = {"compute": "/nova/v2.1", "image": "/glance/v2", "network": "/neutron", "stella": "/stella"}
            catalog = [
                {
                    "type": kind,
                    "name": kind,
                    "id": kind,
                    "endpoints": [
                        {"interface": "public", "region_id": "R", "region": "R", "url": self._url + path, "id": kind}
                    ],
                }
                for kind, path in kinds.items()
            ]
            user = {"id": "u", "name": "member", "domain": {"id": "default", "name": "Default"}}
            project = {"id": "p", "name": "demo", "domain": {"id": "default", "name": "Default"}}
            token = {
                "catalog": catalog,
                "user": user,
                "project": project,
                "methods": ["password"],
                "roles": [],
                "issued_at": "2026-11-28T00:00:00.000000Z",
                "expires_at": "2036-11-28T00:00:00.000000Z",
            }
            self._say({"token": token}, 201)
            return
        asked = body["server"]
        uuid = f"uuid-{asked['name']}"
        failed = asked["name"] in self.broken
        self.servers[uuid] = {
            "id": uuid,
            "name": asked["name"],
            "status": "ERROR" if failed else "ACTIVE",
            "metadata": asked["metadata"],
            "fault": {"message": "No valid host was found."} if failed else {},
            "addresses": {"demo-net": [{"addr": "10.77.0.20", "version": 4}]},
        }
        self._say({"server": self.servers[uuid]}, 202)

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._say({"relief_mode": body["relief_mode"]}, 200 if body["relief_mode"] in (None, "act") else 400)

    def do_DELETE(self) -> None:
        self.servers.pop(self.path.rpartition("/")[2], None)
        self._say(None, 204)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        parts = path.strip("/").split("/")
        v2 = {"id": "v2.1", "status": "CURRENT", "version": "2.96", "min_version": "2.1"}
        link = [{"rel": "self", "href": f"{self._url}/nova/v2.1/"}]
        small = {"id": "f", "name": "small", "vcpus": 1, "ram": 512, "disk": 1, "extra_specs": {}}
        known: dict[str, object] = {
            "/v3": {
                "version": {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": f"{self._url}/v3"}]}
            },
            "/nova/v2.1": {"version": {**v2, "links": link}},
            "/nova/v2.1/flavors/detail": {"flavors": [small]},
            "/nova/v2.1/servers/detail": {"servers": list(self.servers.values())},
            "/glance/v2/images": {"images": [{"id": "i", "name": "stella-bench"}]},
            "/neutron/v2.0/networks": {"networks": [{"id": "n", "name": "demo-net"}]},
            "/neutron/v2.0/subnets": {"subnets": [{"id": "s", "network_id": "n", "gateway_ip": "10.77.0.1"}]},
            "/nova/v2.1/os-services": {
                "services": [{"id": "s", "binary": "nova-compute", "host": "h1", "state": "down"}]
            },
            "/stella/v1/instances/x": {"uuid": "x", "state": "running"},
        }
        if path.rstrip("/") in known:
            self._say(known[path.rstrip("/")])
        elif parts[-2] == "servers" and parts[-1] in self.servers:
            self._say({"server": self.servers[parts[-1]]})
        else:
            self._say({"itemNotFound": {"message": path}}, 404)


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """The variables of a member of the emulated cloud."""
    Answers.servers, Answers.broken = {}, set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {
        "OS_AUTH_URL": f"http://127.0.0.1:{server.server_address[1]}/v3",
        "OS_USERNAME": "member",
        "OS_PASSWORD": "secret",
        "OS_PROJECT_NAME": "demo",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_REGION_NAME": "R",
    }
    server.shutdown()
    server.server_close()


def test_servers_are_made_and_deleted(environment: dict[str, str]) -> None:
    member = Member(environment)
    made = member.create([Guest(name="vm1"), Guest(name="vm2")])
    assert set(Answers.servers) == {"uuid-demo-vm1", "uuid-demo-vm2"}
    assert (made["vm1"].uuid, made["vm1"].address, made["vm1"].gateway) == ("uuid-demo-vm1", "10.77.0.20", "10.77.0.1")
    assert member.stella("/v1/instances/x")["state"] == "running"
    member.delete()
    assert not Answers.servers


def test_an_operator_sees_where_a_server_is_and_whether_its_host_is_down(environment: dict[str, str]) -> None:
    operator = Member(environment)
    operator.create([Guest(name="vm1")])
    Answers.servers["uuid-demo-vm1"]["OS-EXT-SRV-ATTR:host"] = "h1"
    assert operator.state("uuid-demo-vm1") == ("ACTIVE", "h1")
    assert operator.is_down("h1")
    operator.change_stella("/v1/hosts/h1", {"relief_mode": "act"})
    with pytest.raises(LabError, match="stella-api: /v1/hosts/h1"):
        operator.change_stella("/v1/hosts/h1", {"relief_mode": "dance"})


def test_what_nova_refuses_is_told_and_deleted(environment: dict[str, str]) -> None:
    Answers.broken = {"demo-vm2"}
    member = Member(environment)
    with pytest.raises(LabError, match=r"server demo-vm2: No valid host was found"):
        member.create([Guest(name="vm1"), Guest(name="vm2")])
    member.delete()
    assert not Answers.servers


def test_only_servers_that_a_killed_bench_left_are_swept(environment: dict[str, str]) -> None:
    common = {"status": "ACTIVE", "addresses": {}}
    Answers.servers = {
        "a": {"id": "a", "name": "demo-vm1", "metadata": {**MARK, "more": "x"}, **common},
        "b": {"id": "b", "name": "demo-vm1", "metadata": {}, **common},
    }
    assert Member(environment).sweep() == 1
    assert set(Answers.servers) == {"b"}


def test_a_cloud_that_does_not_answer_is_one_line(environment: dict[str, str]) -> None:
    member = Member({**environment, "OS_AUTH_URL": "http://127.0.0.1:9/v3"})
    for ask in (member.sweep, lambda: member.create([Guest(name="vm1")]), lambda: member.stella("/")):
        with pytest.raises(LabError) as told:
            ask()
        assert "\n" not in str(told.value)
    with pytest.raises(LabError, match="OS_PASSWORD"):
        Member({k: v for k, v in environment.items() if k != "OS_PASSWORD"})


class Agent(threading.Thread):
    """An agent's control socket that says its mode."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.mode = "enforce"
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()

    def run(self) -> None:
        while True:
            connection, _ = self._server.accept()
            with connection:
                connection.recv(4096)
                status = {"ok": True, "mode": self.mode, "link": {"host_name": "compute1"}, "ticks": 7, "late_ticks": 1}
                connection.sendall(json.dumps(status).encode() + b"\n")


class Bench:
    """The part of a stage that runs `openstack`: here the words are noted, and the agent follows at once."""

    def __init__(self, agent: Agent) -> None:
        self.agent, self.said = agent, list[str]()

    def halt(self) -> None:
        """There is no load."""

    def spawn(self, argv: list[str], **keys: Any) -> Any:
        self.said.append(f"{keys['env']['WHO']}: {' '.join(argv[1:])}")
        if argv[1:4] == ["slo", "host", "set"]:
            self.agent.mode = argv[-1]
        return SimpleNamespace(communicate=lambda timeout: (b"", b""), returncode=0)


@pytest.fixture
def bench(tmp_path: Path) -> tuple[Bench, Surroundings]:
    """An agent in ``enforce`` and what stands around it."""
    agent = Agent(tmp_path / "xgos.sock")
    agent.start()
    there = Surroundings(
        member={"WHO": "member"},
        operator={"WHO": "operator"},
        agent_socket=tmp_path / "xgos.sock",
        libvirt_uri="qemu+unix:///system?socket=/nowhere",
    )
    return Bench(agent), there


def test_without_stella_the_agent_only_observes_and_is_put_back(bench: tuple[Bench, Surroundings]) -> None:
    stage, there = bench
    policy = without_and_with(there)("none", Path())
    policy.begin(stage, None, {})  # type: ignore[arg-type]
    assert (stage.agent.mode, policy.name, policy.agent_pid) == ("observe", "none", None)
    policy.end()
    assert stage.agent.mode == "enforce"
    assert stage.said == [f"operator: slo host set compute1 --mode {mode}" for mode in ("observe", "enforce")]
    policy.end()  # nothing is left to put back
    assert len(stage.said) == 2


def test_the_mode_is_not_asked_for_when_it_is_there(bench: tuple[Bench, Surroundings]) -> None:
    stage, there = bench
    mode = HostMode(there)
    mode.change(stage, "enforce")  # type: ignore[arg-type]
    mode.put_back()
    assert not stage.said


def test_an_agent_that_is_gone_is_told(tmp_path: Path, environment: dict[str, str]) -> None:
    there = Surroundings(member={}, operator={}, agent_socket=tmp_path / "none", libvirt_uri="")
    with pytest.raises(PolicyError, match="the agent does not answer"):
        HostMode(there).status()
    policy = CloudPolicy(there, Member(environment))
    policy.collect()
    assert policy.agent_pid is None
    assert policy.report().notes[0].startswith("windows: ")


def test_a_cloud_without_horizon_is_one_line(tmp_path: Path) -> None:
    there = Surroundings(member={}, operator={}, agent_socket=tmp_path / "none", libvirt_uri="")
    with pytest.raises(PolicyError, match="HORIZON_URL"):
        dashboard_of(there, tmp_path)
