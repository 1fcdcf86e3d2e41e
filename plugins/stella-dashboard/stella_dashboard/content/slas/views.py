"""Lists and pages of SLA classes."""

from collections.abc import Mapping
from typing import Any

from django.urls import reverse, reverse_lazy
from django.utils.text import format_lazy
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _
from horizon import views

from stella_dashboard import access
from stella_dashboard.api import slas
from stella_dashboard.api.lists import Items
from stella_dashboard.api.problems import PROBLEMS, Problem, Refused
from stella_dashboard.api.slas import Sla
from stella_dashboard.content import listing, modal
from stella_dashboard.content.slas import forms, rows
from stella_dashboard.words import refusals

_NOT_FOUND = 404


def sentence(problem: Problem) -> str:
    """A problem with one class as a sentence."""
    if isinstance(problem, Refused) and problem.status == _NOT_FOUND:
        return gettext("Stella does not know this SLA class, or it is withdrawn.")
    return refusals.sentence(problem)


class AllView(listing.ListView):
    """All classes that are in use, as operators see them."""

    template_name = "stella_dashboard/slas/index.html"
    page_title = _("SLA Classes")
    default_sort = "name"
    empty_message = _("There is no SLA class.")
    namespace = rows.ADMIN
    columns = (
        listing.Column(heading=_("Name"), sort_key="name"),
        listing.Column(heading=_("Attainment target"), is_number=True),
        listing.Column(heading=_("Credits")),
        listing.Column(heading=_("Price"), is_number=True),
        listing.Column(heading=_("Time zone")),
        listing.Column(heading=_("What an SLO may have")),
        listing.Column(heading=_("Report")),
    )

    def ask(self, *, query: Mapping[str, str], **place: Any) -> Items[Sla] | Problem:
        """The classes of this page."""
        return slas.page(self.request, query=query, **place)

    def row(self, item: Sla) -> Mapping[str, Any]:
        """A class."""
        return rows.show(item, self.namespace)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Also what may be done."""
        may_set = access.may(self.request, access.SET_SLA)
        return super().get_context_data(
            **{"may_update": may_set, "create_url": reverse(f"{rows.ADMIN}:create")} | kwargs
        )


class ProjectView(AllView):
    """The same for tenants: each with its report, and where what did not count is told."""

    template_name = "stella_dashboard/slas/project.html"
    page_title = _("SLA Reports")
    namespace = rows.PROJECT

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Nothing is to be changed here."""
        return super().get_context_data(may_update=False, **kwargs)


class DetailView(views.HorizonTemplateView):
    """One class, and what it is attached to. Two requests to the API."""

    template_name = "stella_dashboard/slas/detail.html"
    page_title = _("SLA class {{ sla.name|default:sla_id }}")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """All of it."""
        sla_id = str(self.kwargs["sla_id"])
        found = slas.show(self.request, sla_id)
        if isinstance(found, PROBLEMS):
            return super().get_context_data(**{**kwargs, "sla_id": sla_id, "sla": None, "problem": sentence(found)})
        attached = slas.attachments(self.request, sla_id)
        is_problem = isinstance(attached, PROBLEMS)
        in_use = found.withdrawn_at is None
        return super().get_context_data(
            **{**kwargs, "sla_id": sla_id},
            sla=rows.show(found, rows.ADMIN),
            next_terms=rows.terms(found.next_terms) if found.next_terms else None,
            problem=sentence(attached) if is_problem else None,
            attachments=[] if is_problem else [rows.attachment(found, one, self.request.user.id) for one in attached],
            may_set=in_use and access.may(self.request, access.SET_SLA),
            may_attach=in_use and access.may(self.request, access.ATTACH_SLA),
        )


class _OfClass(modal.FormView):
    """A form about the class in the address."""

    rule = access.SET_SLA

    @property
    def sla_id(self) -> str:
        """Its uuid."""
        return str(self.kwargs["sla_id"])

    def find(self) -> Sla | Problem:
        """The class as it is now."""
        return slas.show(self.request, self.sla_id)

    def get_success_url(self) -> str:
        """Its page."""
        return reverse(f"{rows.ADMIN}:detail", args=[self.sla_id])


class CreateView(modal.FormView):
    """Make a class."""

    rule = access.SET_SLA
    form_class = forms.SlaForm
    template_name = "stella_dashboard/slas/edit.html"
    modal_id = "stella_sla_modal"
    form_id = "stella_sla_form"
    page_title = modal_header = _("Create SLA Class")
    submit_label = _("Create")
    success_url = reverse_lazy(f"{rows.ADMIN}:index")


class ChangeView(_OfClass):
    """Change a class."""

    form_class = forms.SlaForm
    template_name = "stella_dashboard/slas/edit.html"
    modal_id = "stella_sla_modal"
    form_id = "stella_sla_form"
    page_title = modal_header = _("Change SLA Class")
    submit_label = _("Change")

    def lead(self, found: Sla) -> modal.Text:
        """When it counts."""
        return _(
            "New terms count from the next month on, at once only in a class that was never attached. "
            "The name and what an SLO may have change at once."
        )


class DeleteView(_OfClass):
    """Withdraw a class."""

    form_class = forms.DeleteForm
    modal_id = "stella_sla_delete_modal"
    form_id = "stella_sla_delete_form"
    page_title = modal_header = _("Delete SLA Class")
    submit_label = pgettext_lazy("an SLA class", "Delete")
    success_url = reverse_lazy(f"{rows.ADMIN}:index")

    def lead(self, found: Sla) -> modal.Text:
        """What becomes of it."""
        return format_lazy(
            _("{name} can be attached no more, and another class may have its name. Its reports stay."), name=found.name
        )

    def get_success_url(self) -> str:
        """The list."""
        return str(self.success_url)


class AttachView(_OfClass):
    """Attach a class."""

    rule = access.ATTACH_SLA
    form_class = forms.AttachForm
    modal_id = "stella_sla_attach_modal"
    form_id = "stella_sla_attach_form"
    page_title = modal_header = _("Attach SLA Class")
    submit_label = _("Attach")

    def lead(self, found: Sla) -> modal.Text:
        """What it means."""
        return format_lazy(_("{name} counts from this minute on. What counted until now still does."), name=found.name)


class DetachView(_OfClass):
    """Detach a class."""

    rule = access.ATTACH_SLA
    form_class = forms.DetachForm
    modal_id = "stella_sla_detach_modal"
    form_id = "stella_sla_detach_form"
    page_title = modal_header = _("Detach SLA Class")
    submit_label = _("Detach")

    def lead(self, found: Sla) -> modal.Text:
        """What it means."""
        return format_lazy(
            _("{name} counts for it until this minute. What counted until now still does."), name=found.name
        )

    def get_initial(self) -> dict[str, Any]:
        """Also which attachment."""
        return {**super().get_initial(), "attachment": self.kwargs["attachment_id"]}
