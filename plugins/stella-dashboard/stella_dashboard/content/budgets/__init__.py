"""Panels "Error Budgets" of the dashboards "Project" and "Admin"."""
