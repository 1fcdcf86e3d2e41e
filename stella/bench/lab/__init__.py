"""The laboratory: real guests under a libvirtd of its own, load generators inside them, measured from outside the agent."""

from stella.bench.lab.model import Backend, CgroupInfo, Guest, LabError, Uplink, Workload, WorkloadError

__all__ = ["Backend", "CgroupInfo", "Guest", "LabError", "Uplink", "Workload", "WorkloadError"]
