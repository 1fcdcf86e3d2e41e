"""One run of a simulated cloud, and what became of it in figures. The same shape and mode give the same figures."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from stella.control.relief_view import Kind, Mode, State
from stella.sim.cloud.accounts import reports, total_seconds
from stella.sim.cloud.cloud import STEP_SECONDS, Cloud
from stella.sim.cloud.relief import Relief
from stella.sim.cloud.scenario import Shape
from stella.sla.exact import show_share
from stella.sla.tables import percent


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFigures:
    """Of the report of one SLA class; ``sha256`` is its digest. Seconds with demand are ``met_seconds`` and ``missed_seconds``."""

    instances: int
    missed: int
    credited: int
    met_seconds: int
    missed_seconds: int
    allowed_seconds: int
    attainment: str | None
    credit: Decimal
    currency: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What became of a simulated cloud. Seconds are those of floors: an instance's second each."""

    shape: Shape
    mode: Mode
    classes: Mapping[str, ClassFigures]
    violated_seconds: Mapping[str, int]
    unknown_seconds: int
    asked: int
    refused: Mapping[str, int]
    best_effort_refused: int
    deaths: int
    moves: Mapping[str, int]
    helped: int
    not_helped: int
    nothing_moved: Mapping[str, int]
    evacuated: int
    most_moves_of_one: int
    full_ratio: float
    reserved_ratio: float

    @property
    def violated(self) -> int:
        """All seconds in which a floor was missed."""
        return sum(self.violated_seconds.values())


def run_cloud(
    shape: Shape, mode: Mode, *, step_seconds: float = STEP_SECONDS, look: Callable[[Cloud], None] | None = None
) -> Figures:
    """Run a cloud to its end. ``look`` is called after each step."""
    cloud = Cloud(shape, step_seconds=step_seconds)
    relief = Relief(cloud, mode)
    steps, reserved = round(shape.seconds / step_seconds), 0.0
    for _ in range(steps):
        cloud.begin()
        relief.follow()
        cloud.serve()
        relief.act()
        reserved += float(cloud.ledger.reserved.sum())
        if look is not None:
            look(cloud)
    cloud.close()
    found = reports(cloud.accounts, shape, seconds=shape.seconds)
    rows = [row for each in cloud.accounts.rows.values() for row in each]
    moved = [move for move in relief.past if move.kind is Kind.RELIEF]
    done = Counter(move.instance for move in moved if move.state is State.DONE)
    host_steps = shape.hosts * max(1, steps)
    return Figures(
        shape=shape,
        mode=mode,
        classes={name: _class_figures(report) for name, report in found.items()},
        violated_seconds=dict(cloud.accounts.missed_seconds),
        unknown_seconds=total_seconds(rows, "unknown"),
        asked=cloud.accounts.asked,
        refused=dict(sorted(cloud.accounts.refused.items())),
        best_effort_refused=cloud.accounts.best_effort_refused,
        deaths=cloud.accounts.deaths,
        moves={state.value: sum(move.state is state for move in moved) for state in (State.DONE, State.FAILED)},
        helped=sum(move.helped is True for move in moved),
        not_helped=sum(move.helped is False for move in moved),
        nothing_moved=dict(sorted(relief.nothing.items())),
        evacuated=sum(move.kind is Kind.EVACUATION and move.state is State.DONE for move in relief.past),
        most_moves_of_one=max(done.values(), default=0),
        full_ratio=cloud.full_steps / host_steps,
        reserved_ratio=reserved / (host_steps * shape.cores),
    )


def _class_figures(report: Mapping[str, object]) -> ClassFigures:
    totals, results = report["totals"], report["results"]
    assert isinstance(totals, dict)
    assert isinstance(results, list)
    return ClassFigures(
        instances=totals["instances"],
        missed=totals["instances_missed"],
        credited=totals["instances_credited"],
        met_seconds=totals["met_seconds"],
        missed_seconds=totals["missed_seconds"],
        allowed_seconds=sum(one["allowed_seconds"] for result in results for one in result["objectives"]),
        attainment=totals["attainment_ratio"],
        credit=Decimal(totals["credit_amount"]),
        currency=totals["currency"],
        sha256=str(report["sha256"]),
    )


def lines(found: Figures) -> Iterator[str]:
    """The figures in words."""
    shape = found.shape
    yield (
        f"{shape.hosts} hosts of {shape.cores} CPUs for {shape.hours:g} h, seed {shape.seed}, relief {found.mode.value}: "
        f"{found.reserved_ratio:.0%} of CPU reserved, {found.full_ratio:.0%} of host time full, {found.deaths} hosts died"
    )
    for name, one in found.classes.items():
        yield (
            f"SLA {name}: attainment {percent(one.attainment)}; {one.missed} of {one.instances} instances miss their target;"
            f" {minutes(one.missed_seconds)} of {minutes(one.allowed_seconds)} min of budget used;"
            f" {one.credited} credited, {one.credit} {one.currency}"
        )
    met = sum(one.met_seconds for one in found.classes.values())
    missed = sum(one.missed_seconds for one in found.classes.values())
    yield f"attainment of all: {percent(show_share(met, met + missed))}, unknown seconds counted as missed"
    causes = ", ".join(f"{cause} {minutes(seconds)}" for cause, seconds in found.violated_seconds.items())
    yield f"violated minutes: {minutes(found.violated)} ({causes}); unknown minutes: {minutes(found.unknown_seconds)}"
    refused = sum(found.refused.values())
    why = ", ".join(f"{field} {count}" for field, count in found.refused.items()) or "none"
    yield f"SLOs refused: {refused} of {found.asked} ({why}); best-effort instances refused: {found.best_effort_refused}"
    yield (
        f"moves: {found.moves['done']} done, {found.moves['failed']} failed, {found.helped} helped, {found.not_helped} did not;"
        f" most of one instance: {found.most_moves_of_one}; decisions to move nothing: {sum(found.nothing_moved.values())};"
        f" evacuated: {found.evacuated}"
    )


def minutes(seconds: int) -> str:
    """Whole minutes, with thousands apart."""
    return f"{round(seconds / 60):,}".replace(",", " ")
