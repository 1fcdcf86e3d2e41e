"""Whether the agent names who took the CPU: a hog among three neighbours that are busy, but within their share.

With actuation off, so that the guaranteed guests are starved in most windows. Which windows those are is seen outside; only the name
is the agent's word. The neighbours prove something only while they are busy and take no more than they are entitled to: both is shown.
"""

import contextlib
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stella.bench.figures.honesty import OBSERVE, starved_windows, windows_said
from stella.bench.figures.row import AGENT, Bound, Facts, Row, row_of
from stella.bench.figures.session import Family, Part, Session, round_seconds, rounds, scenario_file
from stella.bench.lab.rig import Rig
from stella.bench.policies import Policy
from stella.bench.probes import PeriodicProbe
from stella.bench.results import Run
from stella.xgos.local_api.client import Client, RequestRefused, Unreachable

NAME = "offender"
HOG, NEIGHBOURS = "hog", ("receives", "reads", "writes")
_BUSY_CORES = 0.03


class Shares(PeriodicProbe):
    """What some instances use, in parts of what they are entitled to, by the agent's own socket."""

    name = "shares_of_entitlement"

    def __init__(self, instances: Sequence[str]) -> None:
        super().__init__(1.0)
        self._instances = instances
        self._socket = Path()
        self.samples: list[tuple[float, str, float]] = []

    def before(self, lab: Rig, policy: Policy) -> None:
        """Learn the socket, where the policy puts it."""
        self._socket = lab.home / "xgos.sock"

    def look(self) -> None:
        """Ask once."""
        with contextlib.suppress(Unreachable, RequestRefused):
            for told in Client(self._socket, timeout_seconds=2.0).instances():
                cpu = told.get("cpu") or {}
                if told["name"] in self._instances and cpu.get("allocation_cores"):
                    self.samples.append((time.time(), told["name"], cpu["usage_cores"] / cpu["allocation_cores"]))

    def facts(self, start: float, end: float) -> dict[str, float]:
        """The mean of each."""
        found: dict[str, list[float]] = {}
        for moment, name, share in self.samples:
            if start <= moment <= end:
                found.setdefault(name, []).append(share)
        return {name: statistics.fmean(shares) for name, shares in found.items()}


def _parts(repeat: int) -> list[Part]:
    return rounds(1, round_seconds(scenario_file("figures/offender"), policies=1, with_solo=False))


def _run(part: str, session: Session) -> Facts:
    scenario = scenario_file("figures/offender")

    def closer(run: Run) -> Mapping[str, Any]:
        first, last = run.start_unix_seconds, run.start_unix_seconds + scenario.duration_seconds
        used = {name: run.recording.instances[name].cpu.rate(first, last) for name in (HOG, *NEIGHBOURS)}
        return {"windows_said": windows_said(run), "used_cores": used}

    return session.round(
        scenario,
        [OBSERVE],
        title=f"offender {part}",
        with_solo=False,
        probes=lambda _: (Shares(NEIGHBOURS),),
        closer=closer,
    )


def named_ratio(facts: Facts, names: Sequence[str]) -> float | None:
    """The part of the starved windows (as seen outside) for which the agent names one of these. None without such a window. Pure."""
    windows = starved_windows(facts)
    return sum(w["offender"] in names for w in windows) / len(windows) if windows else None


def _judge(parts: Mapping[str, Facts]) -> list[Row]:
    return [
        row_of(
            parts,
            OBSERVE,
            lambda f: named_ratio(f, (HOG,)),
            name="offender.hog",
            title="a hog among three busy neighbours: starved windows for which the agent names the hog",
            bound=Bound(least=0.95),
            aim=Bound(least=0.99),
        ),
        row_of(
            parts,
            OBSERVE,
            lambda f: named_ratio(f, NEIGHBOURS),
            name="offender.neighbours",
            title="starved windows for which it names one of the neighbours",
            aim=Bound(most=0.01),
        ),
        row_of(
            parts,
            OBSERVE,
            lambda f: [f["used_cores"][name] for name in NEIGHBOURS],
            name="offender.busy",
            title="what each of these neighbours uses",
            bound=Bound(least=_BUSY_CORES),
            kind="cores",
        ),
        row_of(
            parts,
            OBSERVE,
            lambda f: [f["shares_of_entitlement"].get(name) for name in NEIGHBOURS],
            name="offender.entitled",
            title="the same in parts of what it had beside the feedback of the starved ones, mean",
            aim=Bound(most=1.0),
            source=AGENT,
        ),
    ]


FAMILY = Family(name=NAME, title="who took the CPU, with actuation off", parts=_parts, run=_run, judge=_judge)
