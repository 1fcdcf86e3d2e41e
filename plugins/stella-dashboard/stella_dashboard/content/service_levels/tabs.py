"""The tab on Horizon's own page of an instance."""

from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from horizon import tabs

from stella_dashboard import SERVICE_TYPE, access
from stella_dashboard.api import transport
from stella_dashboard.content.service_levels import detail_views


class ServiceLevelTab(tabs.Tab):
    """Asks Stella only once it is opened."""

    name = _("Service Level")
    slug = "service_level"
    template_name = "stella_dashboard/service_levels/_detail.html"
    preload = False
    policy_rules = ((SERVICE_TYPE, access.LIST),)

    def allowed(self, request: HttpRequest) -> bool:
        """Where there is a Stella."""
        return transport.is_offered(request)

    def get_context_data(self, request: HttpRequest, **kwargs: Any) -> dict[str, Any]:
        """As the page of its own has it."""
        return detail_views.context(request, self.tab_group.kwargs["instance"].id)
