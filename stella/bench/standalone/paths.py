"""Where a stand-alone Stella keeps its files, and which hosts it has."""

import re
from dataclasses import dataclass
from pathlib import Path

from stella.bench.standalone.errors import WrongRequest

LARGEST_FLEET = 100
LABORATORY_HOST = "host1"
LABORATORY_GUESTS = ("vm1", "vm2", "vm3")
_SIMULATED = re.compile(r"sim:([0-9]{1,4})")
_LABORATORY = re.compile(r"lab:([0-9]{1,4})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """Which hosts: ``simulated`` of them, or the laboratory's one with the real ``guests`` when that is 0."""

    simulated: int = 0
    guests: tuple[str, ...] = LABORATORY_GUESTS

    @property
    def names(self) -> tuple[str, ...]:
        """Their names in the API."""
        return tuple(f"sim{n}" for n in range(1, self.simulated + 1)) or (LABORATORY_HOST,)

    def __str__(self) -> str:
        if self.simulated:
            return f"sim:{self.simulated}"
        return "lab" if self.guests == LABORATORY_GUESTS else f"lab:{len(self.guests)}"


def parse_hosts(text: str) -> Hosts:
    """``lab``, ``lab:1`` or ``sim:5``. Raises `WrongRequest`."""
    if text == "lab":
        return Hosts()
    found = _LABORATORY.fullmatch(text)
    if found is not None and 1 <= int(found[1]) <= len(LABORATORY_GUESTS):
        return Hosts(guests=LABORATORY_GUESTS[: int(found[1])])
    found = _SIMULATED.fullmatch(text)
    if found is None or not 1 <= int(found[1]) <= LARGEST_FLEET:
        raise WrongRequest(
            f"--hosts: {text[:40]!r} is neither lab, nor lab:N with N from 1 to {len(LABORATORY_GUESTS)}, "
            f"nor sim:N with N from 1 to {LARGEST_FLEET}"
        )
    return Hosts(simulated=int(found[1]))


@dataclass(frozen=True, slots=True)
class Paths:
    """The files, all below ``directory`` (absolute). Only ``env`` and ``home`` belong to the stand-alone Stella."""

    directory: Path

    @property
    def env(self) -> Path:
        """What a shell reads to use the client."""
        return self.directory / "env"

    @property
    def home(self) -> Path:
        """All other files."""
        return self.directory / "standalone"

    @property
    def state(self) -> Path:
        """What was started, for whoever stops it."""
        return self.home / "state.json"

    @property
    def processes(self) -> Path:
        """A record of each process."""
        return self.home / "processes"

    @property
    def logs(self) -> Path:
        """A log of each process."""
        return self.home / "logs"

    @property
    def laboratory(self) -> Path:
        """Guest image, disks and agent of the laboratory."""
        return self.home / "laboratory"

    @property
    def laboratory_note(self) -> Path:
        """Where the laboratory listens, once it does."""
        return self.home / "laboratory.json"
