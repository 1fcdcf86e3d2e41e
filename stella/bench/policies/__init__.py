"""The policies that the bench compares. `make_policy` knows them by name."""

from pathlib import Path

from stella.bench.policies.base import LabPort, NonePolicy, Policy
from stella.bench.policies.gos import GosPolicy
from stella.bench.policies.static import StaticPolicy
from stella.bench.policies.stella import StellaPolicy

NAMES = ("none", "static", "gos", "stella", "stella-observe")


def make_policy(name: str, directory: Path) -> Policy:
    """A fresh policy for one run. ``directory`` is where it may keep files. Raises `KeyError` for an unknown name."""
    match name:
        case "none":
            return NonePolicy()
        case "static":
            return StaticPolicy()
        case "gos":
            return GosPolicy()
        case "stella":
            return StellaPolicy(directory, mode="enforce")
        case "stella-observe":
            return StellaPolicy(directory, mode="observe")
    raise KeyError(name)


__all__ = ["NAMES", "LabPort", "NonePolicy", "Policy", "make_policy"]
