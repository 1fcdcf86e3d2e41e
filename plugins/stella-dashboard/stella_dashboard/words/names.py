"""Names of metrics, statuses, causes and states. A word of a later release of the API is shown as it came."""

from collections.abc import Mapping

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

METRICS = {
    "cpu": _("CPU"),
    "network_packets": _("Network packets"),
    "network_bytes": _("Network bandwidth"),
    "block_bytes": _("Disk throughput"),
    "block_operations": _("Disk operations"),
    "block_latency": _("Disk latency"),
}
DIRECTIONS = {
    "tx": _("sent"),
    "rx": _("received"),
    "read": _("read"),
    "write": _("written"),
    "both": _("both directions"),
}
STATUSES = {
    "MET": pgettext_lazy("status of an objective", "Met"),
    "NO_DEMAND": pgettext_lazy("status of an objective", "No demand"),
    "SELF_LIMITED": pgettext_lazy("status of an objective", "Limited by the instance"),
    "DEGRADED": pgettext_lazy("status of an objective", "Degraded"),
    "VIOLATED": pgettext_lazy("status of an objective", "Violated"),
    "UNKNOWN": pgettext_lazy("status of an objective", "Unknown"),
    "PENDING": pgettext_lazy("status of an objective", "Pending"),
}
STATUS_MEANINGS = {
    "MET": _("The instance asks for it and gets it."),
    "NO_DEMAND": _("The instance does not ask for it now. Such seconds do not count."),
    "SELF_LIMITED": _("The instance asks, but its own CPUs or queue are the limit. Such seconds do not count."),
    "DEGRADED": _("The host cannot hold all that it guarantees, and this has a lower priority."),
    "VIOLATED": _("The instance asks for it and does not get it."),
    "UNKNOWN": _("Nothing is known of it now."),
    "PENDING": _("Accepted, and not yet confirmed by the host."),
}
STATUS_CLASSES = {
    "MET": "met",
    "NO_DEMAND": "idle",
    "SELF_LIMITED": "idle",
    "DEGRADED": "missed",
    "VIOLATED": "missed",
    "UNKNOWN": "unknown",
    "PENDING": "pending",
}
CAUSES = {
    "cpu": _("too little CPU"),
    "network": _("the network"),
    "block": _("the disk"),
    "host": _("the host"),
    "capacity": _("the host's capacity"),
    "sensor": _("a sensor"),
}
SOURCES = {
    "flavor": _("Its flavor"),
    "neutron": _("The network's QoS policy"),
    "cinder": _("The volume's QoS"),
}
"""Whose limit from outside Stella it is."""
MODES = {
    "observe": pgettext_lazy("mode of a host", "Observe"),
    "enforce": pgettext_lazy("mode of a host", "Enforce"),
    "maintenance": pgettext_lazy("mode of a host", "Maintenance"),
}
KINDS = {
    "floor": _("Guaranteed"),
    "ceiling": _("Never more than"),
    "target": _("On average at most"),
    "weight": _("Weight"),
    "placement": _("Placement on CPUs"),
}
"""What an objective may ask for, and what a host must be able to do."""
SLO_STATES = {
    "pending": _("awaits its host"),
    "enforced": _("in force"),
    "refused": _("refused by the host"),
    "degraded": _("cannot be held"),
    "suspended": _("suspended"),
}
HEALTHS = {
    "troubled": _("In trouble"),
    "pending": _("Pending"),
    "guaranteed": _("Guaranteed"),
    "best_effort": _("Best effort"),
}
INSTANCE_STATES = {
    "running": _("running"),
    "paused": _("paused"),
    "shutoff": _("shut off"),
    "migrating": _("migrating"),
    "gone": _("gone"),
}


def of(names: Mapping[str, object], word: str | None) -> str:
    """The name of a word, in the user's language; empty for None."""
    return "" if word is None else str(names.get(word, word))
