"""The panel."""

import horizon
from django.utils.translation import gettext_lazy as _

from stella_dashboard import SERVICE_TYPE, access


class Decisions(horizon.Panel):
    """What was accepted, refused and changed, by whom and why."""

    name = _("Decisions")
    slug = "stella_decisions"
    permissions = (f"openstack.services.{SERVICE_TYPE}",)
    policy_rules = ((SERVICE_TYPE, access.LIST_ALL_DECISIONS),)
