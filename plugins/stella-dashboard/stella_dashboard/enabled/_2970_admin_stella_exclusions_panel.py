"""The admin panel "Exclusions" of the group "Service Levels"."""

PANEL = "stella_exclusions"
PANEL_DASHBOARD = "admin"
PANEL_GROUP = "stella"
ADD_PANEL = "stella_dashboard.content.exclusions.panel.Exclusions"
