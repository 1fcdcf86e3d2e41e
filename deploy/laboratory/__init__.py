"""The laboratory's OpenStack: Keystone, Placement, Glance, Nova, Neutron and Horizon on this machine, with Stella in it.

`python -m laboratory up` brings it up, step by step; `down` removes it. See docs/openstack/laboratory.md.
"""
