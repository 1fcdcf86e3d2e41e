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
    "stella.slo.generation_conflict": "it was changed by others after it was read: look at it with `openstack slo show` "
    "and run the command again",
    "stella.host.generation_conflict": "it was changed by others after it was read: run the command again",
    "stella.slo.host_not_enforcing": "an operator sets it with `openstack slo host set --mode enforce HOST`",
}


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
    offer = error.get("counter_offer")
    if isinstance(offer, Mapping):
        largest = offer.get("largest")
        fitting = {m: v for m, v in largest.items() if v > 0} if isinstance(largest, Mapping) else {}
        parts.append(f"largest that fits: {show_largest(fitting)}" if fitting else "nothing more fits on its host")
        if offer.get("hosts"):
            parts.append(f"as asked it fits on {', '.join(map(str, offer['hosts']))}")
        elif offer.get("elsewhere"):
            parts.append("as asked it fits on another host")
    if hint := _HINTS.get(str(error.get("code"))):
        parts.append(hint)
    return "; ".join(parts)


def _of_response(error: exceptions.HttpException) -> str:
    response = error.response
    try:
        first = response.json()["errors"][0] if response is not None else None
    except (ValueError, LookupError, TypeError, AttributeError):
        first = None
    if isinstance(first, Mapping):
        return describe(first)
    return f"the API answered {error.status_code}: {' '.join(str(error.message).split())[:200]}"


@contextmanager
def one_line() -> Iterator[None]:
    """Raises `CommandError`, one line, for whatever the API or the way to it refuses."""
    try:
        yield
    except exceptions.HttpException as error:
        raise CommandError(_of_response(error)) from None
    except keystone.EndpointNotFound:
        raise CommandError(
            "no endpoint: the service catalogue has no service of type stella; or set OS_AUTH_TYPE=admin_token, "
            "OS_ENDPOINT and OS_TOKEN"
        ) from None
    except keystone.ConnectFailure as error:
        raise CommandError(str(error).partition(": HTTP")[0][:300]) from None
    except (keystone.ClientException, exceptions.SDKException, NoCommonVersion) as error:
        raise CommandError(" ".join(str(error).split())[:300]) from None
