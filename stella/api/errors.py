"""What the API answers when it cannot do what was asked: API-SIG errors with codes that stay the same from release to release."""

from collections.abc import Mapping

from stella.api import whys
from stella.model.wire import Json

RETRY_SECONDS = "5"
"""When to try again what was answered 503 (``Retry-After``)."""

CODES: Mapping[str, tuple[int, str]] = {
    "stella.request.not_json": (400, "The body is not JSON"),
    "stella.request.invalid": (400, "The request is not valid"),
    "stella.request.microversion_invalid": (400, "The OpenStack-API-Version header is not valid"),
    "stella.request.unauthenticated": (401, "Authentication is required"),
    "stella.request.forbidden": (403, "Your roles do not allow this"),
    "stella.request.not_found": (404, "There is no such resource"),
    "stella.request.method_not_allowed": (405, "The resource does not have this method"),
    "stella.request.microversion_unsupported": (406, "This version of the API is not offered"),
    "stella.request.length_required": (411, "The body needs a Content-Length"),
    "stella.request.too_large": (413, "The body is too large"),
    "stella.request.uri_too_long": (414, "The path and query are too long"),
    "stella.request.headers_too_large": (431, "The headers are too large"),
    "stella.request.not_json_type": (415, "The body must be application/json"),
    "stella.request.conflict": (409, "Others changed this at the same time"),
    "stella.slo.generation_conflict": (409, "The SLO has another generation"),
    "stella.slo.host_not_enforcing": (409, "The host does not enforce SLOs now"),
    "stella.slo.host_not_reported": (409, "The host has not reported its capacity yet"),
    "stella.slo.instance_not_running": (409, "The instance does not run on its host"),
    "stella.slo.invalid": (400, "The SLO is not valid"),
    "stella.slo.does_not_fit": (422, "The SLO does not fit on this host"),
    "stella.slo.of_flavor": (409, "The SLO comes with the flavor"),
    "stella.slo.above_limit": (422, "A limit from outside Stella is below the floor"),
    "stella.slo.not_supported": (422, "The host cannot enforce this objective"),
    "stella.sla.invalid": (400, "The SLA class is not valid"),
    "stella.sla.generation_conflict": (409, "The SLA class has another generation"),
    "stella.sla.name_in_use": (409, "Another SLA class has this name"),
    "stella.sla.attached": (409, "The SLA class, or another one, is attached"),
    "stella.sla.not_allowed": (422, "The SLA class does not allow this objective"),
    "stella.quota.exceeded": (403, "The project's quota does not allow this"),
    "stella.host.generation_conflict": (409, "The host has another generation"),
    "stella.host.reports": (409, "The host reports, so it is not dead"),
    "stella.report.clock_offset": (400, "The host's clock is off"),
    "stella.server.database_unreachable": (503, "The database cannot be reached"),
    "stella.server.placement_unreachable": (503, "Placement cannot be reached"),
    "stella.server.keystone_unreachable": (503, "Keystone cannot be reached"),
    "stella.server.response_invalid": (500, "The response does not match its schema"),
    "stella.server.failed": (500, "The server failed"),
}
"""Each code with its HTTP status and title."""


class ApiError(Exception):
    """The request is not granted.

    ``detail`` is one sentence, from which ``why`` of the body is read; ``field`` is the key that is wrong; ``extra`` are more keys of
    the error.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        field: str | None = None,
        extra: Mapping[str, Json] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.status, self.title = CODES[code]
        self.detail = detail
        self.field = field
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})

    def body(self, request_id: str) -> dict[str, Json]:
        """The API-SIG body."""
        error: dict[str, Json] = {
            "code": self.code,
            "status": self.status,
            "title": self.title,
            "detail": self.detail,
            "request_id": request_id,
            "links": [],
        }
        if self.field is not None:
            error["field"] = self.field
        why = whys.of(self.detail)
        if why:
            error["why"] = why
        return {"errors": [{**error, **self.extra}]}


def not_found(what: str) -> ApiError:
    """The answer for what does not exist, and the same for what belongs to another project."""
    return ApiError("stella.request.not_found", f"{what} was not found.")
