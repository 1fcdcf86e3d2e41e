"""The API's TLS certificate expires: agent and client say so and send nothing secret; floors stay, and a new one mends it."""

import signal
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.linked import linked_host
from tests.functional.conftest import Cloud
from tests.functional.process import Server, wait
from tests.functional.test_tls import _THIS, Authority, openstack


@pytest.mark.timeout(300)
def test_it_expires_and_is_renewed(cloud: Cloud, tmp_path: Path, measured: Callable[[str, float], None]) -> None:
    cloud.clock.now = time.time()
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.sign("server", _THIS)
    valid, valid_key = certificate.read_bytes(), key.read_bytes()
    server = Server(cloud.config_path, tls_certificate=certificate, tls_key=key)
    server.tls = ssl.create_default_context(cafile=str(authority.certificate))
    server.start()
    try:
        with linked_host(cloud, server, api_ca_file=str(authority.certificate)) as linked:
            server.stop(signal.SIGTERM)
            authority.sign("server", _THIS, days=-1)
            assert certificate.read_bytes() != valid
            server.tls.check_hostname = False
            server.tls.verify_mode = ssl.CERT_NONE
            server.start()
            assert wait(lambda: "has expired" in linked.agent.link().get("intent_error", ""), 60), linked.status()
            assert wait(lambda: "has expired" in linked.agent.link().get("report_error", ""), 60), linked.status()
            ca = ("--os-cacert", str(authority.certificate))
            done = openstack(tmp_path, server.url, cloud.admin.token, *ca, "slo", "host", "list")
            assert done.returncode == 1 and "certificate" in done.stderr.lower(), done.stderr
            linked.keeps(1.0)
            server.stop(signal.SIGTERM)
            certificate.write_bytes(valid)
            key.write_bytes(valid_key)
            server.tls.verify_mode = ssl.CERT_REQUIRED
            server.tls.check_hostname = True
            server.start()
            measured("connected with the new certificate", linked.connected())
            linked.require_slo()
            linked.keeps(0.5)
    finally:
        server.stop(signal.SIGKILL)
