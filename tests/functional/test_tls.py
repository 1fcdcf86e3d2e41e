"""TLS between the processes: agent and client check the chain and the name, and send nothing secret where the check fails."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.functional.agents import RealAgent
from tests.functional.conftest import Cloud
from tests.functional.process import Server, wait

OPENSTACK = Path(sys.executable).with_name("openstack")
_THIS = "subjectAltName=IP:127.0.0.1,DNS:localhost"
_OTHER = "subjectAltName=DNS:other.example.org"


def _openssl(*words: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory, self._name = directory, name
        self.certificate, self.key = directory / f"{name}.pem", directory / f"{name}.key"
        _openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"),
            *("-keyout", self.key, "-out", self.certificate),
        )

    def sign(self, what: str, alternative_name: str, *, days: int = 2) -> tuple[Path, Path]:
        """A certificate and its key for a server."""
        stem = self._directory / f"{self._name}-{what}"
        key, request, made, extensions = (stem.with_suffix(s) for s in (".key", ".csr", ".crt", ".ext"))
        extensions.write_text(alternative_name)
        _openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=stella", "-keyout", key, "-out", request)
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial"),
            *("-days", str(days), "-extfile", extensions, "-out", made),
        )
        return made, key


@dataclass
class Eavesdropper:
    """A server with a certificate that must not be trusted; keeps what it is told."""

    port: int = 0
    connections: int = 0
    told: list[bytes] = field(default_factory=list)


@contextmanager
def eavesdropping(certificate: Path, key: Path) -> Iterator[Eavesdropper]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    found, stop = Eavesdropper(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found.port = listener.getsockname()[1]
        listener.settimeout(0.2)

        def serve() -> None:
            while not stop.is_set():
                with suppress(TimeoutError):
                    client, _ = listener.accept()
                    found.connections += 1
                    client.settimeout(5)
                    with suppress(OSError), client, context.wrap_socket(client, server_side=True) as inside:
                        found.told.append(inside.recv(65536))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield found
        finally:
            stop.set()
            thread.join()


@dataclass
class Keys:
    """Certificates and the files of the authorities."""

    right: Authority
    wrong: Authority
    server: tuple[Path, Path]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    directory = tmp_path_factory.mktemp("keys")
    right, wrong = Authority(directory, "right"), Authority(directory, "wrong")
    return Keys(right=right, wrong=wrong, server=right.sign("server", _THIS))


@pytest.fixture
def server(cloud: Cloud, keys: Keys) -> Iterator[Server]:
    cloud.clock.now = time.time()
    certificate, key = keys.server
    made = Server(cloud.config_path, tls_certificate=certificate, tls_key=key)
    made.tls = ssl.create_default_context(cafile=str(keys.right.certificate))
    made.start()
    yield made
    made.stop(signal.SIGTERM)


@contextmanager
def agent(directory: Path, url: str, credential: str, authority: Authority) -> Iterator[RealAgent]:
    made = RealAgent(directory, url=url, host="host1", credential=credential, api_ca_file=str(authority.certificate))
    made.start()
    try:
        yield made
    finally:
        made.stop()


def openstack(directory: Path, url: str, token: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The client, without anything of this machine's own settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    environment |= {"HOME": str(directory), "OS_AUTH_TYPE": "admin_token", "OS_ENDPOINT": url, "OS_TOKEN": token}
    command = [str(OPENSTACK), *words]
    return subprocess.run(
        command, env=environment, cwd=directory, capture_output=True, text=True, check=False, timeout=90
    )


@pytest.mark.timeout(240)
def test_the_right_authority(cloud: Cloud, server: Server, keys: Keys, tmp_path: Path) -> None:
    credential = cloud.host("host1").credential
    with agent(tmp_path / "agent", server.url, credential, keys.right) as running:
        assert wait(lambda: cloud.admin.get("/v1/instances").json["instances"]), running.log.read_text()
        assert wait(lambda: running.link().get("connected")), running.log.read_text()
        ca = ("--os-cacert", str(keys.right.certificate))
        done = openstack(tmp_path, server.url, cloud.admin.token, *ca, "slo", "host", "list", "-f", "value")
        assert done.returncode == 0 and "host1" in done.stdout, done.stderr
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=20) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: s\r\n\r\n")
        if b"HTTP/1.1 200" not in plain.recv(1000):
            raise OSError("nothing is served without TLS")
    context = ssl.create_default_context(cafile=str(keys.right.certificate))
    with pytest.deprecated_call():
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=20) as old:
        context.wrap_socket(old, server_hostname="127.0.0.1")
    assert "Traceback" not in server.log.read_text()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("fault", ["authority", "name", "self-signed"])
def test_a_server_that_is_not_trusted_is_told_nothing(cloud: Cloud, keys: Keys, tmp_path: Path, fault: str) -> None:
    with ExitStack() as stack:
        certificate, key = {
            "authority": lambda: keys.wrong.sign("server", _THIS),
            "name": lambda: keys.right.sign("other", _OTHER),
            "self-signed": lambda: (keys.wrong.certificate, keys.wrong.key),
        }[fault]()
        spy = stack.enter_context(eavesdropping(certificate, key))
        url = f"https://127.0.0.1:{spy.port}"
        running = stack.enter_context(agent(tmp_path / "agent", url, "the-credential-of-host1", keys.right))
        assert wait(lambda: running.link().get("intent_error") and running.link().get("report_error"))
        told = running.xgos("status")
        for line in ("API intent: ", "API report: "):
            (shown,) = [one for one in told.stdout.splitlines() if one.lower().startswith(line.lower().rstrip())]
            assert "the server's certificate is not trusted: " in shown, told.stdout
        seen = spy.connections
        done = openstack(
            tmp_path, url, "the-token-of-ann", "--os-cacert", str(keys.right.certificate), "slo", "host", "list"
        )
        assert done.returncode == 1 and spy.connections > seen
        (line,) = [one for one in done.stderr.splitlines() if one.strip()]
        assert "certificate" in line.lower() and url in line, done.stderr
        assert wait(lambda: spy.connections > seen + 1), "the agent goes on trying"
        assert [one for one in spy.told if one] == []
        assert "the-credential" not in running.log.read_text()


def test_a_credential_is_not_sent_in_the_clear(tmp_path: Path) -> None:
    made = RealAgent(tmp_path / "agent", url="http://192.0.2.1:8791", host="host1", credential="c")
    made.start()
    assert wait(lambda: "api_url" in made.log.read_text())
    made.stop()
    assert "http:// is for an API on this host" in made.log.read_text()
