"""The panel."""

import horizon
from django.utils.translation import gettext_lazy as _

from stella_dashboard import SERVICE_TYPE, access


class ServiceLevels(horizon.Panel):
    """What is guaranteed to the project's instances, and whether it is kept."""

    name = _("Service Levels")
    slug = "service_levels"
    permissions = (f"openstack.services.{SERVICE_TYPE}",)
    policy_rules = ((SERVICE_TYPE, access.LIST),)
