"""Simulated hosts: the real agent code behind its sensing and actuation ports, without root, QEMU or control groups."""
