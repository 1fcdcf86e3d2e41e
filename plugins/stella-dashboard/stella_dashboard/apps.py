"""What is done once when Horizon starts: access policies are made known, actions are added to the Instances panel."""

import logging
from pathlib import Path

from django.apps import AppConfig
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from stella_dashboard import SERVICE_TYPE

LOG = logging.getLogger(__name__)
_DEFAULT_POLICIES = Path(__file__).parent / "conf" / "default_policies" / "stella.yaml"


class StellaDashboard(AppConfig):
    """The plugin as a Django application."""

    name = "stella_dashboard"
    verbose_name = _("Service levels")

    def ready(self) -> None:
        """Runs before the first request. Whatever fails here leaves Horizon as it is without this plugin."""
        settings.POLICY_FILES.setdefault(SERVICE_TYPE, "stella_policy.yaml")
        settings.DEFAULT_POLICY_FILES.setdefault(SERVICE_TYPE, str(_DEFAULT_POLICIES))
        try:
            from stella_dashboard.content.service_levels import instance_actions  # noqa: PLC0415 - needs the registry

            instance_actions.add()
        except Exception:  # Horizon's own tables may have another shape in another release
            LOG.exception("Stella's actions cannot be added to the Instances panel")
