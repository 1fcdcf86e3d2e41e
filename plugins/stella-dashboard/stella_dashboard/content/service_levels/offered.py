"""SLA classes as templates of the form: each fills in what it offers; an operator's choice of another class also attaches it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.http import HttpRequest
from django.utils.translation import gettext as _

from stella_dashboard import access
from stella_dashboard.api import budgets, slas
from stella_dashboard.api.budgets import Shown
from stella_dashboard.api.instances import Instance
from stella_dashboard.api.problems import PROBLEMS
from stella_dashboard.api.slas import Sla
from stella_dashboard.words import names, quantities


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """``fields`` of the form get what the class offers; ``attaches``: it is attached to the instance when the form is sent."""

    sla: str
    label: str
    fields: Mapping[str, str] = field(default_factory=dict)
    attaches: bool = False

    @property
    def as_json(self) -> str:
        """The fields for the script."""
        return json.dumps(dict(self.fields))


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """What can be chosen; ``present`` says which class counts, ``limits`` the most that it allows."""

    choices: Sequence[Offered] = ()
    present: str = ""
    limits: str = ""


def read(request: HttpRequest, instance: Instance) -> Offers:
    """Two requests at most; nothing is offered where the API does not answer, for the form does without."""
    project = instance.project_id
    current = budgets.show(request, instance.uuid) if access.may(request, access.SHOW_BUDGET, project) else None
    if isinstance(current, PROBLEMS):
        return Offers()
    may_attach = access.may(request, access.ATTACH_SLA) and access.may(request, access.LIST_SLAS)
    found = slas.all_in_use(request) if may_attach else ()
    known = () if isinstance(found, PROBLEMS) else found
    choices = [_of_current(current)] if current and (may_attach or current.default_objectives) else []
    choices += [_of_other(one, instance) for one in known if current is None or one.uuid != current.sla]
    if current is None:
        return Offers(choices=choices, present=_("No SLA class counts for it."))
    return Offers(
        choices=choices,
        present=_("SLA class %(sla)s counts for it.") % {"sla": current.sla_name},
        limits=", ".join(_limit(metric, value) for metric, value in current.limits.items()),
    )


def _of_current(current: Shown) -> Offered:
    filled = {
        f"{metric}-{key}": _shown(metric, value)
        for metric, promise in current.default_objectives.items()
        for key, value in promise.items()
    }
    return Offered(
        sla=current.sla, label=_("%(sla)s: fill in what it offers") % {"sla": current.sla_name}, fields=filled
    )


def _of_other(sla: Sla, instance: Instance) -> Offered:
    """What grows with the disks is known to Stella, not here, until the class is attached: it is left out."""
    filled = {}
    for metric, offer in sla.offers.items():
        given = offer.get("default")
        value = (given.get("base") or 0.0) + (given.get("per_vcpu") or 0.0) * instance.vcpus if given else 0.0
        if value > 0:
            filled[f"{metric}-{'target' if metric == 'block_latency' else 'floor'}"] = _shown(metric, value)
    label = _("%(sla)s: attach it, and fill in what it offers") if filled else _("%(sla)s: attach it")
    return Offered(sla=sla.uuid, label=label % {"sla": sla.name}, fields=filled, attaches=True)


def _shown(metric: str, value: float) -> str:
    """In four digits, and not above what is allowed: rounded down, and a target of latency to the nearest."""
    return quantities.show(metric, value) if metric == "block_latency" else quantities.show_to_ask(metric, value)


def _limit(metric: str, value: float) -> str:
    most = _("at least %(quantity)s") if metric == "block_latency" else _("at most %(quantity)s")
    return f"{names.of(names.METRICS, metric)} {most % {'quantity': quantities.show(metric, value)}}"
