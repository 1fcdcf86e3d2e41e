"""The demonstration on servers that Nova made: a stage and the policies for the OpenStack that `make openstack` brings up."""
