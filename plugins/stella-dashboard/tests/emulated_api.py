"""Stella's API as the plugin sees it: an HTTP server on this machine that answers what a test says, and keeps what was asked."""

import contextlib
import json
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

UUID = "11111111-1111-4111-8111-{:012d}"
NOW = "2026-11-28T12:00:00Z"


def instance(
    number: int, *, name: str | None = None, objectives: Mapping[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """An instance as the API lists it. ``objectives``: by metric (floor, usage, status, cause, attainment today and this month)."""
    slo, now, today, month = None, [], {}, {}
    if objectives is not None:
        promised = {metric: {"floor": floor, "priority": 0} for metric, (floor, *_) in objectives.items()}
        slo = {
            "generation": 3,
            "objectives": promised,
            "state": "enforced",
            "reason": "",
            "largest": {},
            "changed_at": NOW,
        }
        for metric, (_, usage, status, cause, of_today, of_month) in objectives.items():
            now.append({"metric": metric, "usage": usage, "demand": None, "status": status, "cause": cause})
            today[metric], month[metric] = of_today, of_month
    return {
        "uuid": UUID.format(number),
        "name": f"web-{number}" if name is None else name,
        "project_id": "1",
        "host": None,
        "state": "running",
        "vcpus": 1,
        "slo_state": slo and slo["state"],
        "slo": slo,
        "objectives": now,
        "attainment": {"today": today, "month": month},
        "reported_at": NOW,
        **more,
    }


def error(code: str, status: int, detail: str, **more: Any) -> tuple[int, dict[str, Any]]:
    """An answer that refuses."""
    title = {"code": code, "status": status, "title": "Refused", "detail": detail, "request_id": "req-1", "links": []}
    return status, {"errors": [{**title, **more}]}


class EmulatedApi:
    """Started by `start`; ``answers`` are by method and path, ``asked`` is what came: (method, path, query, body, token)."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], tuple[int, Any]] = {}
        self.asked: list[tuple[str, str, dict[str, str], Any, str]] = []
        self.delay_seconds = 0.0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, status: int, body: Any = None) -> None:
        self.answers[method, path] = (status, body)

    def lists(self, *instances: Mapping[str, Any]) -> None:
        self.answer("GET", "/v1/instances", 200, {"instances": list(instances), "links": []})
        for one in instances:
            self.answer("GET", f"/v1/instances/{one['uuid']}", 200, one)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                api.asked.append((self.command, parts.path, query, body, self.headers.get("X-Auth-Token", "")))
                time.sleep(api.delay_seconds)
                status, told = api.answers.get((self.command, parts.path), (404, None))
                if callable(told):
                    told = told(query, body)
                content = b"" if told is None else json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with contextlib.suppress(OSError):  # who asked has gone
                    self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _serve  # noqa: N815 - the names that http.server calls

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        return Handler
