"""Files that are copied to `openstack_dashboard/local/enabled`."""
