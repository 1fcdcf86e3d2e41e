"""Forms of operators: SLA classes, and what they are attached to. Shares, amounts of money and quantities as people write them."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, QueryDict
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from stella_dashboard.api import slas
from stella_dashboard.api.problems import Problem
from stella_dashboard.api.slas import Sla, Terms
from stella_dashboard.content import modal
from stella_dashboard.words import names, quantities
from stella_dashboard.words import slas as words

_LEAST_STEPS, _LARGEST_STEPS = 3, 20
_STEP = re.compile(r"terms\.credits\[(\d+)\]\.(below|credit)_ratio")
_NAME = r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,253}[A-Za-z0-9])?$"


class ParsedField(forms.CharField):
    """Text that is cleaned by ``parse``, whose ValueError is what is said; empty text is None."""

    def __init__(self, parse: Callable[[str], Any], *, placeholder: object = "", **options: Any) -> None:
        self._parse = parse
        widget = forms.TextInput(attrs={"placeholder": placeholder, "autocomplete": "off", "spellcheck": "false"})
        super().__init__(max_length=120, widget=widget, **options)

    def clean(self, value: Any) -> Any:
        """Raises `ValidationError` with a sentence."""
        text = super().clean(value)
        try:
            return self._parse(text) if text else None
        except ValueError as error:
            raise ValidationError(str(error)) from None


def _amount_field(metric: str, label: object) -> ParsedField:
    made = ParsedField(
        lambda text: words.parse_amount(metric, text),
        placeholder=quantities.EXAMPLES[metric],
        required=False,
        label=format_lazy(label, metric=names.METRICS[metric]),
    )
    made.widget.attrs["aria-label"] = made.label
    return made


class SlaForm(modal.Form):
    """A class; ``initial["found"]`` is the one that is changed. Of that only what was changed is sent."""

    name = forms.RegexField(
        _NAME,
        max_length=255,
        label=_("Name"),
        error_messages={"invalid": _("Letters, digits, dots, dashes and underscores are taken, such as gold.")},
    )
    time_zone = forms.CharField(
        max_length=64,
        initial="UTC",
        label=_("Time zone"),
        help_text=_("Its calendar months are the periods, such as Asia/Seoul. It cannot be changed later."),
    )
    target = ParsedField(
        words.parse_percent,
        placeholder="99.9 %",
        label=_("Attainment target"),
        help_text=_("Of the seconds with demand, so many are to be met."),
    )
    unknown = forms.ChoiceField(choices=tuple(words.UNKNOWN.items()), label=_("Seconds of which nothing is known"))
    price = ParsedField(
        words.parse_money,
        placeholder="49.90 EUR",
        required=False,
        label=_("Price of an instance in a month"),
        help_text=_("Without one a credit is a share alone."),
    )
    generation = forms.IntegerField(required=False, widget=forms.HiddenInput)
    api_fields = {"terms-attainment_target_ratio": "target", "terms-price": "price"}
    done = _("The SLA class is made. Attach it to what it is to count for.")

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        found = self.initial.get("found")
        sla = found if isinstance(found, Sla) else None
        self._steps = max(_LEAST_STEPS, len(sla.newest_terms.credits) + 1 if sla else 0, _steps_in(self.data))
        for number in range(self._steps):
            for key, label in (("below", _("Below this attainment")), ("credit", _("this share of the price is owed"))):
                made = ParsedField(words.parse_percent, required=False, label=label)
                made.widget.attrs["aria-label"] = format_lazy("{label} ({number})", label=label, number=number + 1)
                self.fields[f"{key}-{number}"] = made
        for metric in quantities.UNIT_OF:
            is_target = metric == "block_latency"
            allowed = forms.BooleanField(required=False, label=names.METRICS[metric])
            self.fields[f"{metric}-allowed"] = allowed
            least, most = _("{metric}: at least"), _("{metric}: at most")
            self.fields[f"{metric}-limit"] = _amount_field(metric, least if is_target else most)
            self.fields[f"{metric}-default"] = _amount_field(metric, _("{metric}: offered"))
        if sla is not None:
            del self.fields["time_zone"]
            self.done = _("The SLA class is changed. New terms count from the next month on.")
            self.initial |= _filled_in(sla)

    @property
    def head(self) -> list[Any]:
        """What stands first."""
        return [self[name] for name in ("name", "time_zone", "target", "unknown", "price") if name in self.fields]

    @property
    def steps(self) -> list[tuple[Any, Any]]:
        """The credit table."""
        return [(self[f"below-{number}"], self[f"credit-{number}"]) for number in range(self._steps)]

    @property
    def metrics(self) -> list[tuple[Any, Any, Any]]:
        """What an SLO may have."""
        return [
            (self[f"{metric}-allowed"], self[f"{metric}-limit"], self[f"{metric}-default"])
            for metric in quantities.UNIT_OF
        ]

    def clean(self) -> dict[str, Any]:
        """Puts the terms under ``terms`` and what is allowed and offered under ``offers``."""
        cleaned: dict[str, Any] = super().clean()
        if self.errors:
            return cleaned
        credits = []
        for number in range(self._steps):
            below, credit = cleaned.get(f"below-{number}"), cleaned.get(f"credit-{number}")
            if (below is None) != (credit is None):
                missing = f"{'below' if below is None else 'credit'}-{number}"
                self.add_error(missing, _("Both are needed."))
            elif below is not None and credit is not None:
                credits.append((below, credit))
        cleaned["terms"] = Terms(
            target=cleaned["target"], unknown=cleaned["unknown"], credits=tuple(credits), price=cleaned["price"]
        )
        cleaned["offers"] = {
            metric: {"limit": limit, "default": default}
            for metric in quantities.UNIT_OF
            for limit, default in [(self._amount(cleaned, metric, "limit"), self._amount(cleaned, metric, "default"))]
            if limit or default or cleaned.get(f"{metric}-allowed")
        }
        return cleaned

    def named(self, field: str) -> str:
        """``objectives.cpu.limit`` is ``cpu-limit``, ``terms.credits[0].below_ratio`` is ``below-0``."""
        step = _STEP.fullmatch(field)
        return f"{step[2]}-{step[1]}" if step else field.removeprefix("objectives.").replace(".", "-")

    def _amount(self, cleaned: Mapping[str, Any], metric: str, key: str) -> Any:
        """What was filled in; what was left as it is shown is what it was, of which four digits are shown."""
        name, found = f"{metric}-{key}", self.initial.get("found")
        if isinstance(found, Sla) and metric in found.offers and self.data.get(name) == self.initial.get(name):
            return found.offers[metric].get(key)
        return cleaned.get(name)

    def send(self, request: HttpRequest, data: Mapping[str, Any]) -> Problem | None:
        """Make it, or change what is not as it was."""
        found = self.initial.get("found")
        if not isinstance(found, Sla):
            return slas.create(
                request, name=data["name"], time_zone=data["time_zone"], terms=data["terms"], offers=data["offers"]
            )
        changed: dict[str, Any] = {"name": data["name"]} if data["name"] != found.name else {}
        if data["terms"] != found.newest_terms:
            changed["terms"] = data["terms"].told()
        if data["offers"] != _plain(found.offers):
            changed["objectives"] = data["offers"]
        return slas.change(request, found.uuid, data["generation"], **changed) if changed else None


def _steps_in(data: QueryDict | Mapping[str, Any]) -> int:
    sent = [key.partition("-")[2] for key in data if key.startswith("below-")]
    return min(_LARGEST_STEPS, max((int(number) + 1 for number in sent if number.isdecimal()), default=0))


def _plain(offers: slas.Offers) -> dict[str, dict[str, Any]]:
    """As the form makes them: a metric of a later release is not in it."""
    return {
        metric: {key: told.get(key) and dict(told[key] or {}) for key in ("limit", "default")}
        for metric, told in offers.items()
    }


def _filled_in(sla: Sla) -> dict[str, Any]:
    terms = sla.newest_terms
    filled: dict[str, Any] = {
        "name": sla.name,
        "generation": sla.generation,
        "target": words.percent(terms.target),
        "unknown": terms.unknown,
        "price": words.money(*terms.price) if terms.price else "",
    }
    for number, (below, credit) in enumerate(terms.credits):
        filled |= {f"below-{number}": words.percent(below), f"credit-{number}": words.percent(credit)}
    for metric, told in sla.offers.items():
        filled[f"{metric}-allowed"] = True
        filled |= {f"{metric}-{key}": words.amount(metric, told.get(key)) for key in ("limit", "default")}
    return filled


class DeleteForm(modal.Form):
    """Withdraw a class."""

    detach = forms.BooleanField(required=False, label=_("Detach it from all that it is attached to"))
    done = _("The SLA class is withdrawn. Its reports stay.")

    def send(self, request: HttpRequest, data: Mapping[str, Any]) -> Problem | None:
        """Withdraw it."""
        return slas.withdraw(request, self.initial["found"].uuid, detach=data["detach"])


class AttachForm(modal.Form):
    """Attach a class to something."""

    scope = forms.ChoiceField(
        choices=tuple((scope, words.SCOPES[scope]) for scope in slas.SCOPES), label=_("What it is attached to")
    )
    target = forms.CharField(
        max_length=255,
        label=_("Which one"),
        help_text=_(
            "ID of the instance, name of the flavor, or ID of the project. The most specific counts: instance, flavor, project."
        ),
    )
    replace = forms.BooleanField(required=False, label=_("In the place of the class that is attached to it now"))
    done = _("The SLA class is attached. It counts from this minute on.")

    def send(self, request: HttpRequest, data: Mapping[str, Any]) -> Problem | None:
        """Attach it."""
        sla, target = self.initial["found"], data["target"].strip()
        return slas.attach(request, sla.uuid, data["scope"], target, replace=data["replace"])


class DetachForm(modal.Form):
    """Detach a class; ``initial["attachment"]`` is the number."""

    done = _("The SLA class is detached. What counted until now still does.")

    def send(self, request: HttpRequest, data: Mapping[str, Any]) -> Problem | None:
        """Detach it."""
        return slas.detach(request, self.initial["found"].uuid, self.initial["attachment"])
