"""Reasons as the API tells them: a sentence, and the codes and values that a page makes its own sentence of. Tenants see no hosts."""

from collections.abc import Mapping

from stella.api.identity import HOST_USER
from stella.model import reasons
from stella.model.wire import Json


def of(text: str, *, host: str | None = None, for_operator: bool = True) -> list[Json]:
    """``why``: the sentences of a reason, the outermost first; empty where none is known.

    ``host`` is the name of the host that it may be about; who is no operator is not told it, nor any other.
    """
    return [_show(one, None if for_operator else host or "") for one in reasons.read(text)]


def _show(one: reasons.Reason, hidden_host: str | None) -> dict[str, Json]:
    values: Mapping[str, str | float] = one.values
    if hidden_host is not None:
        values = {name: _without(value, hidden_host) for name, value in values.items() if name != "host"}
    return {"code": one.code, "values": {**values}}


def _without(value: str | float, host: str) -> str | float:
    return reasons.without_hosts(value, host) if isinstance(value, str) else value


def told(text: str, *, host: str | None, for_operator: bool) -> dict[str, Json]:
    """``reason`` and ``why`` for this caller."""
    shown = text if for_operator else reasons.without_hosts(text, host or "")
    return {"reason": shown, "why": of(text, host=host, for_operator=for_operator)}


def user(user_id: str, *, for_operator: bool) -> str:
    """Who it was, for this caller: a host is told by name to operators only."""
    return user_id if for_operator or not user_id.startswith(HOST_USER) else HOST_USER.rstrip(":")
