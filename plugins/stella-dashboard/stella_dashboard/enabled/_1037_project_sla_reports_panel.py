"""The project panel "SLA Reports"."""

PANEL = "sla_reports"
PANEL_DASHBOARD = "project"
PANEL_GROUP = "compute"
ADD_PANEL = "stella_dashboard.content.slas.panel.Reports"
