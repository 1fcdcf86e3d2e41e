"""Modal forms of operators: opened only by those whom the policies allow what they do, and about something that is asked for first."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django import forms as django_forms
from django.http import HttpRequest
from django.utils.functional import Promise, cached_property
from horizon import forms, messages

from stella_dashboard import access
from stella_dashboard.api.problems import PROBLEMS, Problem, Refused
from stella_dashboard.words import refusals

Text = str | Promise


class Form(forms.SelfHandlingForm):
    """``initial["found"]`` is what it is about, or the problem that is in its way.

    A refusal stands beside the field that the API names, where the form has it: ``api_fields`` are its names for those of the API.
    """

    done: Text = ""
    api_fields: Mapping[str, str] = {}

    def send(self, request: HttpRequest, data: Mapping[str, Any]) -> Problem | None:
        """Ask the API."""
        raise NotImplementedError

    def sentence(self, problem: Problem) -> str:
        """What is said of a refusal."""
        return refusals.sentence(problem)

    def named(self, field: str) -> str:
        """The form's name of a field that the API names."""
        return field

    def handle(self, request: HttpRequest, data: Mapping[str, Any]) -> bool:
        """Do it. False where the API refuses, with the reason in the form."""
        if isinstance(self.initial.get("found"), PROBLEMS):
            return False
        problem = self.send(request, data)
        if problem is not None:
            self.add_error(self._field_of(problem), self.sentence(problem))
            return False
        messages.success(request, self.done)
        return True

    def _field_of(self, problem: Problem) -> str | None:
        named = self.named(problem.field) if isinstance(problem, Refused) else ""
        name = next((own for start, own in self.api_fields.items() if named.startswith(start)), named)
        return name if name in self.fields and not self.fields[name].widget.is_hidden else None


class FormView(forms.ModalFormView):
    """``rule`` must be allowed, else nothing is asked of the API; `find` is what the form is about."""

    rule = ""
    template_name = "stella_dashboard/fields.html"

    def find(self) -> Any | Problem:
        """What it is about; None: nothing is needed."""
        return None

    def lead(self, found: Any) -> Text:
        """A sentence above the fields."""
        return ""

    @cached_property
    def found(self) -> Any | Problem:
        """What `find` tells, unless it is forbidden."""
        if not access.may(self.request, self.rule):
            return Refused(status=HTTPStatus.FORBIDDEN, code="stella.request.forbidden", detail="")
        return self.find()

    @property
    def submit_url(self) -> str:
        """The same address."""
        return str(self.request.get_full_path())

    def get_cancel_url(self) -> str:
        """The same as after success."""
        return str(self.get_success_url())

    def get_initial(self) -> dict[str, Any]:
        """What it is about, or the problem."""
        return {**super().get_initial(), "found": self.found}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Also what went wrong."""
        context: dict[str, Any] = super().get_context_data(**kwargs)
        if isinstance(self.found, PROBLEMS):
            return {**context, "problem": refusals.sentence(self.found)}
        return {**context, "problem": None, "lead": self.lead(self.found), "found": self.found}


def reason_field(label: Text) -> django_forms.CharField:
    """Why; the API keeps it and shows it in every report."""
    return django_forms.CharField(
        min_length=3, max_length=1000, label=label, widget=django_forms.TextInput(attrs={"autocomplete": "off"})
    )
