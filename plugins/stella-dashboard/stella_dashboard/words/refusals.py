"""What went wrong, as a sentence with what would help. The API tells in English; what it also tells in numbers is said anew."""

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from stella_dashboard.api.problems import NotOffered, Problem, Refused, Unreachable
from stella_dashboard.words import names, quantities, reasons

_SENTENCES = {
    "stella.request.unauthenticated": gettext_lazy("Stella does not accept your session. Sign in again."),
    "stella.request.forbidden": gettext_lazy("Your roles do not allow this."),
    "stella.request.not_found": gettext_lazy("Stella does not know this instance, or it has no service level."),
    "stella.request.conflict": gettext_lazy("Others changed the host at the same time. Try again."),
    "stella.slo.generation_conflict": gettext_lazy(
        "Someone else changed this service level meanwhile. Close this form and look at it again."
    ),
    "stella.host.generation_conflict": gettext_lazy(
        "Someone else changed this host meanwhile. Close this form and look at it again."
    ),
    "stella.host.reports": gettext_lazy(
        "The host reports, so it is not dead. Stop it before you say that it is fenced."
    ),
    "stella.sla.generation_conflict": gettext_lazy(
        "Someone else changed this SLA class meanwhile. Close this form and look at it again."
    ),
    "stella.slo.host_not_enforcing": gettext_lazy("The host of this instance does not enforce service levels now."),
    "stella.slo.host_not_reported": gettext_lazy("The host of this instance has not reported yet. Try again."),
    "stella.slo.instance_not_running": gettext_lazy("The instance is not on the host where it last ran."),
    "stella.slo.of_flavor": gettext_lazy(
        "What is guaranteed comes with the flavor of the instance. It ends when the instance is resized to another."
    ),
    "stella.server.placement_unreachable": gettext_lazy("Stella cannot reach Placement. Nothing was changed."),
    "stella.server.database_unreachable": gettext_lazy("Stella's database cannot be reached. Nothing was changed."),
    "stella.server.keystone_unreachable": gettext_lazy("Stella cannot reach Keystone. Nothing was changed."),
}

_TITLES = {
    "stella.request.not_json": gettext_lazy("Stella cannot read the request"),
    "stella.request.not_json_type": gettext_lazy("Stella cannot read the request"),
    "stella.request.invalid": gettext_lazy("Stella cannot take this as it is"),
    "stella.request.microversion_invalid": gettext_lazy("The dashboard and Stella do not fit together"),
    "stella.request.microversion_unsupported": gettext_lazy("The dashboard and Stella do not fit together"),
    "stella.request.method_not_allowed": gettext_lazy("The dashboard and Stella do not fit together"),
    "stella.request.length_required": gettext_lazy("Stella cannot read the request"),
    "stella.request.too_large": gettext_lazy("The request is too large"),
    "stella.request.uri_too_long": gettext_lazy("The request is too large"),
    "stella.request.headers_too_large": gettext_lazy("The request is too large"),
    "stella.slo.invalid": gettext_lazy("No instance can be guaranteed this"),
    "stella.slo.not_supported": gettext_lazy("The host of the instance cannot enforce this"),
    "stella.sla.invalid": gettext_lazy("The SLA class is not valid"),
    "stella.sla.not_allowed": gettext_lazy("The SLA class of the instance does not allow this"),
    "stella.slo.no_failover": gettext_lazy(
        "No other host could take it should its host be lost, as its SLA class promises"
    ),
    "stella.sla.attached": gettext_lazy("The SLA class, or another one, is attached"),
    "stella.sla.name_in_use": gettext_lazy("Another SLA class has this name"),
    "stella.report.clock_offset": gettext_lazy("The clock of the host is off"),
    "stella.server.response_invalid": gettext_lazy("Stella failed; its log has more"),
    "stella.server.failed": gettext_lazy("Stella failed; its log has more"),
}
"""Of codes that have many reasons: what they have in common."""
_OF_THEIR_OWN = ("stella.slo.does_not_fit", "stella.quota.exceeded", "stella.slo.above_limit")


def codes() -> frozenset[str]:
    """Those of the API's errors that can be said in any language."""
    return frozenset({*_SENTENCES, *_TITLES, *_OF_THEIR_OWN})


def sentence(problem: Problem) -> str:
    """The problem in the user's language; one sentence or two."""
    match problem:
        case Unreachable():
            return _(
                "Stella's API does not answer. What it guarantees goes on being held; it cannot be shown or changed now."
            )
        case NotOffered():
            return _("There is no Stella in this region.")
        case Refused(code="stella.slo.does_not_fit"):
            return _does_not_fit(problem)
        case Refused(code="stella.quota.exceeded"):
            return _over_quota(problem)
        case Refused(code="stella.slo.above_limit"):
            return _above_limit(problem)
    return str(_SENTENCES.get(problem.code) or _with_reason(problem))


def _with_reason(refused: Refused) -> str:
    if refused.reason.parts:
        why = reasons.show(refused.reason, with_field=False)
    else:
        why = refused.detail.removeprefix(f"{refused.field}: ").removeprefix("objectives.").removesuffix(".")
    title = _TITLES.get(refused.code)
    return f"{title}: {why}." if title else f"{why}."


def _does_not_fit(refused: Refused) -> str:
    largest = {metric: value for metric, value in (refused.counter_offer.get("largest") or {}).items() if value > 0}
    parts = []
    if largest:
        shown = ", ".join(
            f"{names.of(names.METRICS, metric)} {quantities.show_to_ask(metric, value)}"
            for metric, value in largest.items()
        )
        parts.append(
            _("This does not fit on the host of the instance. The most that fits there: %(largest)s.")
            % {"largest": shown}
        )
    else:
        parts.append(_("This does not fit on the host of the instance; to lower one quantity alone does not help."))
    if refused.reason.parts:
        parts.append(_("Reason: %(why)s.") % {"why": reasons.show(refused.reason)})
    if refused.counter_offer.get("elsewhere"):
        parts.append(_("It would fit on another host."))
    return " ".join(parts)


def _above_limit(refused: Refused) -> str:
    source = names.of(names.SOURCES, str(refused.limit.get("source")))
    shown = [quantities.show_to_ask(metric, float(value)) for metric, value in refused.largest.items()]
    return _("%(source)s limits this instance (%(name)s): at most %(largest)s can be reached.") % {
        "source": source,
        "name": refused.limit.get("name"),
        "largest": ", ".join(shown),
    }


def _over_quota(refused: Refused) -> str:
    quota = refused.quota
    resource = str(quota.get("resource"))
    if resource == "slos":
        return _("The project's quota allows %(limit)g instances with service levels, and has as many.") % {
            "limit": quota.get("limit") or 0
        }
    metric = "cpu" if resource == "reserved_cpu_cores" else resource
    return _(
        "The project's quota of %(name)s is %(limit)s, of which others hold %(used)s: at most %(largest)s can be had."
    ) % {
        "name": names.of(names.METRICS, metric),
        "limit": quantities.show(metric, quota.get("limit")),
        "used": quantities.show(metric, quota.get("used")),
        "largest": quantities.show_to_ask(metric, float(quota.get("largest") or 0)),
    }
