"""Forms of operators: exclude a window, correct a report, withdraw either. A reason is always needed."""

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from django import forms
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from stella_dashboard.api import exclusions
from stella_dashboard.api.problems import Problem, Refused
from stella_dashboard.content import listing, modal
from stella_dashboard.words import names, refusals
from stella_dashboard.words import slas as words


class ExclusionForm(modal.Form):
    """A window that does not count."""

    kind = forms.ChoiceField(choices=tuple(words.KINDS.items()), label=_("Kind"))
    scope = forms.ChoiceField(
        choices=tuple((scope, words.SCOPES[scope]) for scope in exclusions.SCOPES), label=_("What it is about")
    )
    target = forms.CharField(
        required=False,
        max_length=255,
        label=_("Which one"),
        help_text=_(
            "Name of the host, or ID of the project or of the instance. A window of a host takes out what that host counted."
        ),
    )
    start = listing.time_field(_("From"))
    until = listing.time_field(_("Until"))
    reason = modal.reason_field(_("Reason"))
    done = _("The window is excluded. Reports show it with its reason and your name.")

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        for name in ("start", "until"):
            self.fields[name].required = True

    def clean(self) -> dict[str, Any]:
        """What is about one thing names it."""
        cleaned: dict[str, Any] = super().clean()
        if (cleaned.get("scope") == "all") == bool(cleaned.get("target", "").strip()):
            wrong = _("All instances need no name.") if cleaned.get("target") else _("Say which one.")
            self.add_error("target", wrong)
        return cleaned

    def send(self, request: HttpRequest, data: Mapping[str, Any]) -> Problem | None:
        """Exclude it."""
        body = {name: data[name] for name in ("kind", "scope", "reason")}
        body |= {name: _minute(data[name]) for name in ("start", "until")}
        if data["scope"] != "all":
            body["target"] = data["target"].strip()
        return exclusions.exclude(request, body)


def _minute(at: datetime) -> str:
    return at.astimezone(UTC).replace(second=0, microsecond=0).isoformat().replace("+00:00", "Z")


class CorrectionForm(modal.Form):
    """Seconds that count otherwise; ``initial["found"]`` are the classes."""

    sla = forms.ChoiceField(label=_("SLA class"))
    period = forms.RegexField(
        r"^20[0-9]{2}-(0[1-9]|1[0-2])$",
        label=_("Month"),
        error_messages={"invalid": _("Enter a month such as 2026-11.")},
        widget=forms.TextInput(attrs={"placeholder": "2026-11"}),
    )
    uuid = listing.instance_field()
    metric = forms.ChoiceField(choices=tuple(names.METRICS.items()), label=_("Objective"))
    seconds = forms.IntegerField(min_value=1, max_value=31 * 86_400 + 7200, label=_("Seconds"))
    source = forms.ChoiceField(
        choices=tuple(words.COUNTED.items()), initial="violated", label=_("that were counted as")
    )
    target = forms.ChoiceField(choices=tuple(words.COUNTED.items()), initial="met", label=_("count as"))
    reason = modal.reason_field(_("Reason"))
    done = _("The report is corrected. It shows what was measured beside it, with your reason and name.")

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        self.fields["uuid"].required = True
        found = self.initial.get("found")
        if isinstance(found, list):
            self.fields["sla"].choices = [(one.uuid, one.name) for one in found]

    def clean(self) -> dict[str, Any]:
        """Nothing is corrected to what it is."""
        cleaned: dict[str, Any] = super().clean()
        if cleaned.get("source") and cleaned.get("source") == cleaned.get("target"):
            self.add_error("target", _("That is what they were counted as."))
        return cleaned

    def send(self, request: HttpRequest, data: Mapping[str, Any]) -> Problem | None:
        """Correct it."""
        kept = ("sla", "period", "metric", "seconds", "source", "target", "reason")
        return exclusions.correct(request, {**{name: data[name] for name in kept}, "uuid": str(data["uuid"])})


class _WithdrawForm(modal.Form):
    """``initial["number"]`` is what is withdrawn."""

    reason = modal.reason_field(_("Why it is withdrawn"))

    def sentence(self, problem: Problem) -> str:
        """A conflict has one reason here, or two."""
        if isinstance(problem, Refused) and problem.status == HTTPStatus.CONFLICT:
            return gettext(
                "It is withdrawn already, or is too old to be withdrawn. Close this form and look at the list again."
            )
        if isinstance(problem, Refused) and problem.status == HTTPStatus.NOT_FOUND:
            return gettext("Stella does not know it.")
        return refusals.sentence(problem)


class WithdrawExclusionForm(_WithdrawForm):
    """Its window counts again."""

    done = _("The exclusion is withdrawn: its window counts again.")

    def send(self, request: HttpRequest, data: Mapping[str, Any]) -> Problem | None:
        """Withdraw it."""
        return exclusions.withdraw_exclusion(request, self.initial["number"], data["reason"])


class WithdrawCorrectionForm(_WithdrawForm):
    """Its seconds count as they were measured."""

    done = _("The correction is withdrawn: the seconds count as they were measured.")

    def send(self, request: HttpRequest, data: Mapping[str, Any]) -> Problem | None:
        """Withdraw it."""
        return exclusions.withdraw_correction(request, self.initial["number"], data["reason"])
