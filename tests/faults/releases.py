"""A proxy between agent and API that makes what passes look like that of the release before, or of the next."""

import enum
import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_LATER: dict[str, Any] = {"x_of_the_next_release": {"list": [1, None, "text"], "ratio": 0.5}}
_NEW_IN_THIS = frozenset({"report_seconds", "watched", "points"})
"""Keys that the release before neither sent nor knew (docs/decisions/0035 and 0036)."""

_OPAQUE = frozenset({"objectives"})
"""What an SLO says is no matter of the protocol: an unknown metric is refused with a reason, not ignored."""

_MAPS = frozenset({"slos", "states", "capabilities", "versions", "counts", "costs", "causes", "largest", "evidence"})
"""Objects whose keys are data, such as uuids: nothing is added beside those."""


class Release(enum.Enum):
    """Of which release the other side seems to be."""

    BEFORE = "N-1"
    SAME = "N"
    NEXT = "N+1"


def as_of(release: Release, value: Any, *, is_map: bool = False) -> Any:
    """A body as that release would send it: with keys that this one does not know, or without those that it brought."""
    if isinstance(value, list):
        return [as_of(release, one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {
        key: one if key in _OPAQUE else as_of(release, one, is_map=key in _MAPS)
        for key, one in value.items()
        if release is not Release.BEFORE or key not in _NEW_IN_THIS
    }
    return found if is_map or release is not Release.NEXT else found | _LATER


class Proxy:
    """HTTP on loopback before ``port``. ``release`` may be changed at any time; bodies of both directions are of that release."""

    def __init__(self, port: int) -> None:
        self.release = Release.SAME
        self.passed: dict[Release, int] = dict.fromkeys(Release, 0)
        self.refused: list[tuple[str, int, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                release = outer.release
                sent = {name: value for name, value in self.headers.items() if name.lower() != "content-length"}
                try:
                    status, headers, answer = outer._ask(port, self.command, self.path, sent, _rewritten(release, body))
                except OSError:
                    self.close_connection = True
                    return
                outer.passed[release] += 1
                if status >= 400 and status != 503:
                    outer.refused.append((f"{self.command} {urlsplit(self.path).path}", status, answer[:300].decode()))
                answer = _rewritten(release, answer)
                self.send_response(status)
                for name in ("ETag", "Date", "Content-Type", "Retry-After"):
                    if name in headers:
                        self.send_header(name, headers[name])
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def do_GET(self) -> None:
                self._pass()

            def do_POST(self) -> None:
                self._pass()

            def log_message(self, format: str, *words: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def _ask(self, port: int, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from None
        finally:
            connection.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(20)


def _rewritten(release: Release, body: bytes) -> bytes:
    if not body or release is Release.SAME:
        return body
    try:
        return json.dumps(as_of(release, json.loads(body))).encode()
    except ValueError:
        return body
