"""kill -9 of the agent at random moments of the demonstration, with a CPU ceiling in it, so that there are restraints.

Just before each kill its journal is left intact, cut, garbled or removed, in turn. The agent stays dead for a while; then
``xgos release`` must restore every knob, and another agent is started.
"""

import contextlib
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from stella.bench.figures.knobs import Knobs
from stella.bench.figures.row import Bound, Facts, Figures
from stella.bench.figures.session import Family, Part, Session, floors_met, round_seconds, rounds, scenario_file
from stella.bench.lab.process import finish
from stella.bench.policies import Policy
from stella.bench.policies.stella import StellaPolicy
from stella.bench.results import Run
from stella.bench.scenario import Event, Instance, Load, Scenario
from stella.model.slo import parse_slo

SEED = 9
KILLS = 6
JOURNAL_STATES = ("intact", "cut", "garbled", "missing")
"""What is done to the journal before a kill, in turn."""
DEAD_SECONDS = 2.5
HOLDING_WINDOWS = 3
"""Floors hold again when they hold in this many windows in a row."""
_POLL_SECONDS = 0.03
_SLOT_SECONDS = 11.0
_RANDOM_SECONDS = 3.0  # of a slot
_RELEASE_SECONDS = 30.0
_FIGURES = Figures()
_CAPPED = Instance(
    name="capped",
    loads=(Load(kind="cpu", threads=1),),
    slo=parse_slo({"cpu": {"ceiling": "25%"}}),
)


def moments(seed: int = SEED) -> list[float]:
    """When the agent is killed, in seconds of the measured time. Pure."""
    chance = random.Random(seed)  # noqa: S311 (repeatable, not secret)
    return [round(4.0 + n * _SLOT_SECONDS + chance.uniform(0, _RANDOM_SECONDS), 2) for n in range(KILLS)]


def killing_scenario(demonstration: Scenario) -> Scenario:
    """The demonstration with a capped instance and the kills. Pure."""
    return replace(
        demonstration,
        name="killing",
        duration_seconds=math.ceil(4 + KILLS * _SLOT_SECONDS),
        instances=(*demonstration.instances, _CAPPED),
        events=tuple(Event(at_seconds=t, what="agent", action="kill") for t in moments()),
    )


def damage(journal: Path, state: str) -> None:
    """Bring the agent's journal into one of `JOURNAL_STATES`; one that is not there stays away."""
    with contextlib.suppress(FileNotFoundError):
        text = journal.read_bytes()
        match state:
            case "cut":
                journal.write_bytes(text[: len(text) // 2])
            case "garbled":
                journal.write_bytes(bytes(byte ^ 0x2A for byte in text))
            case "missing":
                journal.unlink()


class KillingPolicy(StellaPolicy):
    """Kills the agent at each ``kill`` event, watches its restraints while it is dead, releases, and starts it again."""

    def __init__(self, directory: Path, knobs: Knobs) -> None:
        super().__init__(directory, mode="enforce")
        self.kills: list[dict[str, Any]] = []
        self.released: int | None = None
        self._knobs = knobs

    def agent_event(self, action: str) -> None:
        """One kill. Called in the bench's main thread, so the next agent lives as long as the bench."""
        held = len(self._knobs.restraints())
        journal = JOURNAL_STATES[len(self.kills) % len(JOURNAL_STATES)]
        began, lifted = time.monotonic(), None
        assert self._lab is not None
        damage(self._lab.home / "xgos" / "journal", journal)
        self._kill()
        while time.monotonic() - began < DEAD_SECONDS:
            if self._knobs.restraints():
                lifted = None
            elif lifted is None:
                lifted = time.monotonic() - began
            time.sleep(_POLL_SECONDS)
        released = self._run_release()
        left = self._knobs.not_restored()
        super().agent_event("restart")
        self.kills.append(
            {
                "journal": journal,
                "restraints": held,
                "lifted_seconds": lifted,
                "released": released,
                "not_restored": left[:20],
                "restarted_unix_seconds": time.time(),
            }
        )

    def _kill(self) -> None:
        if self.agent_pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.agent_pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill it a last time, and release by command."""
        if self._lab is not None and self.agent_pid is not None:
            self.collect()
            self._kill()
            time.sleep(0.2)
            self.released = self._run_release()
        super().end()

    def _run_release(self) -> int | None:
        """Its exit status; None when it did not end in time."""
        assert self._lab is not None
        config = str(self._directory / "xgos.toml")
        process = self._lab.spawn([sys.executable, "-m", "stella.cmd.xgos", "release", "--config", config])
        try:
            return process.wait(_RELEASE_SECONDS)
        except subprocess.TimeoutExpired:
            finish(process)
            return None


def _parts(repeat: int) -> list[Part]:
    scenario = killing_scenario(scenario_file("demonstration"))
    dead = KILLS * DEAD_SECONDS / 2  # some kills begin late, for those before them take their time
    return rounds(1, round_seconds(scenario, policies=1, with_solo=False) + dead)


def _run(part: str, session: Session) -> Facts:
    made: list[KillingPolicy] = []
    knobs: list[Knobs] = []

    def make(name: str, directory: Path) -> Policy:
        knobs.append(Knobs())
        made.append(KillingPolicy(directory, knobs[-1]))
        return made[-1]

    def closer(run: Run) -> Mapping[str, Any]:
        kills = [
            {**kill, "restarted_seconds": kill["restarted_unix_seconds"] - run.start_unix_seconds}
            for kill in made[-1].kills
        ]
        return {"kills": kills, "released": made[-1].released, "floors_met": floors_met(run)}

    return session.round(
        killing_scenario(scenario_file("demonstration")),
        ["stella"],
        title=f"kill {part}",
        with_solo=False,
        make=make,
        probes=lambda _: (knobs[-1],),
        closer=closer,
    )


@_FIGURES.of(
    "kill.restraints",
    f"kill -9 of the agent, {KILLS} times: temporary restraints gone",
    Bound(most=2.0),
    kind="seconds",
    note="one value for each kill at which there was a restraint",
)
def lifted_seconds(facts: Facts) -> list[float | None]:
    """For each kill at which there were restraints, how long they stayed; None: longer than the agent was dead. Pure."""
    return [kill["lifted_seconds"] for kill in facts["kills"] if kill["restraints"]]


@_FIGURES.of("kill.floors", "all floors again after the agent's restart", Bound(most=5.0), kind="seconds")
def back_seconds(facts: Facts) -> list[float | None]:
    """For each kill, seconds from the restart until all floors hold (in three windows running); None: not before the next. Pure."""
    met, found = facts["floors_met"], []
    restarts = [kill["restarted_seconds"] for kill in facts["kills"]]
    for restart, until in zip(restarts, [*restarts[1:], float(len(met))], strict=True):
        windows = range(math.floor(restart), math.floor(until) - HOLDING_WINDOWS + 1)
        held = next((k for k in windows if all(met[k : k + HOLDING_WINDOWS])), None)
        found.append(None if held is None else round(max(0.0, held - restart), 2))
    return found


@_FIGURES.of(
    "kill.release",
    "knobs not restored bit for bit by `xgos release` after each kill, the journal intact, cut, garbled or missing",
    Bound(most=0),
    kind="count",
)
def not_restored_count(facts: Facts) -> float | None:
    """Knobs that `xgos release` did not restore, over all kills; None when it failed, or when there was nothing to restore. Pure."""
    if any(code != 0 for code in (facts["released"], *(kill["released"] for kill in facts["kills"]))):
        return None
    if not facts["knobs"]["changed"]:
        return None
    return float(len(facts["knobs"]["not_restored"]) + sum(len(kill["not_restored"]) for kill in facts["kills"]))


FAMILY = Family(name="kill", title="kill -9 of the agent", parts=_parts, run=_run, judge=_FIGURES)
