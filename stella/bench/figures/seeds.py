"""Scenarios made from a seed: floors that need 60 to 80 % of what is left after measured overhead, as admission prices them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stella.bench.figures import solo
from stella.bench.figures.row import INVALID, Bound, Facts, Row, missing, valid
from stella.bench.figures.session import GUEST_OVERHEAD_SECONDS, RUN_OVERHEAD_SECONDS, Family, Part, Session
from stella.bench.generate import generate
from stella.bench.results import write_results
from stella.bench.run import InvalidRun
from stella.bench.scenario_file import read_scenario
from stella.control.memory import Settings

SEED = 20161122
COUNT = 20
DURATION_SECONDS = 30
WARMUP_SECONDS = 6.0


def documents(alone: Facts) -> list[dict[str, Any]]:
    """The scenarios, by what the solo run measured. Pure."""
    cores = int(alone["cores"])
    capacity = cores - (alone["overhead_cores"] or 0.0)
    return generate(
        SEED, COUNT, settings=Settings(), cpus=cores, capacity_cores=capacity, duration_seconds=DURATION_SECONDS
    )


def _parts(repeat: int) -> list[Part]:
    seconds = RUN_OVERHEAD_SECONDS + 4.5 * GUEST_OVERHEAD_SECONDS + WARMUP_SECONDS + DURATION_SECONDS
    return [Part(name=f"seed-{n:02d}", seconds=seconds) for n in range(1, COUNT + 1)]


def _run(part: str, session: Session) -> Facts:
    alone = solo.facts_of({solo.NAME: session.kept(solo.NAME)})
    if alone is None:
        raise InvalidRun("the solo run, which measures what I/O costs here, is missing")
    document = documents(alone)[int(part.rpartition("-")[2]) - 1]
    directory = session.directory(f"seeds {part}")
    directory.mkdir(parents=True, exist_ok=True)
    write_results(directory / "scenario.json", document)
    scenario = replace(read_scenario(document), warmup_seconds=WARMUP_SECONDS)
    _, facts = session.run(scenario, "stella", title=f"seeds {part}")
    return {**facts, "slos": {i["name"]: i["slo"] for i in document["instances"] if "slo" in i}}


def _met(facts: Facts) -> float:
    return float(facts["result"]["all_met_95_ratio"])


def _judge(parts: Mapping[str, Facts], needed: Mapping[str, Mapping[str, Facts]]) -> list[Row]:
    found = valid(parts, "seed")
    values = tuple(_met(f) for f in found)
    why = missing(parts, "seed") or (f"{len(found)} of {COUNT} run" if len(found) < COUNT else "")
    refused = sum(bool(f["result"]["refused"]) for f in found)
    below = [f"{name} {_met(f):.0%}" for name, f in parts.items() if "invalid" not in f and _met(f) < 0.95]
    notes = [f"in {refused} of them admission refused an SLO"] if refused else []
    notes += [f"below: {', '.join(below)}"] if below else []
    mean = (sum(values) / len(values),) if values else ()
    rows = [
        Row(
            name="seeds.each",
            title=f"{COUNT} scenarios from seed {SEED}: all-met-95 in each",
            bound=Bound(least=0.95),
            kind="ratio",
            values=values,
            missing=why,
            note="; ".join(notes),
        ),
        Row(
            name="seeds.mean",
            title=f"{COUNT} scenarios from seed {SEED}: mean of all-met-95",
            bound=Bound(least=0.97),
            kind="ratio",
            values=mean,
            missing=why,
        ),
    ]
    assert all(row.status == INVALID for row in rows if why)
    return rows


FAMILY = Family(
    name="seeds", title=f"{COUNT} scenarios from a seed", parts=_parts, run=_run, judge=_judge, needs=(solo.NAME,)
)
