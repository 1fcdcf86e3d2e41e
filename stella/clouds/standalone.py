"""No cloud but the hosts: what a host that reports does not report is gone."""

from collections.abc import Collection

from stella.clouds.port import Claim, Missing


class Standalone:
    """Hosts under libvirt, without OpenStack."""

    def gone(self, missing: Collection[Missing]) -> frozenset[str]:
        """All of them."""
        return frozenset(one.uuid for one in missing)


class NoLedger:
    """Nobody but the database counts what is taken on hosts."""

    def hold(self, claim: Claim) -> None:
        """Nothing."""
