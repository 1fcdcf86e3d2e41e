"""The project panel "Service Levels Overview"."""

PANEL = "service_levels_overview"
PANEL_DASHBOARD = "project"
PANEL_GROUP = "compute"
ADD_PANEL = "stella_dashboard.content.overview.panel.Overview"
