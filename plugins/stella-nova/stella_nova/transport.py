"""Stella over HTTP, with the session and the endpoint that ``[stella]`` in nova.conf describes."""

import threading
from collections.abc import Mapping
from typing import Any

from keystoneauth1 import adapter, loading
from keystoneauth1 import exceptions as keystone
from oslo_config import cfg

from stella_nova.candidates import Refused, Unanswered
from stella_nova.options import GROUP

_PATH = "/v1/candidates"


class HttpTransport:
    """`Transport` of keystoneauth1. May be used by any thread; what it needs is made when it is first used."""

    def __init__(self, config: cfg.ConfigOpts) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._made: adapter.Adapter | None = None

    def _adapter(self) -> adapter.Adapter:
        with self._lock:
            if self._made is None:
                auth = loading.load_auth_from_conf_options(self._config, GROUP)
                session = loading.load_session_from_conf_options(self._config, GROUP, auth=auth)
                self._made = loading.load_adapter_from_conf_options(self._config, GROUP, session=session, auth=auth)
            return self._made

    def candidates(self, body: Mapping[str, Any]) -> Any:
        """The decoded answer of ``POST /v1/candidates``. Raises `Unanswered` or `Refused`."""
        try:
            response = self._adapter().post(_PATH, json=dict(body), raise_exc=False)
        except (keystone.ClientException, cfg.Error) as error:
            raise Unanswered(_line(error)) from None
        try:
            decoded = response.json()
        except ValueError:
            decoded = None
        if response.status_code == 200:
            return decoded
        code, detail = _error(decoded)
        if code == "stella.slo.invalid":
            raise Refused(detail)
        raise Unanswered(f"it answered {response.status_code}{f' ({code}: {detail})' if code else ''}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _error(decoded: Any) -> tuple[str, str]:
    """Code and detail of an error of stella-api; both empty for what is none."""
    try:
        first = decoded["errors"][0]
        return str(first["code"])[:64], " ".join(str(first["detail"]).split())[:300]
    except (LookupError, TypeError):
        return "", ""
