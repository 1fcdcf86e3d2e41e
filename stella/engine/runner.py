"""The loop that runs the duties while this process leads. A duty that fails is logged and counted, and stops no other."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from stella.clouds.port import Unanswered
from stella.db.database import Conflict, Unreachable
from stella.db.leases import LeaseLost
from stella.engine import schedule
from stella.engine.duty import Companion, Duty, Outcome, Work
from stella.engine.leader import Leader
from stella.engine.metrics import Metrics

_LOG = logging.getLogger(__name__)
_AWAY_SECONDS = 1.0
_HINT_SECONDS = 0.2
"""How long a hint waits at most, where a duty takes hints."""


def run_once(
    duty: Duty, work: Work, metrics: Metrics, *, monotonic: Callable[[], float] = time.monotonic
) -> Outcome | None:
    """One run of a duty; None when it failed. Raises `LeaseLost` and `Unreachable`, which are not the duty's fault."""
    began = monotonic()
    try:
        outcome = duty.run(work)
    except (LeaseLost, Unreachable):
        raise
    except (Conflict, Unanswered) as error:
        _LOG.warning("duty %s: %s", duty.name, error)
        metrics.failed(duty.name)
        return None
    except Exception:  # the one catch-all of this process: the other duties go on
        _LOG.exception("duty %s failed", duty.name)
        metrics.failed(duty.name)
        return None
    metrics.succeeded(duty.name, monotonic() - began, outcome, work.clock())
    return outcome


def run_all(duties: Sequence[Duty], work: Work, metrics: Metrics) -> bool:
    """Run every duty until it has no more to do; False when one failed. Raises `LeaseLost` and `Unreachable`."""
    good = True
    for duty in duties:
        while True:
            outcome = run_once(duty, work, metrics)
            good = good and outcome is not None
            if outcome is None or not outcome.more:
                break
    return good


def run_while_leading(
    duties: Sequence[Duty],
    work: Work,
    leader: Leader,
    metrics: Metrics,
    stop: threading.Event,
    *,
    companions: Sequence[Companion] = (),
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Run duties as they become due, until ``stop``, and ``companions`` while leading. A new leader begins with all duties."""
    try:
        _run_while_leading(duties, work, leader, metrics, stop, companions, monotonic)
    finally:
        for companion in companions:
            companion.stop()


def _run_while_leading(
    duties: Sequence[Duty],
    work: Work,
    leader: Leader,
    metrics: Metrics,
    stop: threading.Event,
    companions: Sequence[Companion],
    monotonic: Callable[[], float],
) -> None:
    longest = _HINT_SECONDS if any(duty.is_hinted is not None for duty in duties) else 1.0
    due: schedule.Due = {}
    led: int | None = None
    while not stop.is_set():
        token = leader.token
        metrics.leader.set(0 if token is None else 1)
        for companion in companions:
            if token is None:
                companion.stop()
            else:
                companion.start()
        if token is None:
            leader.led.wait(0.2)
            continue
        if token != led:
            metrics.takeovers.inc()
            due, led = schedule.first(duties, monotonic()), token
        duty = schedule.next_duty(duties, due, monotonic())
        if duty is None:
            stop.wait(schedule.pause_seconds(due, monotonic(), longest=longest))
            continue
        try:
            outcome = run_once(duty, work, metrics)
        except LeaseLost:
            continue
        except Unreachable as error:
            _LOG.warning("duty %s: the database is away: %s", duty.name, error)
            metrics.failed(duty.name)
            stop.wait(_AWAY_SECONDS)
            continue
        due = schedule.after(due, duty, monotonic(), more=outcome is not None and outcome.more)
