"""The admin panel "Overview" of the group "Service Levels"."""

PANEL = "stella_overview"
PANEL_DASHBOARD = "admin"
PANEL_GROUP = "stella"
ADD_PANEL = "stella_dashboard.content.operators.panel.Overview"
