"""Panel "Violations" of the dashboard "Admin"."""
