"""The panel."""

import horizon
from django.utils.translation import gettext_lazy as _

from stella_dashboard import SERVICE_TYPE, access


class Overview(horizon.Panel):
    """Head-room, the worst hosts, what lasts and what was refused."""

    name = _("Overview")
    slug = "stella_overview"
    permissions = (f"openstack.services.{SERVICE_TYPE}",)
    policy_rules = ((SERVICE_TYPE, access.LIST_HOSTS),)
