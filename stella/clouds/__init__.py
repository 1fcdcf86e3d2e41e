"""What is asked of the cloud beside the hosts' own reports: stand-alone libvirt has none, OpenStack has Nova and Placement."""
