"""Whose things a caller may see."""

from stella.api.errors import ApiError, not_found
from stella.api.operation import Call
from stella.api.pages import text
from stella.api.policies import instance as policies
from stella.db import instances
from stella.db.database import Session
from stella.db.instances import Listed
from stella.db.models import Host, Instance, SloRow


def visible_project(call: Call, *, list_rule: str, all_rule: str) -> str | None:
    """The project whose things are listed; None: those of all. Raises `ApiError` (403) for one who may list nothing.

    Another project's name given by one who sees only the own lists nothing of it, as if it were empty.
    """
    asked = text(call, "project")
    if call.allows(all_rule):
        return asked
    call.require(list_rule)
    own = call.identity.project_id
    if own is None:
        raise ApiError("stella.request.forbidden", "Your token is not scoped to a project.")
    return own if asked in (None, own) else ""


def visible_instance(call: Call, session: Session, rule: str) -> Listed:
    """The instance in the path.

    Raises `ApiError`: 404 for what is not there or not the caller's, 403 for what its roles do not allow.
    """
    found = instances.find(session, call.path["uuid"].lower())
    _require(call, found[0] if found else None, rule)
    assert found is not None
    return found


def visible_placed(call: Call, session: Session, rule: str) -> tuple[Instance, Host, SloRow | None]:
    """The instance in the path with its host and its SLO. Raises `ApiError` as `visible_instance` does."""
    found = instances.find_placed(session, call.path["uuid"].lower())
    _require(call, found[0] if found else None, rule)
    assert found is not None
    return found


def _require(call: Call, instance: Instance | None, rule: str) -> None:
    if instance is None or not call.allows(policies.SHOW, instance.project_id):
        raise not_found(f"Instance {call.path['uuid'][:64]}")
    call.require(rule, instance.project_id)
