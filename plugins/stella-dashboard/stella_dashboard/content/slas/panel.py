"""The panels: what a project was promised, and the classes as operators make them."""

import horizon
from django.utils.translation import gettext_lazy as _

from stella_dashboard import SERVICE_TYPE, access


class Reports(horizon.Panel):
    """SLA classes with their reports, and what did not count."""

    name = _("SLA Reports")
    slug = "sla_reports"
    permissions = (f"openstack.services.{SERVICE_TYPE}",)
    policy_rules = ((SERVICE_TYPE, access.LIST_SLAS), (SERVICE_TYPE, access.REPORT))


class Slas(horizon.Panel):
    """SLA classes: terms, what they are attached to, reports."""

    name = _("SLA Classes")
    slug = "stella_slas"
    urls = "stella_dashboard.content.slas.admin_urls"
    permissions = (f"openstack.services.{SERVICE_TYPE}",)
    policy_rules = ((SERVICE_TYPE, access.LIST_ATTACHMENTS),)
