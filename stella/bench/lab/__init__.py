"""The laboratory: real guests under a libvirtd of its own, load generators inside them, measured from outside the agent."""

from stella.bench.lab.laboratory import Lab
from stella.bench.lab.leftovers import sweep
from stella.bench.lab.model import Backend, Guest, LabError, Uplink, Workload, WorkloadError
from stella.bench.lab.sampler import Recorder

__all__ = [
    "Backend",
    "Guest",
    "Lab",
    "LabError",
    "Recorder",
    "Uplink",
    "Workload",
    "WorkloadError",
    "sweep",
]
