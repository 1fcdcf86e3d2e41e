"""What `xgos check` reads of a host: recorded trees, files of Nova's, an API that answers, a libvirt that does not."""

import socket
import threading
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from stella.cmd import xgos
from stella.linux.domain_xml import Interface
from stella.xgos.checks import gather
from stella.xgos.checks.facts import Master
from stella.xgos.host_files import HostFiles
from stella.xgos.link.transport import Endpoint
from stella.xgos.sensing import inspection
from stella.xgos.sensing.inspection import Inspection

HOSTS = Path(__file__).parents[3] / "fixtures" / "hosts"
FOUND = Inspection(libvirt=9_000_000, qemu=7_002_000, domains=0, of_nova=0, interfaces=())


@pytest.mark.parametrize(
    ("tree", "version", "has_cpuset"), [("v1-libvirt9", 1, False), ("v1-namespaced", 1, True), ("v2-systemd", 2, True)]
)
def test_control_groups_of_recorded_hosts(tree: str, version: int, has_cpuset: bool) -> None:
    found = gather.read_groups(HostFiles(str(HOSTS / tree)))
    assert (found.version, bool(found.cpuset_mount)) == (version, has_cpuset)
    assert found.mount and not found.error


def test_a_host_without_control_groups(tmp_path: Path) -> None:
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "mountinfo").write_text("")
    found = gather.read_groups(HostFiles(str(tmp_path)))
    assert found.version == 0 and "cpu controller" in found.error


def test_masters_of_devices(tmp_path: Path) -> None:
    net = tmp_path / "sys" / "class" / "net"
    for name in ("tap1/brport", "tap1/master", "tap2", "tap3/master", "tap4/master"):
        (net / name).mkdir(parents=True)
    (net / "tap3" / "master" / "uevent").write_text("INTERFACE=ovs-system\nIFINDEX=7\n")
    (net / "tap4" / "master" / "uevent").write_text("INTERFACE=bond0\n")
    interfaces = [Interface(device=name, kind="bridge") for name in ("tap1", "tap2", "tap3", "tap4", "tap5", "")]
    assert gather.read_masters(HostFiles(str(tmp_path)), interfaces) == {
        "tap1": Master.BRIDGE,
        "tap2": Master.NONE,
        "tap3": Master.OPENVSWITCH,
        "tap4": Master.OTHER,
        "tap5": Master.NO_DEVICE,
    }


@pytest.mark.parametrize(("text", "expected"), [("123 4 5\n", True), ("0 0 0\n", False), ("\n", None), (None, None)])
def test_scheduler_statistics(tmp_path: Path, text: str | None, expected: bool | None) -> None:
    directory = tmp_path / "proc" / "self"
    directory.mkdir(parents=True)
    if text is not None:
        (directory / "schedstat").write_text(text)
    assert gather.read_schedstat(HostFiles(str(tmp_path))) is expected


def test_a_libvirt_that_hangs_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "_LIBVIRT_SECONDS", 0.01)
    let_go = threading.Event()

    def hang(_uri: str) -> Inspection:
        let_go.wait()
        return FOUND

    assert "no answer within" in str(gather.ask_libvirt("qemu:///system", ask=hang))
    let_go.set()
    assert gather.ask_libvirt("qemu:///system", ask=lambda _uri: FOUND) is FOUND


def test_libvirt_without_a_daemon() -> None:
    assert gather.ask_libvirt("qemu+unix:///system?socket=/no/such/socket", ask=inspection.inspect) != ""
    assert isinstance(gather.ask_libvirt("qemu+unix:///system?socket=/no/such/socket"), str)


# --- Nova's own name of the host


def test_novas_files_in_their_order(tmp_path: Path) -> None:
    conf, late = tmp_path / "nova.conf", tmp_path / "nova.conf.d"
    conf.write_text(
        "[DEFAULT]\ndebug = true\nhost = first\ntransport_url = rabbit://a:secret%@b\n[filter]\nhost = not-this\n"
    )
    assert gather.read_nova([str(conf)]).name == "first"
    late.mkdir()
    (late / "20.conf").write_text('[DEFAULT]\nhost = "third"\n')
    (late / "10.conf").write_text("[DEFAULT]\nhost = second\n")
    assert gather.read_nova([str(conf)]).name == "third"
    assert gather.read_nova([str(late)]).files == [str(late / "10.conf"), str(late / "20.conf")]


def test_novas_default_is_the_machines_name(tmp_path: Path) -> None:
    conf = tmp_path / "nova.conf"
    conf.write_text("[DEFAULT]\n")
    assert gather.read_nova([str(conf)]).name == socket.gethostname()


def test_a_configuration_of_nova_that_cannot_be_read(tmp_path: Path) -> None:
    assert "none of these files exists" in gather.read_nova(["/no/such/nova.conf"]).error
    bad = tmp_path / "nova.conf"
    bad.write_text("password without a section = secret\n")
    found = gather.read_nova([str(bad)])
    assert str(bad) in found.error and "secret" not in found.error


# --- the API's clock


def test_clocks_are_compared_within_what_a_date_tells() -> None:
    date = formatdate(1_000_000.0, usegmt=True)
    offset, uncertainty = gather.compare_clocks(date, before=1_000_010.0, after=1_000_012.0)
    assert (offset, uncertainty) == (10.5, 1.5)
    assert gather.compare_clocks("", before=0.0, after=0.0) == (None, 0.0)
    assert gather.compare_clocks("yesterday", before=0.0, after=0.0) == (None, 0.0)


@pytest.fixture
def api() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers['Authorization']}")
            self.send_response(404 if "nobody" in self.path else 200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *words: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()
    thread.join(20)


def endpoint(url: str, credential: Path, host: str = "compute1", ca: str = "") -> Endpoint:
    return Endpoint(url=url, host_name=host, credential_file=credential, ca_file=ca)


def test_the_api_is_asked_as_the_agent_asks(api: tuple[str, list[str]], tmp_path: Path) -> None:
    url, asked = api
    credential = tmp_path / "credential"
    credential.write_text("c" * 43)
    credential.chmod(0o600)
    found = gather.ask_api(endpoint(url, credential))
    assert found.status == 200 and found.offset_seconds is not None and abs(found.offset_seconds) < 60
    assert asked == [f"/v1/hosts/compute1/intent Bearer {'c' * 43}"]
    assert gather.ask_api(endpoint(url, credential, host="nobody")).status == 404
    assert "api_ca_file" in gather.ask_api(endpoint("https://127.0.0.1:1", credential, ca="/no/such.pem")).error
    assert gather.ask_api(endpoint("http://127.0.0.1:1", credential)).error
    assert "No such file" in gather.ask_api(endpoint(url, tmp_path / "none")).error


# --- the command


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "xgos.toml"
    config.write_text(f'socket = "{tmp_path}/none.sock"\nlibvirt_uri = "qemu+unix:///system?socket={tmp_path}/none"\n')
    assert xgos.main(["check", "--config", str(config)]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9
    assert any(line.startswith("libvirt: Failure. ") for line in lines)
    config.write_text("smell = 3\n")
    for words in (["check", "--config", str(config)], ["check", "--smell"]):
        assert xgos.main(words) == 255
        captured = capsys.readouterr()
        assert captured.out == "" and len(captured.err.splitlines()) == 1
