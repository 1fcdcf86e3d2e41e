"""Panel "Exclusions" of the dashboard "Admin", and the same lists for tenants below "SLA Reports"."""
