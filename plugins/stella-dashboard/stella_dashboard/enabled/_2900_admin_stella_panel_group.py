"""The group of Stella's panels in the dashboard "Admin"."""

from django.utils.translation import gettext_lazy as _

PANEL_GROUP = "stella"
PANEL_GROUP_NAME = _("Service Levels")
PANEL_GROUP_DASHBOARD = "admin"
