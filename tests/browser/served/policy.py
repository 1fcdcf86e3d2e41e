"""A content security policy that is reported and not enforced: Horizon's own pages need inline scripts, Stella's part must not."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'report-sample'",
        "style-src 'self' 'report-sample'",
        "img-src 'self' data:",
        "object-src 'none'",
    )
)


class StrictPolicy:
    """A middleware of Django's."""

    def __init__(self, answer: Callable[[HttpRequest], HttpResponse]) -> None:
        self._answer = answer

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """The answer, with the policy."""
        response = self._answer(request)
        response["Content-Security-Policy-Report-Only"] = POLICY
        return response
