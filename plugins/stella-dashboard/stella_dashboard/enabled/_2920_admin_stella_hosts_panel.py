"""The admin panel "Hosts" of the group "Service Levels"."""

PANEL = "stella_hosts"
PANEL_DASHBOARD = "admin"
PANEL_GROUP = "stella"
ADD_PANEL = "stella_dashboard.content.hosts.panel.Hosts"
