"""HTTP to Stella's API, with the session's token. Whatever happens there, one page of Horizon loses at most `BUDGET_SECONDS`."""

import json
import logging
import threading
import time
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from django.conf import settings
from django.http import HttpRequest
from horizon.exceptions import ServiceCatalogException
from openstack_dashboard.api import base
from urllib3 import Timeout

from stella_dashboard import SERVICE_TYPE
from stella_dashboard.api.problems import PROBLEMS, NotOffered, Problem, Unreachable, of_answer

LOG = logging.getLogger(__name__)

BUDGET_SECONDS = 2.0
"""For all requests of one page together."""
REPORT_SECONDS = 20.0
"""The same of a page that shows or passes on a report."""
PAUSE_SECONDS = 5.0
"""So long an API that did not answer is not asked again by this process."""
_LARGEST_BYTES = 8_000_000
_LARGEST_REPORT_BYTES = 64_000_000
_CHUNK_BYTES = 65_536

_asked_again_at: dict[str, float] = {}
_local = threading.local()


def _session() -> requests.Session:
    """One for each thread: its connections stay open. It takes no cookie, proxy or password from anywhere."""
    found = getattr(_local, "session", None)
    if found is None:
        found = _local.session = requests.Session()
        found.trust_env = False
        found.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return found


class Client:
    """The API for one page: made by `of`, shared by all who ask on this page, so that they share one budget of time."""

    def __init__(self, endpoint: str | None, token: str) -> None:
        self._endpoint = endpoint.rstrip("/") if endpoint else None
        self._token = token
        self._end = time.monotonic() + BUDGET_SECONDS
        self._largest_bytes = _LARGEST_BYTES

    def allow_report(self) -> None:
        """This page shows a report, which takes longer and is larger the more instances are in it."""
        self._end = time.monotonic() + REPORT_SECONDS
        self._largest_bytes = _LARGEST_REPORT_BYTES

    def ask(self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Any = None) -> Any | Problem:
        """The JSON of the answer (None where it has none), or the problem. Never raises for what happens on the way."""
        answer = self.ask_text(method, path, query=query, body=body)
        if isinstance(answer, PROBLEMS):
            return answer
        try:
            return json.loads(answer) if answer else None
        except ValueError:
            return Unreachable("an answer without JSON")

    def ask_text(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Any = None
    ) -> bytes | Problem:
        """The answer as it came, or the problem."""
        if self._endpoint is None:
            return NotOffered()
        now = time.monotonic()
        if now < _asked_again_at.get(self._endpoint, 0.0):
            return Unreachable("it did not answer a moment ago")
        left = self._end - now
        if left <= 0:
            return Unreachable("the time of this page is used up")
        try:
            status, text = self._send(method, path, query, body, left)
        except (requests.RequestException, OSError) as error:
            _asked_again_at[self._endpoint] = time.monotonic() + PAUSE_SECONDS
            LOG.warning("Stella's API does not answer: %s", type(error).__name__)
            return Unreachable(type(error).__name__)
        if 200 <= status < 300:
            return text
        try:
            return of_answer(status, json.loads(text) if text else None)
        except ValueError:
            return Unreachable(f"status {status} without JSON")

    def _send(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Any, seconds: float
    ) -> tuple[int, bytes]:
        """Status and body. Raises `requests.RequestException` and `OSError`, also when it takes longer than ``seconds``."""
        headers = {"X-Auth-Token": self._token, "Accept": "application/json"}
        with _session().request(
            method,
            f"{self._endpoint}{path}",
            params=query,
            json=body,
            headers=headers,
            timeout=Timeout(total=seconds),
            verify=False if settings.OPENSTACK_SSL_NO_VERIFY else (settings.OPENSTACK_SSL_CACERT or True),
            allow_redirects=False,
            stream=True,
        ) as response:
            content = b""
            for chunk in response.iter_content(_CHUNK_BYTES):
                content += chunk
                if len(content) > self._largest_bytes or time.monotonic() > self._end:
                    raise requests.Timeout("too long an answer")
            return response.status_code, content


def of(request: HttpRequest) -> Client:
    """The client of this page."""
    found = getattr(request, "_stella_client", None)
    if found is None:
        try:
            endpoint = base.url_for(request, SERVICE_TYPE)
        except ServiceCatalogException:
            endpoint = None
        found = request._stella_client = Client(endpoint, request.user.token.id)
    return found


def forget_failures() -> None:
    """Ask again at once whatever did not answer before."""
    _asked_again_at.clear()


def is_offered(request: HttpRequest) -> bool:
    """Whether the service catalogue has a Stella for this user's region; nothing is asked of it."""
    return base.is_service_enabled(request, SERVICE_TYPE)
