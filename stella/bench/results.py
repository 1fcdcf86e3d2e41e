"""The bench's files: ``results.json`` and one CSV of windows for each policy, in the shape that `bench-format.md` fixes."""

import csv
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stella.bench.fair import Solo, done_ratio, fair_cores
from stella.bench.recording import Recording
from stella.bench.scenario import Scenario
from stella.bench.verdict import AgentWindow, EventVerdict, ObjectiveVerdict, Verdict, spread
from stella.model.attainment import Status
from stella.model.report import StatusCounts
from stella.model.slo import Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An SLO that the policy's admission refused, at a moment of the measured time, and what it said."""

    instance: str
    at_seconds: float
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiAttainment:
    """What stella-api answers for one objective over the whole minutes from ``start`` to ``end`` (Unix seconds)."""

    instance: str
    metric: str
    start: int
    end: int
    seconds: StatusCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSeconds:
    """What a page showed of one objective, by Unix second: MET, VIOLATED for a missed one, UNKNOWN or NO_DEMAND."""

    instance: str
    metric: str
    statuses: Mapping[int, Status]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyReport:
    """What a policy tells of itself after a run; all of it empty for those without an agent."""

    windows: tuple[AgentWindow, ...] = ()
    refused: tuple[Refusal, ...] = ()
    ticks: int = 0
    late_ticks: int = 0
    notes: tuple[str, ...] = ()
    attainment: tuple[ApiAttainment, ...] = ()
    shown: tuple[ShownSeconds, ...] = ()
    control_plane_cpu_cores: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One measured run of the scenario under one policy, on ``cores`` CPUs. ``recording``: what was counted, for a closer look."""

    policy: str
    cores: int
    verdict: Verdict
    report: PolicyReport = field(default_factory=PolicyReport)
    agent_peak_rss_bytes: int = 0
    clock_offsets_seconds: Mapping[str, float] = field(default_factory=dict)
    start_unix_seconds: float = 0.0
    recording: Recording = field(default_factory=Recording, repr=False)


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 6)


def _rounded(verdict: Verdict, *names: str) -> dict[str, float | None]:
    return {name: _finite(getattr(verdict, name)) for name in names}


def _event(verdict: EventVerdict) -> dict[str, Any]:
    found = asdict(verdict)
    if verdict.others_used_seconds is None:
        del found["others_used_seconds"]
    return found


def _objective(verdict: ObjectiveVerdict) -> dict[str, Any]:
    return {
        **{name: getattr(verdict, name) for name in ("instance", "metric", "kind", "value", "unit")},
        "windows": sum(w is not None for w in verdict.windows),
        "windows_with_demand": sum(w is not None and w.demand for w in verdict.windows),
        **{f"{which}_ratio": _finite(verdict.ratio(which)) for which in ("met_95", "met_100")},
        **{name: _finite(value) for name, value in zip(("mean", "p5", "stdev"), spread(verdict.usages), strict=True)},
    }


def fair_shares(run: Run, solo: Mapping[str, Solo]) -> dict[str, float]:
    """The cores that each instance could fairly expect in this run (`stella.bench.fair`). Pure; empty without solo runs.

    The rest is the laboratory's cores less all that is not the guests' (receivers, host services, the agent) and what floors cost.
    """
    verdict = run.verdict
    floors: dict[str, list[tuple[Objective, float]]] = {}
    for objective in verdict.objectives:
        if objective.kind == "floor":
            reached = min(spread(objective.usages)[0], objective.value)
            floors.setdefault(objective.instance, []).append((objective.objective, reached))
    overhead = max(0.0, verdict.host_cpu_cores - verdict.instances_cpu_cores)
    return fair_cores(solo, floors, capacity_cores=run.cores - overhead)


def _best_effort(scenario: Scenario, run: Run, solo: Mapping[str, Solo]) -> list[dict[str, Any]]:
    fair, rows = fair_shares(run, solo), []
    for work in run.verdict.work:
        if scenario.has_slo(work.instance):
            continue
        used = statistics.fmean(run.verdict.cpu_series.get(work.instance, ()) or (0.0,))
        alone = solo.get(work.instance)
        done = done_ratio(alone, work.rates, used) if alone else None
        entitled = fair[work.instance] / alone.cores if alone and alone.cores > 0 else 0.0
        row: dict[str, Any] = {"instance": work.instance, "work": _finite(work.work), "unit": work.unit}
        row |= {"cpu_cores": _finite(used), "share_of_solo": _finite(done)}
        if alone is not None:
            row["fair_cores"] = _finite(fair[work.instance])
            row["share_of_fair"] = _finite(done / entitled) if done is not None and entitled > 0 else None
        rows.append(row)
    return rows


def _other_cores(v: Verdict) -> float:
    """CPU that belongs to nobody in the experiment: host services, the bench, and whatever else ran on the machine meanwhile."""
    return max(0.0, v.host_cpu_cores - v.instances_cpu_cores - v.receiver_cpu_cores - v.agent_cpu_cores)


def _through_api(run: Run) -> dict[str, Any]:
    """What the API's attainment was, beside the outside measurement of the same seconds; empty where no API took part."""
    rows = []
    for said in run.report.attainment:
        seen = next((o for o in run.verdict.objectives if (o.instance, o.metric) == (said.instance, said.metric)), None)
        first = said.start - round(run.start_unix_seconds)
        windows = seen.windows[first : first + said.end - said.start] if seen else ()
        counted = [w for w in windows if w is not None and w.demand]
        met = sum(w.met_95 for w in counted)
        ratio = said.seconds.attainment_ratio
        outside = met / len(counted) if counted else None
        rows.append(
            {
                "instance": said.instance,
                "metric": said.metric,
                "start": said.start,
                "end": said.end,
                "seconds": asdict(said.seconds),
                "attainment_ratio": _finite(ratio),
                "outside_windows_met": met,
                "outside_windows_with_demand": len(counted),
                "outside_ratio": _finite(outside),
                "difference_ratio": None if ratio is None or outside is None else _finite(ratio - outside),
            }
        )
    return {"api": rows, "control_plane_cpu_cores": _finite(run.report.control_plane_cpu_cores)} if rows else {}


def on_page(
    shown: Sequence[ShownSeconds], objectives: Sequence[ObjectiveVerdict], start_unix_seconds: float
) -> list[dict[str, Any]]:
    """The page's status beside the outside measurement, of seconds with demand; empty where no page was read.

    ``green_when_broken``: seconds that the page showed as met and that were not.
    """
    rows = []
    for said in shown:
        seen = next((o for o in objectives if (o.instance, o.metric) == (said.instance, said.metric)), None)
        if seen is None:
            continue
        first = round(start_unix_seconds)
        asked = {first + k: w.met_95 for k, w in enumerate(seen.windows) if w is not None and w.demand}
        agreed = [said.statuses.get(at) is (Status.MET if met else Status.VIOLATED) for at, met in asked.items()]
        green = [said.statuses.get(at) is Status.MET and not met for at, met in asked.items()]
        counts = {"seconds": len(asked), "agreed": sum(agreed), "green_when_broken": sum(green)}
        rows.append({"instance": said.instance, "metric": said.metric, **counts})
    return rows


def policy_result(scenario: Scenario, run: Run, solo: Mapping[str, Solo], *, series: str) -> dict[str, Any]:
    """What stands under ``policies.<name>`` for one run. ``series``: the name of its CSV file."""
    v, report = run.verdict, run.report
    page = on_page(report.shown, v.objectives, run.start_unix_seconds)
    return {
        **_rounded(v, "all_met_95_ratio", "all_met_100_ratio", "second_half_met_95_ratio"),
        "windows": v.windows,
        "disturbed_windows": v.disturbed_windows,
        "objectives": [_objective(o) for o in v.objectives],
        "events": [_event(e) for e in v.events],
        "useful_work": {name: _finite(value) for name, value in v.useful_work.items()},
        "best_effort": _best_effort(scenario, run, solo),
        **_rounded(v, "host_cpu_cores", "instances_cpu_cores"),
        "other_cpu_cores": _finite(_other_cores(v)),
        **_rounded(v, "receiver_cpu_cores", "steal_cores"),
        "agent": {
            "cpu_cores": _finite(v.agent_cpu_cores),
            "peak_rss_bytes": run.agent_peak_rss_bytes,
            "ticks": report.ticks,
            "late_ticks": report.late_ticks,
            **_rounded(v, "libvirtd_cpu_cores_over_idle", "status_agreement_ratio", "cause_cpu_ratio"),
        },
        "refused": [asdict(refusal) for refusal in report.refused],
        "notes": list(report.notes),
        **_through_api(run),
        **({"page": page} if page else {}),
        "clock_offsets_seconds": {name: _finite(offset) for name, offset in run.clock_offsets_seconds.items()},
        "invalid": list(v.invalid),
        "series": series,
    }


def results(
    scenario: Scenario,
    machine: Mapping[str, Any],
    started_unix_seconds: float,
    policies: Mapping[str, Sequence[dict[str, Any]]],
    solo: Mapping[str, Solo],
    provenance: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The whole document. ``provenance``: the commit and the command.

    Of repeats the median one (by ``all_met_95_ratio``) stands for the policy; all are under ``repeats``."""
    shown = {}
    for name, runs in policies.items():
        ordered = sorted(runs, key=lambda r: r["all_met_95_ratio"])
        shown[name] = dict(ordered[(len(ordered) - 1) // 2])
        if len(runs) > 1:
            shown[name]["repeats"] = list(runs)
            shown[name]["all_met_95_spread"] = [ordered[0]["all_met_95_ratio"], ordered[-1]["all_met_95_ratio"]]
    return {
        "scenario": scenario.name,
        **(provenance or {}),
        "duration_seconds": scenario.duration_seconds,
        "machine": dict(machine),
        "started": datetime.fromtimestamp(started_unix_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "solo": {
            n: {"work": {k: _finite(v) for k, v in s.work.items()}, "cores": _finite(s.cores)} for n, s in solo.items()
        },
        "policies": shown,
    }


def series_rows(run: Run) -> tuple[list[str], list[list[object]]]:
    """Header and rows of the CSV: one row per window, ``time_seconds`` from the start of the measured time.

    Beside the fixed columns each objective has ``.promised`` (the value that counted) and ``.asked`` (1: there was demand). Cells are
    empty where an objective was not in force or the agent said nothing.
    """
    said = {(w.instance, w.metric, w.start - round(run.start_unix_seconds)): w for w in run.report.windows}
    kept: dict[str, ObjectiveVerdict] = {}
    for objective in run.verdict.objectives:  # of a floor and a ceiling on one metric the floor comes first
        kept.setdefault(f"{objective.instance}.{objective.metric}", objective)
    header = ["time_seconds"]
    for name in kept:
        header += [name, f"{name}.agent", f"{name}.status", f"{name}.cause", f"{name}.promised", f"{name}.asked"]
    header += [*run.verdict.work_series, *(cpu_column(name) for name in run.verdict.cpu_series)]
    rows = []
    for k in range(run.verdict.windows):
        row: list[object] = [k]
        for objective in kept.values():
            window, word = objective.windows[k], said.get((objective.instance, objective.metric, k))
            row.append("" if window is None or not math.isfinite(window.usage) else round(window.usage, 6))
            told = [_cell(word.usage), word.status.value, word.cause.value if word.cause else ""] if word else None
            row += told or ["", "", ""]
            row += ["", ""] if window is None else [round(window.value, 6), int(window.demand)]
        row += [round(rates[k], 3) for rates in run.verdict.work_series.values()]
        row += [round(rates[k], 4) for rates in run.verdict.cpu_series.values()]
        rows.append(row)
    return header, rows


def cpu_column(instance: str) -> str:
    """The column of an instance's CPU; of the whole laboratory for an empty name."""
    return f"cpu_cores.{instance}" if instance else "cpu_cores"


def _cell(value: float | None) -> object:
    return "" if value is None else round(value, 6)


def write_series(path: Path, run: Run) -> None:
    """Write the CSV of one run."""
    header, rows = series_rows(run)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def write_results(path: Path, document: Mapping[str, Any]) -> None:
    """Write ``results.json`` in one step, so that nobody reads half of it."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    part.replace(path)
