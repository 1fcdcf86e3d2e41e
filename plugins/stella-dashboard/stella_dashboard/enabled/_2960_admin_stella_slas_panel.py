"""The admin panel "SLA Classes" of the group "Service Levels"."""

PANEL = "stella_slas"
PANEL_DASHBOARD = "admin"
PANEL_GROUP = "stella"
ADD_PANEL = "stella_dashboard.content.slas.panel.Slas"
