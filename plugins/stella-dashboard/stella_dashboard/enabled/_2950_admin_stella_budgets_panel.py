"""The admin panel "Error Budgets" of the group "Service Levels"."""

PANEL = "stella_budgets"
PANEL_DASHBOARD = "admin"
PANEL_GROUP = "stella"
ADD_PANEL = "stella_dashboard.content.budgets.panel.AllBudgets"
