"""The HTTP exchange, against a small server on loopback, and the credential's file."""

import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from stella.xgos.link import transport
from stella.xgos.link.transport import Endpoint, HttpTransport, NoCredential, Unreachable, read_credential

SEEN: list[tuple[str, str | None, str | None]] = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        SEEN.append((self.path, self.headers["Authorization"], self.headers["If-None-Match"]))
        big = "big" in self.path
        body = b"x" * (2000 if big else 2)
        self.send_response(302 if "moved" in self.path else 200)
        self.send_header("Location", "/elsewhere")
        self.send_header("ETag", '"5"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True  # without telling, as a server does that closes idle connections

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    SEEN.clear()
    server = HTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def credential(tmp_path: Path) -> Path:
    path = tmp_path / "credential"
    path.write_text("first\n")
    path.chmod(0o600)
    return path


def made(url: str, credential: Path, host: str = "host1") -> HttpTransport:
    return HttpTransport(Endpoint(url=url, host_name=host, credential_file=credential))


def test_a_new_credential_is_used_at_once_and_a_closed_connection_is_opened_again(url: str, credential: Path) -> None:
    one = made(url, credential)
    assert one.get_intent("").etag == '"5"'
    credential.write_text("second\n")
    assert one.get_intent('"5"').body == b"xx"
    one.close()
    assert SEEN == [
        ("/v1/hosts/host1/intent", "Bearer first", None),
        ("/v1/hosts/host1/intent", "Bearer second", '"5"'),
    ]


def test_redirects_are_not_followed(url: str, credential: Path) -> None:
    one = made(url, credential, "moved")
    assert one.get_intent("").status == 302 and len(SEEN) == 1
    one.close()


def test_an_answer_has_a_limit(url: str, credential: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LARGEST_ANSWER_BYTES", 1000)
    with pytest.raises(Unreachable, match="more than 1000 bytes"):
        made(url, credential, "big").get_intent("")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1, signed by itself, with its key in the same file."""
    path, key = tmp_path / "api.pem", tmp_path / "api.key"
    argv = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    argv += ["-subj", "/CN=api", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(path)]
    subprocess.run(argv, check=True, capture_output=True)
    path.write_text(path.read_text() + key.read_text())
    return path


def test_only_a_trusted_certificate_is_spoken_to(certificate: Path, credential: Path) -> None:
    SEEN.clear()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = HTTPServer(("127.0.0.1", 0), _Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a refused handshake is no news
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        url = f"https://127.0.0.1:{server.server_port}"
        with pytest.raises(Unreachable, match="certificate is not trusted"):
            made(url, credential).get_intent("")
        assert SEEN == [], "the credential is not sent to a stranger"
        trusting = HttpTransport(
            Endpoint(url=url, host_name="host1", credential_file=credential, ca_file=str(certificate))
        )
        assert trusting.get_intent("").status == 200
        trusting.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_nobody_there(credential: Path) -> None:
    with pytest.raises(Unreachable, match="refused") as caught:
        made("http://127.0.0.1:9", credential).post_report(b"{}")
    assert "first" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602, 0o660])
def test_a_credential_that_others_can_read_is_refused(credential: Path, mode: int) -> None:
    credential.chmod(mode)
    with pytest.raises(NoCredential, match="0600"):
        read_credential(credential)


@pytest.mark.parametrize("text", [b"", b"\n", b"two words\n", b"a\r\nX-Evil: 1\n", b"\xff\n"])
def test_a_credential_is_one_word(credential: Path, text: bytes) -> None:
    credential.write_bytes(text)
    with pytest.raises(NoCredential, match="is not one line"):
        read_credential(credential)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(NoCredential, match="No such file"):
        read_credential(tmp_path / "none")
