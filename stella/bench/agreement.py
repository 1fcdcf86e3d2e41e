"""Whether the agent told the truth: its own windows against what was seen outside. Pure."""

from collections.abc import Sequence

from stella.bench.measure import Window
from stella.bench.recording import Recording
from stella.bench.scenario import Scenario
from stella.bench.verdict import AgentWindow, ObjectiveVerdict
from stella.model.attainment import Cause, Status


def agrees(window: Window, status: Status, *, kind: str, undersized: bool) -> bool | None:
    """Whether the agent's word for a window agrees with what was seen outside. None: it gave none yet (``PENDING``).

    - There was demand and the objective was met (at 95 %): ``MET``.
    - There was demand and it was missed: ``VIOLATED`` or ``DEGRADED``; ``SELF_LIMITED`` only where the scenario declares the
      instance ``undersized``, its floor being beyond what the guest can do.
    - The generator asked for less than the floor: ``NO_DEMAND`` or ``SELF_LIMITED``; ``MET`` when the floor was reached all the same.
    - A ceiling that was kept: ``MET`` or ``NO_DEMAND``; that was broken: ``VIOLATED`` or ``DEGRADED``.
    - ``UNKNOWN`` never agrees.
    """
    if status is Status.PENDING:
        return None
    if kind == "ceiling":
        return status in (Status.MET, Status.NO_DEMAND, Status.SELF_LIMITED) if window.met_95 else status.missed
    if not window.demand:
        return status in (Status.NO_DEMAND, Status.SELF_LIMITED) or (status is Status.MET and window.met_95)
    if window.met_95:
        return status is Status.MET
    return status.missed or (undersized and status is Status.SELF_LIMITED)


def agreement_ratios(
    scenario: Scenario, recording: Recording, objectives: Sequence[ObjectiveVerdict], agent: Sequence[AgentWindow]
) -> tuple[float | None, float | None]:
    """Share of windows in which the agent's status agrees (`agrees`), and share of those it called missed with cause ``cpu``.

    The second is over the windows that were missed outside too. None where there is nothing to compare. An objective with both a
    floor and a ceiling is compared by its floor. A window that the agent said nothing of does not agree, but for the first in which
    an objective is in force.
    """
    said = {(w.instance, w.metric, w.start): w for w in agent}
    floors = {(o.instance, o.metric) for o in objectives if o.kind != "ceiling"}
    answers: list[bool] = []
    causes: list[bool] = []
    for objective in objectives:
        if objective.kind == "ceiling" and (objective.instance, objective.metric) in floors:
            continue
        told = False
        undersized = scenario.instance(objective.instance).undersized
        for k, window in enumerate(objective.windows):
            word = said.get((objective.instance, objective.metric, round(recording.start) + k))
            if window is None:
                told = False
                continue
            if word is None:
                answers += [False] if told and said else []
                told = True
                continue
            told = True
            answer = agrees(window, word.status, kind=objective.kind, undersized=undersized)
            if answer is not None:
                answers.append(answer)
            if word.status.missed and window.demand and not window.met_95:
                causes.append(word.cause is Cause.CPU)
    return _share(answers), _share(causes)


def _share(answers: Sequence[bool]) -> float | None:
    return sum(answers) / len(answers) if answers else None
