"""The panel."""

import horizon
from django.utils.translation import gettext_lazy as _

from stella_dashboard import SERVICE_TYPE, access


class Hosts(horizon.Panel):
    """Hosts: what they can hold, what they hold, what they are to do."""

    name = _("Hosts")
    slug = "stella_hosts"
    permissions = (f"openstack.services.{SERVICE_TYPE}",)
    policy_rules = ((SERVICE_TYPE, access.LIST_HOSTS),)
