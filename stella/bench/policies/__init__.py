"""The policies that the bench compares. `make_policy` knows them by name."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from stella.bench.policies.base import NonePolicy, Policy
from stella.bench.policies.gos import GosPolicy
from stella.bench.policies.nova import NovaPolicy
from stella.bench.policies.static import StaticPolicy
from stella.bench.policies.stella import StellaPolicy

COMPARED = ("none", "nova", "static", "gos", "stella")
"""Every comparison runs all of them, for the same time."""
NAMES = (*COMPARED, "gos-110", "stella-observe")

WHAT_THEY_ARE = {
    "none": "nothing is done: libvirt's defaults",
    "nova": "what Nova and libvirt offer, set once from the SLOs: CPU shares and quotas, dedicated CPUs where they fit, caps",
    "static": "the best an expert would set once: weights from each load's own solo run, a CPU for each thread, quotas on neighbours",
    "gos": "the law of the original system: feedback alone, every 3 s, by CPU quotas",
    "gos-110": "the same, aiming at 110 % of each floor",
    "stella": "Stella's node agent",
    "stella-observe": "Stella's node agent, which judges and changes nothing",
}


def make_policy(name: str, directory: Path) -> Policy:
    """A fresh policy for one run. ``directory`` is where it may keep files. Raises `KeyError` for an unknown name."""
    makers: dict[str, Callable[[], Policy]] = {
        "none": NonePolicy,
        "nova": NovaPolicy,
        "static": StaticPolicy,
        "gos": GosPolicy,
        "gos-110": partial(GosPolicy, target_ratio=1.1),
        "stella": partial(StellaPolicy, directory, mode="enforce"),
        "stella-observe": partial(StellaPolicy, directory, mode="observe"),
    }
    return makers[name]()


__all__ = ["COMPARED", "NAMES", "WHAT_THEY_ARE", "NonePolicy", "Policy", "make_policy"]
