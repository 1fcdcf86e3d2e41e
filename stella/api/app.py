"""The WSGI application: the routes behind Falcon, Falcon behind the middleware.

One request: its id (oslo.middleware) -> the user's token (keystonemiddleware, where configured) -> version, identity, query and body
checked here -> the handler -> its answer checked and sent. Whatever goes wrong leaves as an API-SIG error.
"""

import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import falcon
from falcon.routing.util import map_http_methods
from oslo_config import cfg
from oslo_middleware.request_id import ENV_REQUEST_ID, RequestId

from stella.api import intervals, microversion, strict_json, validation
from stella.api.errors import RETRY_SECONDS, ApiError, not_found
from stella.api.host_attainment import RecentAttainment
from stella.api.host_holdings import HostHoldings
from stella.api.identity import HOST_USER, Identity, Keystone, TokenFile, Users
from stella.api.keystone import AuthToken
from stella.api.metrics import Metrics
from stella.api.operation import Access, Answer, Call, Operation, Services
from stella.api.policy import Policy
from stella.api.routes import ROUTES
from stella.api.schemas.vocabulary import NAME_PATTERN, UUID_PATTERN
from stella.clouds import ledgers
from stella.clouds.port import Ledger, Unanswered
from stella.db import hosts
from stella.db.database import Conflict, Database, Unreachable
from stella.db.hosts import LinkedHost
from stella.model.wire import Json

_NUMBER = re.compile(r"^[1-9][0-9]{0,14}$", re.ASCII)
_NAMES = {
    "uuid": re.compile(UUID_PATTERN),
    "sla_id": re.compile(UUID_PATTERN),
    "name": re.compile(NAME_PATTERN),
    **dict.fromkeys(("violation_id", "attachment_id", "exclusion_id", "correction_id", "decision_id"), _NUMBER),
}
"""What a parameter of a path must be."""
_LOG = logging.getLogger(__name__)
_NOT_MODIFIED = 304
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Server:
    """What stands between Falcon and the handlers."""

    def __init__(self, services: Services, users: Users) -> None:
        self._services = services
        self._users = users
        self._response_validation = services.config.api.response_validation
        self._largest_body_bytes = services.config.api.largest_body_bytes

    def serve(
        self, operation: Operation, request: falcon.Request, response: falcon.Response, path: Mapping[str, str]
    ) -> None:
        """Answer one request. Raises `ApiError`."""
        response.set_header("Cache-Control", "no-cache")
        if operation.access is not Access.PUBLIC:
            version = microversion.negotiate(request.headers)
            response.set_header(microversion.HEADER, f"{microversion.SERVICE_TYPE} {version}")
            response.append_header("Vary", microversion.HEADER)
        identity, host = self._authenticate(operation.access, request, path)
        request.context.user_id = identity.user_id
        _require_names(request, path)
        call = Call(
            services=self._services,
            identity=identity,
            path=path,
            query=validation.read_query(operation.query, request.params),
            body=None,
            if_match=request.get_header("If-Match"),
            if_none_match=request.get_header("If-None-Match"),
            request_id=request_id_of(request),
            remote_address=request.remote_addr,
            url=self._url(request),
            host=host,
        )
        if operation.body is not None:
            body = self._read_body(request)
            validation.check(operation.body, body, "body")
            call = replace(call, body=body)
        answer = operation.handler(call)
        self._check(operation, answer)
        response.status = answer.status
        if answer.text is not None:
            response.text, response.content_type = answer.text, f"{answer.media_type}; charset=utf-8"
            response.set_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
            response.set_header("X-Content-Type-Options", "nosniff")
        if answer.body is not None:
            response.data = strict_json.dump(answer.body)
            response.content_type = falcon.MEDIA_JSON
        if answer.etag is not None:
            response.set_header("ETag", answer.etag)

    def _url(self, request: falcon.Request) -> str:
        public = self._services.config.api.public_url
        return f"{public.rstrip('/')}{request.path}" if public else request.uri.partition("?")[0]

    def _authenticate(
        self, access: Access, request: falcon.Request, path: Mapping[str, str]
    ) -> tuple[Identity, LinkedHost | None]:
        if access is Access.PUBLIC:
            return Identity(user_id=""), None
        if access is Access.HOST:
            return self._host(request, path["name"])
        identity = self._users.identify(request.env)
        if identity is None:
            raise ApiError(
                "stella.request.unauthenticated",
                "The request needs a valid token in X-Auth-Token.",
                headers={"WWW-Authenticate": 'Token realm="stella"'},
            )
        return identity, None

    def _host(self, request: falcon.Request, name: str) -> tuple[Identity, LinkedHost]:
        scheme, _, credential = (request.get_header("Authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not credential:
            raise ApiError(
                "stella.request.unauthenticated",
                "This route is for the host's agent, with the host's credential: Authorization: Bearer CREDENTIAL.",
                headers={"WWW-Authenticate": 'Bearer realm="stella"'},
            )
        now = self._services.clock()
        with self._services.database.reader() as session:
            host = hosts.authenticate(
                session, name, credential.strip(), now=now, changed_since=now - intervals.PENDING_SECONDS
            )
            known = host is not None or hosts.knows_credential(session, credential.strip())
        if host is None and not known:
            raise ApiError(
                "stella.request.unauthenticated",
                "No host has this credential; enroll the host and give its agent the new one.",
                headers={"WWW-Authenticate": 'Bearer realm="stella"'},
            )
        if host is None:
            raise not_found(f"Host {name[:64]}")
        return Identity(user_id=f"{HOST_USER}{host.name}", host=host.name), host

    def _read_body(self, request: falcon.Request) -> Json:
        length = request.content_length
        if length is None:
            raise ApiError("stella.request.length_required", "Send the body with a Content-Length.")
        if length > self._largest_body_bytes:
            raise ApiError(
                "stella.request.too_large",
                f"The body has {length} bytes; at most {self._largest_body_bytes} are taken.",
            )
        kind = (request.content_type or "").partition(";")[0].strip().lower()
        if kind != falcon.MEDIA_JSON:
            raise ApiError("stella.request.not_json_type", "Send the body as Content-Type: application/json.")
        try:
            return strict_json.parse(request.bounded_stream.read(length))
        except strict_json.NotJson as error:
            raise ApiError("stella.request.not_json", f"The body {error}.", field="body") from None

    def _check(self, operation: Operation, answer: Answer) -> None:
        if self._response_validation == "none" or answer.media_type in operation.media_types:
            return
        if answer.status not in operation.responses:
            found: tuple[str, str] | None = ("status", f"{answer.status} is not one of the operation's responses")
        else:
            schema = operation.responses[answer.status]
            if schema is None:
                found = None if answer.body is None else ("body", "must be empty")
            else:
                found = validation.first_error(schema, answer.body)
        if found is None:
            return
        message = f"{operation.name}: {found[0]} {found[1]}"
        if self._response_validation == "error":
            raise ApiError("stella.server.response_invalid", message)
        _LOG.error("a response does not match its schema: %s", message)


class _Endpoint:
    """One path of the API, as Falcon wants it: a method ``on_get`` for each verb."""

    def __init__(self, server: _Server, operations: Mapping[str, Operation]) -> None:
        for method, operation in operations.items():
            setattr(self, f"on_{method.lower()}", self._responder(server, operation))

    @staticmethod
    def _responder(server: _Server, operation: Operation) -> Callable[..., None]:
        def respond(request: falcon.Request, response: falcon.Response, **path: str) -> None:
            request.context.operation = operation.name
            server.serve(operation, request, response, path)

        return respond


class _RequestLog:
    """One line for each request, without its token or body, and its metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def process_request(self, request: falcon.Request, response: falcon.Response) -> None:
        """Take the time."""
        request.context.started = time.monotonic()

    def process_response(
        self, request: falcon.Request, response: falcon.Response, resource: object, succeeded: bool
    ) -> None:
        """Write the line; at debug level for a poll that finds nothing new, of which there are hundreds a second."""
        seconds = time.monotonic() - request.context.started
        self._metrics.served(getattr(request.context, "operation", "none"), response.status_code, seconds)
        _LOG.log(
            logging.DEBUG if response.status_code == _NOT_MODIFIED else logging.INFO,
            "%s %s %s %.1f ms user=%s %s",
            request.method,
            request.path,
            response.status_code,
            seconds * 1000,
            getattr(request.context, "user_id", "") or "-",
            request_id_of(request),
        )


def _require_names(request: falcon.Request, path: Mapping[str, str]) -> None:
    """Raises `ApiError` (404) for what is no uuid or host's name: MariaDB would find a name also with blanks after it."""
    for name, value in path.items():
        if name in _NAMES and not _NAMES[name].fullmatch(value):
            raise not_found(f"Path {request.path[:200]}")


def request_id_of(request: falcon.Request) -> str:
    """The id that oslo.middleware gave the request."""
    return str(request.env.get(ENV_REQUEST_ID, ""))


def _send_error(request: falcon.Request, response: falcon.Response, error: Exception, params: object) -> None:
    """Any exception as an API-SIG error; an unexpected one is logged, and its answer tells nothing of it."""
    match error:
        case ApiError():
            known = error
        case falcon.HTTPMethodNotAllowed():
            known = ApiError(
                "stella.request.method_not_allowed",
                f"{request.path} does not have the method {request.method[:20]}.",
                headers={k: str(v) for k, v in dict(error.headers or {}).items()},
            )
        case falcon.HTTPNotFound():
            known = not_found(f"Path {request.path[:200]}")
        case falcon.HTTPError() if error.status_code < 500:
            known = ApiError("stella.request.invalid", f"{error.title or 'The request is not valid'}.")
        case Unreachable():
            _LOG.error("database: %s", error)
            known = ApiError(
                "stella.server.database_unreachable",
                "The database cannot be reached; try again.",
            )
        case Unanswered():
            _LOG.error("placement: %s", error)
            known = ApiError(
                "stella.server.placement_unreachable",
                "Placement, which counts what is guaranteed, cannot be reached; try again.",
            )
        case Conflict():
            known = ApiError("stella.request.conflict", f"This {error}.")
        case _:
            _LOG.exception("unforeseen error %s", request_id_of(request), exc_info=error)
            known = ApiError("stella.server.failed", "The server failed; its log has the request id.")
    response.status = known.status
    response.data = strict_json.dump(known.body(request_id_of(request)))
    response.content_type = falcon.MEDIA_JSON
    retry = {"Retry-After": RETRY_SECONDS} if known.status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    for name, value in {**retry, **known.headers}.items():
        response.set_header(name, value)


def _falcon(services: Services, users: Users) -> falcon.App[falcon.Request, falcon.Response]:
    app = falcon.App(middleware=[_RequestLog(services.metrics)])
    app.req_options.keep_blank_qs_values = True
    app.req_options.auto_parse_qs_csv = False
    app.req_options.strip_url_path_trailing_slash = True
    app.add_error_handler(Exception, _send_error)
    app.add_error_handler(falcon.HTTPError, _send_error)
    server = _Server(services, users)
    for path, operations in ROUTES.items():
        endpoint = _Endpoint(server, operations)
        assert set(map_http_methods(endpoint)) >= set(operations)
        app.add_route(path, endpoint)
    return app


def build(
    config: cfg.ConfigOpts,
    database: Database,
    *,
    clock: Callable[[], float] = time.time,
    metrics: Metrics | None = None,
    ledger: Ledger | None = None,
) -> Wsgi:
    """The application with its middleware, the outermost last. Raises `stella.conf.InvalidConfig`.

    ``ledger`` None: as the configuration says.
    """

    def count_hosts() -> int:
        with database.reader() as session:
            return hosts.count_enrolled(session)

    host_count = intervals.HostCount(count_hosts, clock)
    services = Services(
        database=database,
        policy=Policy(config),
        config=config,
        clock=clock,
        host_count=host_count,
        metrics=metrics or Metrics(),
        attainments=RecentAttainment(clock),
        holdings=HostHoldings(),
        ledger=ledger if ledger is not None else ledgers.find(config),
    )
    with_keystone = config.auth.strategy == "keystone"
    users: Users = Keystone() if with_keystone else TokenFile(Path(config.auth.token_file))
    app: Any = _falcon(services, users)
    middleware: tuple[Callable[[Any], Any] | None, ...] = (
        (lambda inner: AuthToken(inner, config)) if with_keystone else None,
        RequestId,
    )
    for layer in middleware:
        app = layer(app) if layer is not None else app

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return cast(Iterable[bytes], app(environ, start_response))

    return application
