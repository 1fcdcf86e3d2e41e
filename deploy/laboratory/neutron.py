"""Neutron's configuration: Open vSwitch on its userspace datapath, security groups, QoS."""

from laboratory import files
from laboratory.settings import SWITCH_PORT, Settings


def write_files(settings: Settings) -> None:
    """Its options, those of the switch's agent, and those of the DHCP agent."""
    directory = settings.etc / "neutron"
    files.write_ini(
        directory / "neutron.conf",
        {
            "DEFAULT": {
                "transport_url": settings.queue,
                "host": settings.controller.name,
                "core_plugin": "ml2",
                "service_plugins": "qos",
                "state_path": settings.data / "neutron",
                "api_paste_config": settings.etc / "neutron" / "api-paste.ini",
                "auth_strategy": "keystone",
                "notify_nova_on_port_status_changes": "true",
                "notify_nova_on_port_data_changes": "true",
                "rpc_workers": 1,
                "rpc_state_report_workers": 0,
                "dhcp_agents_per_network": 1,
            },
            "database": {"connection": settings.database("neutron")},
            "oslo_concurrency": {"lock_path": settings.data / "locks"},
            "nova": files.client(settings, "nova"),
            "placement": files.client(settings, "placement"),
            "agent": {"root_helper": "sudo", "root_helper_daemon": ""},
            "privsep": {"helper_command": settings.program("privsep-helper")},
            **files.token_checks(settings, "neutron"),
        },
    )
    switch = {"datapath_type": "netdev", "ovsdb_connection": f"tcp:127.0.0.1:{SWITCH_PORT}"}
    files.write_ini(
        directory / "neutron-ml2.conf",
        {
            "ml2": {
                "type_drivers": "local,flat,vlan",
                "tenant_network_types": "vlan",
                "mechanism_drivers": "openvswitch",
                "extension_drivers": "port_security,qos",
            },
            "ml2_type_flat": {"flat_networks": "physical"},
            "ml2_type_vlan": {"network_vlan_ranges": "physical:100:200"},
            # With a Linux bridge between tap and switch, limits on the tap act also on the userspace datapath.
            "securitygroup": {"enable_security_group": "true", "firewall_driver": "iptables_hybrid"},
            "ovs": {"bridge_mappings": "physical:br-ex", **switch},
            "agent": {"extensions": "qos"},
        },
    )
    files.write_ini(
        directory / "neutron-dhcp.conf",
        {
            "DEFAULT": {
                "interface_driver": "openvswitch",
                "dhcp_driver": "neutron.agent.linux.dhcp.Dnsmasq",
                "enable_isolated_metadata": "false",
                "dhcp_confs": "/run/neutron-dhcp",  # dnsmasq reads it as nobody, who may not enter the laboratory's files
            },
            "ovs": switch,
        },
    )
