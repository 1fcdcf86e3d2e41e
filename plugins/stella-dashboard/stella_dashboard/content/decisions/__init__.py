"""Panel "Decisions" of the dashboard "Admin"."""
