"""Panel "Stella Hosts" of the dashboard "Admin"."""
