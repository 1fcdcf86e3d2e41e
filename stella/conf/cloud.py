"""``[cloud]``: whether there is an OpenStack around the hosts.

How to log in to it is in ``[openstack]``, which `stella.clouds.openstack.session` reads.
"""

from oslo_config import cfg

GROUP = "cloud"
STANDALONE, OPENSTACK = "standalone", "openstack"
_LARGEST = "Not set: what the host's CPU could carry. The smaller of the two is written."
OPTIONS = [
    cfg.StrOpt(
        "kind",
        default=STANDALONE,
        choices=[
            (STANDALONE, "Hosts under libvirt alone: an instance that its host does not report is gone."),
            (OPENSTACK, "Nova says which instances exist, and Placement keeps each host's inventory, see [openstack]."),
        ],
        help="What runs the instances. With `openstack` the section [openstack] says how to log in, as in other OpenStack services: "
        "auth_type, auth_url, username, password, project_name, region_name, valid_interfaces, cafile, timeout (10 s).",
    ),
    cfg.StrOpt(
        "nova_endpoint", help="The root of Nova's API, such as http://10.0.0.1:8774/v2.1, instead of the catalogue's."
    ),
    cfg.StrOpt("placement_endpoint", help="The root of Placement's API, instead of the catalogue's."),
    cfg.StrOpt(
        "neutron_endpoint",
        help="The root of Neutron's API, such as http://10.0.0.1:9696, instead of the catalogue's. Its QoS limits are read.",
    ),
    cfg.StrOpt(
        "cinder_endpoint",
        help="The root of Cinder's API, such as http://10.0.0.1:8776/v3, instead of the catalogue's. Its QoS limits are read.",
    ),
    cfg.FloatOpt(
        "largest_network_packets_per_second",
        min=0,
        help=f"Packets/s of each host's uplink that floors may take, written to Placement. {_LARGEST}",
    ),
    cfg.FloatOpt(
        "largest_network_bytes_per_second",
        min=0,
        help=f"Bytes/s of each host's uplink that floors may take, written to Placement. {_LARGEST}",
    ),
    cfg.FloatOpt(
        "largest_block_bytes_per_second",
        min=0,
        help=f"Bytes/s of each host's disks that floors may take, written to Placement. {_LARGEST}",
    ),
    cfg.FloatOpt(
        "largest_block_operations_per_second",
        min=0,
        help=f"Operations/s of each host's disks that floors may take, written to Placement. {_LARGEST}",
    ),
]
