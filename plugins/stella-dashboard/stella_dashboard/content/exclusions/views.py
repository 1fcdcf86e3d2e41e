"""Lists of exclusions and corrections, and the forms in which operators make and withdraw them."""

from collections.abc import Mapping
from typing import Any

from django import forms as django_forms
from django.urls import reverse, reverse_lazy
from django.utils.translation import gettext_lazy as _

from stella_dashboard import access
from stella_dashboard.api import exclusions, slas
from stella_dashboard.api.exclusions import Correction, Exclusion
from stella_dashboard.api.lists import Items
from stella_dashboard.api.problems import PROBLEMS, Problem
from stella_dashboard.content import listing, modal
from stella_dashboard.content.exclusions import forms, rows

ADMIN, PROJECT = "horizon:admin:stella_exclusions", "horizon:project:sla_reports"


class WindowFilter(listing.FilterForm):
    """What exclusions are filtered for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields |= {"from": listing.time_field(_("From")), "to": listing.time_field(_("Until"))}


class AllWindowFilter(WindowFilter):
    """The same for operators."""

    project = listing.project_field()


class CorrectionFilter(listing.FilterForm):
    """What corrections are filtered for."""

    period = django_forms.RegexField(
        r"^20[0-9]{2}-(0[1-9]|1[0-2])$",
        required=False,
        label=_("Month"),
        error_messages={"invalid": _("Enter a month such as 2026-11.")},
    )
    uuid = listing.instance_field()


class AllCorrectionFilter(CorrectionFilter):
    """The same for operators."""

    project = listing.project_field()


class _List(listing.ListView):
    """``names`` lead to the two lists; ``rule`` and ``create`` to what operators may do."""

    namespace, names = ADMIN, ("index", "corrections")
    rule, create = "", ""
    is_for_all = True

    def scoped(self, query: Mapping[str, str]) -> Mapping[str, str]:
        """A tenant, and an operator who looks at a project, sees those that reach the project."""
        return query if self.is_for_all else {**query, "project": self.request.user.project_id}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Also the way to the other list, and what may be done."""
        may_set = self.is_for_all and access.may(self.request, self.rule)
        exclusions_url, corrections_url = (reverse(f"{self.namespace}:{name}") for name in self.names)
        return super().get_context_data(
            **{
                "may_update": may_set,
                "create_url": reverse(f"{ADMIN}:{self.create}") if may_set else "",
                "exclusions_url": exclusions_url,
                "corrections_url": corrections_url,
                **kwargs,
            }
        )


class AllExclusions(_List):
    """Those of all projects."""

    template_name = "stella_dashboard/exclusions/exclusions.html"
    page_title = _("Exclusions")
    form_class: type[listing.FilterForm] = AllWindowFilter
    empty_message = _("Nothing is excluded.")
    rule, create = access.SET_EXCLUSION, "create"
    columns = (
        listing.Column(heading=_("From"), sort_key="start", first="desc"),
        listing.Column(heading=_("Until")),
        listing.Column(heading=_("What it is about")),
        listing.Column(heading=_("Kind")),
        listing.Column(heading=_("Reason")),
        listing.Column(heading=_("Author")),
    )

    def ask(self, *, query: Mapping[str, str], **place: Any) -> Items[Exclusion] | Problem:
        """The exclusions of this page."""
        return exclusions.exclusions(self.request, query=self.scoped(query), **place)

    def row(self, item: Exclusion) -> Mapping[str, Any]:
        """An exclusion."""
        return rows.exclusion(item)


class AllCorrections(_List):
    """Those of all projects."""

    template_name = "stella_dashboard/exclusions/corrections.html"
    page_title = _("Corrections")
    form_class: type[listing.FilterForm] = AllCorrectionFilter
    empty_message = _("No report is corrected.")
    rule, create = access.SET_CORRECTION, "correct"
    columns = (
        listing.Column(heading=_("Month")),
        listing.Column(heading=_("Instance")),
        listing.Column(heading=_("Objective")),
        listing.Column(heading=_("Correction")),
        listing.Column(heading=_("Reason")),
        listing.Column(heading=_("Author")),
    )

    def ask(self, *, query: Mapping[str, str], **place: Any) -> Items[Correction] | Problem:
        """The corrections of this page."""
        return exclusions.corrections(self.request, query=self.scoped(query), **place)

    def row(self, item: Correction) -> Mapping[str, Any]:
        """A correction."""
        return rows.correction(item)


class ProjectExclusions(AllExclusions):
    """Those that reach the user's project."""

    form_class = WindowFilter
    namespace, names, is_for_all = PROJECT, ("exclusions", "corrections"), False


class ProjectCorrections(AllCorrections):
    """Those of the user's project."""

    form_class = CorrectionFilter
    namespace, names, is_for_all = PROJECT, ("exclusions", "corrections"), False


class ExcludeView(modal.FormView):
    """Exclude a window."""

    rule = access.SET_EXCLUSION
    form_class = forms.ExclusionForm
    modal_id = "stella_exclusion_modal"
    form_id = "stella_exclusion_form"
    page_title = modal_header = _("Create Exclusion")
    submit_label = _("Exclude")
    success_url = reverse_lazy(f"{ADMIN}:index")

    def lead(self, found: Any) -> modal.Text:
        """What it does."""
        return _(
            "The window counts towards no SLA. It begins at most 7 days ago and lasts at most 31 days; "
            "for what was longer ago correct the report."
        )


class CorrectView(modal.FormView):
    """Correct a report."""

    rule = access.SET_CORRECTION
    form_class = forms.CorrectionForm
    modal_id = "stella_correction_modal"
    form_id = "stella_correction_form"
    page_title = modal_header = _("Create Correction")
    submit_label = _("Correct")
    success_url = reverse_lazy(f"{ADMIN}:corrections")

    def find(self) -> list[slas.Sla] | Problem:
        """The classes."""
        found = slas.all_in_use(self.request)
        return found if isinstance(found, PROBLEMS) else list(found)

    def lead(self, found: Any) -> modal.Text:
        """What it does."""
        return _("So many seconds of one status count as another in the report of that month, no more than there are.")


class WithdrawExclusionView(modal.FormView):
    """Let a window count again."""

    rule = access.SET_EXCLUSION
    form_class: type[modal.Form] = forms.WithdrawExclusionForm
    modal_id = "stella_withdraw_modal"
    form_id = "stella_withdraw_form"
    page_title = modal_header = _("Withdraw Exclusion")
    submit_label = _("Withdraw")
    success_url = reverse_lazy(f"{ADMIN}:index")

    def lead(self, found: Any) -> modal.Text:
        """What becomes of it."""
        return _("It counts no more, and stays in lists and reports with both reasons and both authors.")

    def get_initial(self) -> dict[str, Any]:
        """Also which one."""
        return {**super().get_initial(), "number": self.kwargs["number"]}


class WithdrawCorrectionView(WithdrawExclusionView):
    """Let seconds count as they were measured."""

    rule = access.SET_CORRECTION
    form_class = forms.WithdrawCorrectionForm
    page_title = modal_header = _("Withdraw Correction")
    success_url = reverse_lazy(f"{ADMIN}:corrections")
