"""The commands of `openstack slo`."""
