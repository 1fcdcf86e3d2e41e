"""What the API refuses, in one line for a person."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from keystoneauth1 import exceptions as keystone
from openstack import exceptions
from osc_lib.exceptions import CommandError

from stellaclient import units
from stellaclient.sdk.proxy import NoCommonVersion

_HINTS = {
    "stella.request.unauthenticated": "set OS_TOKEN to a token that `stella-manage token create` printed, or sign in anew",
    "stella.server.database_unreachable": "nothing was changed",
    "stella.slo.generation_conflict": "it was changed by others after it was read: look at it with `openstack slo show` "
    "and run the command again",
    "stella.host.generation_conflict": "it was changed by others after it was read: run the command again",
    "stella.sla.generation_conflict": "it was changed by others after it was read: run the command again",
    "stella.slo.host_not_enforcing": "an operator sets it with `openstack slo host set --mode enforce HOST`",
}


_STATUSES = {
    401: "the token is not valid; sign in anew",
    403: "your roles do not allow this",
    404: "there is no such thing; is the endpoint the root of stella-api, such as http://127.0.0.1:8791?",
    429: "too many requests",
    502: "the load balancer reaches no stella-api",
    503: "the service is not available",
    504: "the load balancer waited for stella-api in vain",
}
"""For answers that are not the API's own, such as those of a load balancer."""


def show_largest(largest: Mapping[str, float]) -> str:
    """``14kpps``, or with the metrics' names where there are more than one. Rounded down, so that it can be asked for."""
    shown = {metric: units.show_metric(metric, units.round_down(value)) for metric, value in largest.items()}
    if len(shown) == 1:
        return next(iter(shown.values()))
    return ", ".join(f"{metric} {text}" for metric, text in shown.items())


def describe(error: Mapping[str, Any]) -> str:
    """One error of the API as a sentence, with the counter-offer where there is one."""
    text = str(error.get("detail") or error.get("title") or "the request was refused").rstrip(".")
    parts = [text.removeprefix("objectives.")]
    quota = error.get("quota")
    if isinstance(quota, Mapping):
        parts[0] = _over_quota(quota)
    offer = error.get("counter_offer")
    if isinstance(offer, Mapping):
        largest = offer.get("largest")
        fitting = {m: v for m, v in largest.items() if v > 0} if isinstance(largest, Mapping) else {}
        parts.append(f"largest that fits: {show_largest(fitting)}" if fitting else "nothing more fits on its host")
        if offer.get("hosts"):
            parts.append(f"as asked it fits on {', '.join(map(str, offer['hosts']))}")
        elif offer.get("elsewhere"):
            parts.append("as asked it fits on another host")
        if moves := offer.get("moves"):
            parts.append(f"to make room here, move {', '.join(_move(move) for move in moves)}")
    if hint := _HINTS.get(str(error.get("code"))):
        parts.append(hint)
    return "; ".join(parts)


def _move(move: Mapping[str, Any]) -> str:
    """``web-3 (50%) to compute-2``."""
    name = move["name"] or move["uuid"]
    return f"{name} ({units.show_metric('cpu', move['reserved_cpu_cores'])} reserved) to {move['to']}"


def _over_quota(quota: Mapping[str, Any]) -> str:
    """``the project's quota of cpu is 4cores, ...``."""
    resource = str(quota.get("resource"))
    metric = "cpu" if resource == "reserved_cpu_cores" else resource
    limit, used, asked = (units.show_metric(metric, quota.get(key)) for key in ("limit", "used", "asked"))
    largest = units.show_metric(metric, units.round_down(float(quota.get("largest") or 0.0)))
    return (
        f"the project's quota of {resource} is {limit}: its other SLOs hold {used} and this one asks for {asked}; "
        f"largest that the quota leaves: {largest}"
    )


def of_response(error: exceptions.HttpException) -> str:
    """What the API refuses, in one line."""
    response = error.response
    try:
        first = response.json()["errors"][0] if response is not None else None
    except (ValueError, LookupError, TypeError, AttributeError):
        first = None
    if isinstance(first, Mapping):
        return describe(first)
    status = int(error.status_code or 0)
    told = _STATUSES.get(status, " ".join(str(error.message).split())[:200])
    after = response.headers.get("Retry-After") if response is not None else None
    return f"the API answered {status}: {told}" + (
        f"; try again in {after[:20]} s" if after and after.isdigit() else ""
    )


@contextmanager
def one_line() -> Iterator[None]:
    """Raises `CommandError`, one line, for whatever the API or the way to it refuses."""
    try:
        yield
    except exceptions.HttpException as error:
        raise CommandError(of_response(error)) from None
    except keystone.EndpointNotFound:
        raise CommandError(
            "no endpoint: the service catalogue has no service of type stella; or set OS_AUTH_TYPE=admin_token, "
            "OS_ENDPOINT and OS_TOKEN"
        ) from None
    except keystone.ConnectFailure as error:
        raise CommandError(str(error).partition(": HTTP")[0][:300]) from None
    except (keystone.ClientException, exceptions.SDKException, NoCommonVersion) as error:
        raise CommandError(" ".join(str(error).split())[:300]) from None
