"""What outages of the cloud's services do to a floor: `python -m tests.openstack.outages` in the laboratory of `make openstack`."""
