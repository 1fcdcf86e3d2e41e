"""The panels: one of a project, one of all of them."""

import horizon
from django.utils.translation import gettext_lazy as _

from stella_dashboard import SERVICE_TYPE, access


class ProjectBudgets(horizon.Panel):
    """How long the project's objectives may still be missed."""

    name = _("Error Budgets")
    slug = "error_budgets"
    permissions = (f"openstack.services.{SERVICE_TYPE}",)
    policy_rules = ((SERVICE_TYPE, access.LIST_BUDGETS),)


class AllBudgets(horizon.Panel):
    """The same of all projects, for operators."""

    name = _("Error Budgets")
    slug = "stella_budgets"
    urls = "stella_dashboard.content.budgets.admin_urls"
    permissions = (f"openstack.services.{SERVICE_TYPE}",)
    policy_rules = ((SERVICE_TYPE, access.LIST_ALL_BUDGETS),)
