"""`stella-bench figures`: runs what is not yet done, judges it, and writes figures.json and the page."""

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stella.bench.figures.families import chosen
from stella.bench.figures.markdown import page
from stella.bench.figures.row import FALLS_SHORT, INVALID, Facts, Row
from stella.bench.figures.session import Family, Part, Session, scenario_file
from stella.bench.figures.store import Store
from stella.bench.lab.model import LabError
from stella.bench.policies.base import PolicyError
from stella.bench.progress import Progress
from stella.bench.run import InvalidRun, provenance
from stella.bench.scenario import check_machine

MOST_SECONDS = 40 * 60
"""What all figures may take together, by the plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line asked for. ``document``: the page to write."""

    output: Path
    document: Path
    cache: Path
    only: str = ""
    repeat: int = 3
    fresh: bool = False


def plan(only: str, repeat: int) -> list[tuple[Family, list[Part], float]]:
    """The families with their rounds and how long they take, in seconds. Raises `UnknownFamily`."""
    found = [(family, family.parts(repeat)) for family in chosen(only)]
    return [(family, parts, sum(part.seconds for part in parts)) for family, parts in found]


def listing(only: str, repeat: int) -> str:
    """The plan for people. Raises `UnknownFamily`."""
    planned = plan(only, repeat)
    lines = [f"{f.name:<14} {len(parts):>3} rounds {s / 60:>5.1f} min  {f.title}" for f, parts, s in planned]
    return "\n".join([*lines, f"{'all':<14} {'':>10} {sum(s for _, _, s in planned) / 60:>5.1f} min"])


def run_figures(asked: Asked, progress: Progress) -> list[Row]:
    """Run, judge, write. Returns all rows of the chosen families.

    Raises `UnknownFamily`, `InvalidStore`, and `InvalidScenario` where the machine is too small.

    What was measured on another commit is measured again: a page is of one commit.
    """
    families = chosen(asked.only)
    check_machine(scenario_file("demonstration"), cores=os.cpu_count() or 1)
    store = Store(asked.output / "figures.json")
    here = provenance()
    if store.document.get("commit") != here["commit"] and store.document["families"]:
        progress.note(f"figures of commit {store.document.get('commit') or 'unknown'} are not kept")
        store.document["families"] = {}
    for family in families if asked.fresh else ():
        store.forget(family.name)
    session = Session(output=asked.output, cache=asked.cache, progress=progress)
    waiting = [(f, p) for f in families for p in f.parts(asked.repeat) if not store.done(f.name, p.name)]
    store.document |= {**here, "repeat": asked.repeat}
    progress.note(listing(asked.only, asked.repeat))
    progress.note(f"{len(waiting)} rounds to do, about {sum(p.seconds for _, p in waiting) / 60:.0f} minutes")
    rows: list[Row] = []
    for family in families:
        for part in [p for f, p in waiting if f is family]:
            _run_part(family, part, session, store)
            store.document["machine"] = {**store.document.get("machine", {}), **session.machine}
        found = family.judge(store.parts(family.name))
        store.document["finished"] = _now()
        store.keep_rows(family.name, found)
        progress.close()
        for row in found:
            print(row.line(), flush=True)
        rows += found
        write_page(asked, store)
    return rows


def write_page(asked: Asked, store: Store) -> None:
    """Write the page from what is there so far."""
    asked.document.parent.mkdir(parents=True, exist_ok=True)
    asked.document.write_text(page(store.document), encoding="utf-8")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _run_part(family: Family, part: Part, session: Session, store: Store) -> None:
    """One round. A guest that dies or does not boot is a result, not a fault of the machine: it is not tried again."""
    started, load, began = _now(), round(os.getloadavg()[0], 2), time.monotonic()
    try:
        facts: Facts = family.run(part.name, session)
    except (InvalidRun, PolicyError, LabError) as error:
        session.progress.note(f"{family.name} {part.name}: does not count: {error}")
        facts = {"invalid": str(error)}
    took = {"seconds": round(time.monotonic() - began, 1), "planned_seconds": part.seconds}
    store.keep(family.name, part.name, {"facts": facts, "started": started, "load_average": load, **took})


def exit_status(rows: list[Row]) -> int:
    """0 when nothing falls short; 1 when a row does; 3 when a row has no valid run."""
    statuses = {row.status for row in rows}
    return 1 if FALLS_SHORT in statuses else 3 if INVALID in statuses else 0
