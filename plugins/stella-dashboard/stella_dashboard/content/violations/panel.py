"""The panel."""

import horizon
from django.utils.translation import gettext_lazy as _

from stella_dashboard import SERVICE_TYPE, access


class Violations(horizon.Panel):
    """What was guaranteed and not given, by which cause and which offender."""

    name = _("Violations")
    slug = "stella_violations"
    permissions = (f"openstack.services.{SERVICE_TYPE}",)
    policy_rules = ((SERVICE_TYPE, access.LIST_ALL_VIOLATIONS),)
