"""The panel."""

import horizon
from django.utils.translation import gettext_lazy as _

from stella_dashboard import SERVICE_TYPE, access


class Overview(horizon.Panel):
    """Are the project's service levels kept?"""

    name = _("Service Levels Overview")
    slug = "service_levels_overview"
    permissions = (f"openstack.services.{SERVICE_TYPE}",)
    policy_rules = ((SERVICE_TYPE, access.LIST),)
