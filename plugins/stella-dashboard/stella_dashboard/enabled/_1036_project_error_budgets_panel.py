"""The project panel "Error Budgets"."""

PANEL = "error_budgets"
PANEL_DASHBOARD = "project"
PANEL_GROUP = "compute"
ADD_PANEL = "stella_dashboard.content.budgets.panel.ProjectBudgets"
