"""The form in which an operator has Nova make a move that Stella suggested."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _

from stella_dashboard import access
from stella_dashboard.api import decisions, instances, servers
from stella_dashboard.api.instances import Instance
from stella_dashboard.api.problems import PROBLEMS, Problem, Refused
from stella_dashboard.content import modal
from stella_dashboard.content.decisions import rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """``instance`` to ``destination``; ``predicted``: violated seconds that should end in each hour, None where that is not told."""

    instance: Instance
    source: str
    destination: str
    predicted: float | None


def suggestion(request: HttpRequest, number: int) -> Suggestion | Problem:
    """What this decision suggests, if it can still be taken by this user. Two requests to the API."""
    decision = decisions.show(request, number)
    if isinstance(decision, PROBLEMS):
        return decision
    move = decision.move
    if move is None or not rows.can_be_taken(decision, datetime.now(UTC)):
        return _outdated()
    found = instances.show(request, decision.uuid or "")
    if isinstance(found, PROBLEMS):
        return found
    if not access.may_move(request, found.project_id):
        return Refused(status=HTTPStatus.FORBIDDEN, code="stella.request.forbidden", detail="")
    if found.host != move.source:
        return _outdated()
    return Suggestion(
        instance=found, source=move.source or "", destination=move.destination or "", predicted=move.predicted
    )


def _outdated() -> Refused:
    sentence = _(
        "This suggestion is out of date: it was taken or is older than an hour, or the instance has left its host."
    )
    return Refused(status=HTTPStatus.CONFLICT, code="", detail=sentence)


class MoveForm(modal.Form):
    """Yes or no. ``initial["found"]`` is a `Suggestion`."""

    def send(self, request: HttpRequest, data: Mapping[str, Any]) -> Problem | None:
        """Ask Nova for it."""
        found: Suggestion = self.initial["found"]
        shown = {"name": found.instance.title, "host": found.destination}
        if not servers.move(request, found.instance.uuid, found.destination):
            sentence = _("Nova does not move it. The log of the dashboard tells why.")
            return Refused(status=HTTPStatus.CONFLICT, code="", detail=sentence)
        self.done = (
            _("Nova was asked to move %(name)s to %(host)s. What it helped is shown here some minutes later.") % shown
        )
        return None
