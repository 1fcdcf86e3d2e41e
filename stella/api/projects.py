"""Whose things a caller may see."""

from stella.api.errors import ApiError, not_found
from stella.api.operation import Call
from stella.api.pages import text
from stella.api.policies import instance as policies
from stella.db import instances
from stella.db.database import Session
from stella.db.instances import Listed


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
    if found is None or not call.allows(policies.SHOW, found[0].project_id):
        raise not_found(f"Instance {call.path['uuid'][:64]}")
    call.require(rule, found[0].project_id)
    return found
