"""Panel "Overview" of the group "Stella" of the dashboard "Admin"."""
