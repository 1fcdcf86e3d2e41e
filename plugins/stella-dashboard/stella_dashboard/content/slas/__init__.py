"""Panels "SLA Reports" of the dashboard "Project" and "SLA Classes" of the dashboard "Admin"."""
