"""The panel."""

import horizon
from django.utils.translation import gettext_lazy as _

from stella_dashboard import SERVICE_TYPE, access


class Exclusions(horizon.Panel):
    """What does not count towards SLAs, and what counts otherwise than it was measured."""

    name = _("Exclusions")
    slug = "stella_exclusions"
    permissions = (f"openstack.services.{SERVICE_TYPE}",)
    policy_rules = ((SERVICE_TYPE, access.LIST_ALL_EXCLUSIONS),)
