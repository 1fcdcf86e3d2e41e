"""The admin panel "Decisions" of the group "Service Levels"."""

PANEL = "stella_decisions"
PANEL_DASHBOARD = "admin"
PANEL_GROUP = "stella"
ADD_PANEL = "stella_dashboard.content.decisions.panel.Decisions"
