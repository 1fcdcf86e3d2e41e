"""What the engine asks of a cloud. Stand-alone the hosts' reports answer (`stella.clouds.standalone`); under OpenStack, Nova will."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """An instance that its host, which reports, has not reported since ``gone_at`` (Unix seconds)."""

    uuid: str
    host: str
    gone_at: float


class Unanswered(Exception):
    """The cloud cannot be asked at present; nothing may be concluded from that."""


class Cloud(Protocol):
    """A cloud."""

    def gone(self, missing: Collection[Missing]) -> frozenset[str]:
        """The uuids among these that do not exist any more, or not where they could run. Raises `Unanswered`."""
