"""The answer to a form that is filled in and not sent yet: whether it fits, and what would."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from stella_dashboard import access
from stella_dashboard.api import slos
from stella_dashboard.api.problems import Refused
from stella_dashboard.api.slos import Fits
from stella_dashboard.content.service_levels.forms import SetForm, field_of
from stella_dashboard.words import names, quantities, refusals


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A button that fills in what would fit: ``field`` of the form gets ``value``."""

    label: str
    field: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A button that opens the form in which the instance is moved to a host where it would fit."""

    label: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``fits`` None: nothing can be said. ``errors`` are sentences by field of the form; those of no field are ``sentences``.

    ``is_unanswered``: the API did not answer; it is worth asking again.
    """

    fits: bool | None
    sentences: Sequence[str] = ()
    offers: Sequence[Offer] = ()
    moves: Sequence[Move] = ()
    is_unanswered: bool = False
    errors: Mapping[str, str] = field(default_factory=dict)


def of_form(request: HttpRequest, uuid: str, form: SetForm) -> Answer:
    """Ask the API, once the form is valid; nothing is changed."""
    if not form.is_valid():
        of_fields = {name: " ".join(found) for name, found in form.errors.items() if name != "__all__"}
        return Answer(fits=None, sentences=tuple(form.non_field_errors()), errors=of_fields)
    found = slos.check(request, uuid, form.cleaned_data["objectives"], form.cleaned_data.get("generation"))
    if isinstance(found, Fits):
        return Answer(fits=True, sentences=_fitting(form, found))
    sentence, about = refusals.sentence(found), field_of(form, found)
    if not isinstance(found, Refused):
        return Answer(fits=None, sentences=(sentence,), is_unanswered=True)
    offers, hosts = _offers(found), _hosts(found)
    if about is not None and not offers and not hosts:
        return Answer(fits=False, errors={about: sentence})
    return Answer(fits=False, sentences=(sentence,), offers=offers, moves=_moves(request, uuid, hosts))


def _fitting(form: SetForm, fits: Fits) -> tuple[str, ...]:
    sentences = [
        _("Fits. %(cpu)s of CPU are set aside for it.") % {"cpu": quantities.show("cpu", fits.reserved_cpu_cores)}
        if fits.reserved_cpu_cores > 0
        else _("Fits.")
    ]
    for metric, largest in fits.largest.items():
        more = largest - float(form.cleaned_data.get(f"{metric}-floor") or 0)
        if more > largest * 0.01:
            sentences.append(
                _("%(more)s more of %(metric)s would be free here.")
                % {"more": quantities.show_to_ask(metric, more), "metric": names.of(names.METRICS, metric)}
            )
    if fits.estimated:
        sentences.append(_("The CPU that its I/O costs is an estimate until the instance has run for a while."))
    return tuple(sentences)


def _offers(refused: Refused) -> tuple[Offer, ...]:
    largest = refused.counter_offer.get("largest") or refused.largest
    if refused.quota and refused.field.endswith(".floor"):
        largest = {refused.field.split(".")[1]: refused.quota.get("largest") or 0}
    offers = []
    for metric, value in largest.items():
        if value > 0 and metric in quantities.UNIT_OF:
            shown = quantities.show_to_ask(metric, value)
            label = _("Take %(quantity)s") if len(largest) == 1 else _("Take %(quantity)s of %(metric)s")
            named = {"quantity": shown, "metric": names.of(names.METRICS, metric)}
            offers.append(Offer(label=label % named, field=f"{metric}-floor", value=shown))
    return tuple(offers)


def _hosts(refused: Refused) -> Sequence[str]:
    """Where it would fit as it was asked for; the API tells it to those who may see hosts."""
    told = refused.counter_offer.get("hosts")
    return [str(host) for host in told] if isinstance(told, list) else []


def _moves(request: HttpRequest, uuid: str, hosts: Sequence[str]) -> tuple[Move, ...]:
    if not hosts or not access.may_move(request):
        return ()
    address = reverse("horizon:project:service_levels:move", args=[uuid])
    return tuple(
        Move(
            label=_("Move to host %(host)s") % {"host": host},
            address=f"{address}?{urlencode({'host': host, **_origin(request)})}",
        )
        for host in hosts
    )


def _origin(request: HttpRequest) -> dict[str, str]:
    """From where the form was opened, so that the next one leads back there too."""
    return {name: "" for name in ("instances", "detail") if name in request.GET}
