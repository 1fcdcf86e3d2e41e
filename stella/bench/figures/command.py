"""`stella-bench figures`: runs what is not yet done, judges it, and writes figures.json and the page."""

import os
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stella.bench.figures.families import chosen
from stella.bench.figures.markdown import page
from stella.bench.figures.row import FALLS_SHORT, INVALID, Row
from stella.bench.figures.session import Family, Part, Session
from stella.bench.figures.store import Store
from stella.bench.lab.model import LabError
from stella.bench.policies.base import PolicyError
from stella.bench.progress import Progress
from stella.bench.run import InvalidRun

ATTEMPTS = 3
"""A run that does not count is repeated up to two times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line asked for. ``document``: the page to write."""

    output: Path
    document: Path
    cache: Path
    only: str = ""
    repeat: int = 3
    fresh: bool = False


def listing(only: str, repeat: int) -> str:
    """The families with their runs and how long they take. Raises `UnknownFamily`."""
    lines, total = [], 0.0
    for family in chosen(only):
        parts = family.parts(repeat)
        seconds = sum(part.seconds for part in parts)
        total += seconds
        lines.append(f"{family.name:<14} {len(parts):>3} runs {seconds / 60:>5.1f} min  {family.title}")
    return "\n".join([*lines, f"{'all':<14} {'':>8} {total / 60:>5.1f} min"])


def run_figures(asked: Asked, progress: Progress) -> list[Row]:
    """Run, judge, write. Returns all rows of the chosen families. Raises `UnknownFamily`, `InvalidStore`, `LabError`."""
    families = chosen(asked.only)
    store = Store(asked.output / "figures.json")
    if asked.fresh:
        for family in families:
            store.forget(family.name)
    session = Session(output=asked.output, cache=asked.cache, progress=progress, kept=store.parts)
    waiting = [(f, p) for f in families for p in f.parts(asked.repeat) if not store.done(f.name, p.name)]
    store.document.setdefault("started", _now())
    store.document["command"] = " ".join(["stella-bench", *sys.argv[1:]])
    store.document["repeat"] = asked.repeat
    progress.note(f"{len(waiting)} runs to do, about {sum(p.seconds for _, p in waiting) / 60:.0f} minutes")
    rows: list[Row] = []
    for family in families:
        for part in [p for f, p in waiting if f is family]:
            _run_part(family, part, session, store)
            store.document["machine"] = {**store.document.get("machine", {}), **session.machine}
        found = family.judge(store.parts(family.name), {name: store.parts(name) for name in family.needs})
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
    source = os.path.relpath(asked.output / "figures.json")
    asked.document.write_text(page(store.document, source=source), encoding="utf-8")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _run_part(family: Family, part: Part, session: Session, store: Store) -> None:
    """One part, as often as it takes for a run to count; what did not count is kept and told."""
    discarded: list[str] = []
    started, load, began = _now(), round(os.getloadavg()[0], 2), time.monotonic()
    while True:
        try:
            facts = family.run(part.name, session)
            break
        except (InvalidRun, PolicyError, LabError) as error:
            discarded.append(str(error))
            session.progress.note(f"{family.name} {part.name}: the run does not count: {error}")
            if len(discarded) == ATTEMPTS:
                facts = {"invalid": str(error)}
                break
    kept = {
        "facts": facts,
        "started": started,
        "load_average": load,
        "seconds": round(time.monotonic() - began, 1),
        "attempts": len(discarded) + ("invalid" not in facts),
        "discarded": discarded,
    }
    store.keep(family.name, part.name, kept)


def all_pass(rows: list[Row]) -> bool:
    """Whether nothing falls short and every row has its runs."""
    return not any(row.status in (FALLS_SHORT, INVALID) for row in rows)
