"""The forms: human units in, objectives in base units out."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _
from horizon import forms as horizon_forms
from horizon import messages

from stella_dashboard import access
from stella_dashboard.api import servers, slas, slos
from stella_dashboard.api.instances import Instance
from stella_dashboard.api.problems import Problem, Refused
from stella_dashboard.content.listing import HOST_PATTERN
from stella_dashboard.content.service_levels.offered import Offers
from stella_dashboard.words import names, quantities, refusals

_HELD = ("weight", "unit")
"""What an objective may have that the form does not show: it stays as it is."""

_DIRECTIONS = {"network": ("both", "tx", "rx"), "block": ("both", "read", "write")}
_KEYS: Mapping[str, tuple[str, ...]] = {
    metric: ("target",) if metric == "block_latency" else ("floor", "ceiling") for metric in quantities.UNIT_OF
}
LARGEST_PRIORITY = 100


class QuantityField(forms.CharField):
    """Text such as ``20 kpps``; cleaned it is a number in the metric's base unit, or None."""

    def __init__(self, metric: str, key: str, **options: Any) -> None:
        self.metric, self.key = metric, key
        placeholder = _("none") if key == "ceiling" else quantities.EXAMPLES[metric]
        label = _label(metric, key)
        attributes = {
            "aria-label": label,
            "placeholder": placeholder,
            "autocomplete": "off",
            "maxlength": 60,
            "spellcheck": "false",
        }
        super().__init__(
            required=False, max_length=60, widget=forms.TextInput(attrs=attributes), label=label, **options
        )

    def clean(self, value: Any) -> float | None:
        """Raises `ValidationError` with a sentence."""
        text = super().clean(value)
        if not text:
            return None
        try:
            return quantities.parse(self.metric, text)
        except ValueError as error:
            raise ValidationError(str(error)) from None


class SetForm(horizon_forms.SelfHandlingForm):
    """What is guaranteed to one instance. ``initial["found"]`` is the instance, or the problem, or None where it does not matter.

    ``initial["offers"]`` are the SLA classes that can be chosen with it.
    """

    generation = forms.IntegerField(required=False, widget=forms.HiddenInput)
    held = forms.JSONField(required=False, widget=forms.HiddenInput)
    sla = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        for metric, keys in _KEYS.items():
            for key in keys:
                self.fields[f"{metric}-{key}"] = QuantityField(metric, key)
        for kind, choices in _DIRECTIONS.items():
            self.fields[f"{kind}-direction"] = forms.ChoiceField(
                choices=[(word, names.DIRECTIONS[word]) for word in choices],
                required=False,
                label=_("Network: direction") if kind == "network" else _("Disk: direction"),
            )
        self.fields["priority"] = forms.IntegerField(
            required=False,
            min_value=0,
            max_value=LARGEST_PRIORITY,
            label=_("Priority"),
            help_text=_("0 to 100. Where a host cannot hold all that it guarantees, the higher is kept."),
        )
        found = self.initial.get("found")
        if isinstance(found, Instance):
            self.initial |= _filled_in(found)

    @property
    def rows(self) -> list[Mapping[str, Any]]:
        """Fields by metric, as they stand below one another; a target stands among what is never exceeded."""
        return [
            {
                "name": names.METRICS[metric],
                "fields": [self[f"{metric}-{key}"] if key in keys else None for key in ("floor", keys[-1])],
            }
            for metric, keys in _KEYS.items()
        ]

    @property
    def more(self) -> list[Any]:
        """What is for all objectives."""
        return [self[name] for name in ("network-direction", "block-direction", "priority")]

    def clean(self) -> dict[str, Any]:
        """Puts the objectives in base units under ``objectives``. Raises `ValidationError` where there is none."""
        cleaned: dict[str, Any] = super().clean()
        if self.errors:
            return cleaned
        held = cleaned.get("held") if isinstance(cleaned.get("held"), dict) else {}
        objectives: dict[str, dict[str, Any]] = {}
        for metric, keys in _KEYS.items():
            given = {key: value for key in keys if (value := cleaned.get(f"{metric}-{key}")) is not None}
            kept = held.get(metric) if isinstance(held.get(metric), dict) else {}
            given |= {key: value for key, value in kept.items() if key in _HELD and (given or key == "weight")}
            if not given:
                continue
            direction = cleaned.get(f"{metric.partition('_')[0]}-direction")
            if direction and metric not in ("cpu", "block_latency"):
                given["direction"] = direction
            objectives[metric] = {**given, "priority": cleaned.get("priority") or 0}
        if not objectives:
            raise ValidationError(_("Fill in at least one quantity."))
        cleaned["objectives"] = objectives
        return cleaned

    def show(self, problem: Problem) -> None:
        """Puts a problem next to the field that it is about."""
        self.add_error(field_of(self, problem), refusals.sentence(problem))

    def handle(self, request: HttpRequest, data: Mapping[str, Any]) -> bool:
        """Set it. False where the API refuses, with the reason in the form."""
        found = self.initial.get("found")
        if not isinstance(found, Instance):
            return False
        attached = self._attach(request, found, str(data.get("sla") or ""))
        if attached is None:
            return False
        problem = slos.put(request, found.uuid, data["objectives"], data.get("generation"))
        if problem is not None:
            self.show(problem)
            if attached:
                self.add_error(None, _("The SLA class is attached; the service level is not set yet."))
            return False
        messages.success(
            request, _("The service level of %(name)s is set. Its host takes it on now.") % {"name": found.title}
        )
        return True

    def _attach(self, request: HttpRequest, found: Instance, chosen: str) -> bool | None:
        """Attach the class that was chosen, whose limits then count for what is set. False: it counts already; None: it is refused."""
        offers = self.initial.get("offers") or Offers()
        if not any(one.attaches for one in offers.choices if one.sla == chosen):
            return False
        problem = slas.attach(request, chosen, "instance", found.uuid, replace=True)
        if problem is not None:
            self.add_error(None, refusals.sentence(problem))
        return None if problem is not None else True


def _label(metric: str, key: str) -> str:
    shown = {
        "floor": _("{metric}: guaranteed"),
        "ceiling": _("{metric}: never more than"),
        "target": _("{metric}: on average at most"),
    }
    return format_lazy(shown[key], metric=names.METRICS[metric])


def _filled_in(instance: Instance) -> dict[str, Any]:
    """The fields as they were last added; what the flavor sells is not to be added again."""
    if instance.slo is None:
        return {}
    filled: dict[str, Any] = {"generation": instance.slo.generation, "held": {}}
    for metric, promise in instance.slo.added.items():
        for key in _KEYS.get(metric, ()):
            if promise.get(key) is not None:
                filled[f"{metric}-{key}"] = quantities.show(metric, promise[key])
        if promise.get("direction"):
            filled[f"{metric.partition('_')[0]}-direction"] = promise["direction"]
        filled["priority"] = max(filled.get("priority", 0), promise.get("priority") or 0)
        filled["held"][metric] = {key: promise[key] for key in _HELD if promise.get(key) is not None}
    return filled


def field_of(form: SetForm, problem: Problem) -> str | None:
    """The visible field that a problem is about: the API's ``objectives.cpu.floor`` is ``cpu-floor``. None: the whole form."""
    if not isinstance(problem, Refused):
        return None
    name = problem.field.removeprefix("objectives.").replace(".", "-")
    return name if name in form.fields and not form.fields[name].widget.is_hidden else None


class MoveForm(horizon_forms.SelfHandlingForm):
    """Yes or no. Nova is asked; what was to be guaranteed is set afterwards, once the instance is there."""

    host = forms.RegexField(HOST_PATTERN, max_length=255, widget=forms.HiddenInput)

    def handle(self, request: HttpRequest, data: Mapping[str, Any]) -> bool:
        """Ask for it. False where Nova refuses, with a sentence in the form."""
        found = self.initial.get("found")
        if not isinstance(found, Instance) or not access.may_move(request, found.project_id):
            return False
        if not servers.move(request, found.uuid, data["host"]):
            self.add_error(None, _("Nova does not move it. The log of the dashboard tells why."))
            return False
        messages.success(
            request,
            _("Nova was asked to move %(name)s to %(host)s. Set the service level once it runs there.")
            % {"name": found.title, "host": data["host"]},
        )
        return True


class RemoveForm(horizon_forms.SelfHandlingForm):
    """Yes or no. It withdraws what was seen, not what others set meanwhile."""

    generation = forms.IntegerField(widget=forms.HiddenInput)

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        found = self.initial.get("found")
        if isinstance(found, Instance) and found.slo is not None:
            self.initial["generation"] = found.slo.generation

    def handle(self, request: HttpRequest, data: Mapping[str, Any]) -> bool:
        """Withdraw it. False where the API refuses, with the reason in the form."""
        found = self.initial.get("found")
        if not isinstance(found, Instance):
            return False
        problem = slos.withdraw(request, found.uuid, data["generation"])
        if problem is not None:
            self.add_error(None, refusals.sentence(problem))
            return False
        messages.success(request, _("%(name)s is best effort now.") % {"name": found.title})
        return True
