"""The admin panel "Violations" of the group "Service Levels"."""

PANEL = "stella_violations"
PANEL_DASHBOARD = "admin"
PANEL_GROUP = "stella"
ADD_PANEL = "stella_dashboard.content.violations.panel.Violations"
