"""keystonemiddleware with the decision it leaves open: a Keystone that cannot be asked is 503, not a token that is not valid.

Routes for anyone and for hosts are served without a token, so that the decision about a request is Stella's (`delay_auth_decision`).
In that mode keystonemiddleware takes a token for invalid when Keystone cannot be reached, and clients would throw theirs away.
"""

from typing import Any

import webob
import webob.exc
from keystoneauth1 import exceptions as keystone_errors
from keystonemiddleware import opts
from keystonemiddleware.auth_token import AuthProtocol, InvalidToken, ServiceError
from oslo_config import cfg
from oslo_middleware.request_id import ENV_REQUEST_ID

from stella.api import strict_json
from stella.api.errors import RETRY_SECONDS, ApiError

_UNREACHABLE = (
    keystone_errors.ConnectFailure,
    keystone_errors.DiscoveryFailure,
    keystone_errors.RequestTimeout,
    ServiceError,
)
_ANSWER_SECONDS = 5
_REPEATS = 1


class AuthToken(AuthProtocol):  # type: ignore[misc]  # keystonemiddleware has no types
    """Tells the application who asks, in headers that cannot come from outside."""

    def __init__(self, application: Any, config: cfg.ConfigOpts) -> None:
        """Ask as ``[keystone_authtoken]`` says; where that says nothing, a Keystone that does not answer is waited for 5 s."""
        for group, options in opts.list_auth_token_opts():
            config.register_opts(options, group=group)
        config.set_default("http_connect_timeout", _ANSWER_SECONDS, group="keystone_authtoken")
        config.set_default("http_request_max_retries", _REPEATS, group="keystone_authtoken")
        super().__init__(application, {"oslo_config_config": config, "delay_auth_decision": True})

    def fetch_token(self, token: str, allow_expired: bool = False) -> Any:
        """What Keystone says of a token. Raises `webob.exc.HTTPServiceUnavailable` where it could not be asked."""
        try:
            return super().fetch_token(token, allow_expired=allow_expired)
        except InvalidToken as error:
            if isinstance(error.__context__, _UNREACHABLE):
                raise webob.exc.HTTPServiceUnavailable from None
            raise
        except keystone_errors.ClientException as error:
            self.log.critical("Keystone cannot be asked: %s", error)
            raise webob.exc.HTTPServiceUnavailable from None

    def process_request(self, request: Any) -> webob.Response | None:
        """None: the application goes on."""
        try:
            found: webob.Response | None = super().process_request(request)
        except webob.exc.HTTPServiceUnavailable:
            known = ApiError("stella.server.keystone_unreachable", "Keystone cannot be reached; try again.")
            body = strict_json.dump(known.body(str(request.environ.get(ENV_REQUEST_ID, ""))))
            answer = webob.Response(body, status=known.status, content_type="application/json", charset=None)
            answer.headers["Retry-After"] = RETRY_SECONDS
            return answer
        return found
