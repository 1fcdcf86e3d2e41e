"""Posts reports: the rows of the outbox until they are acknowledged, and what the host is now.

While instances are watched, their points go in small reports of their own in between; a point that cannot be sent is let go of.

A row is acknowledged in the outbox only when the API has answered that it was taken. A report that was taken while its answer got lost
is sent again; the API keeps its rows by their own keys. Rows that the API will never take are found by halving, logged and counted. So
are those that a clock which stepped ahead and back has dated in the future: kept, they would hold up all behind them until then.
"""

import logging
import threading
import time
from collections.abc import Callable

from stella.model import wire
from stella.model.intent import Mode
from stella.model.report import Batch
from stella.model.wire import Json
from stella.xgos.accounting.outbox import Outbox
from stella.xgos.link.backoff import BackOff
from stella.xgos.link.board import Board
from stella.xgos.link.fetcher import refusal
from stella.xgos.link.intent import DEFAULT_REPORT_SECONDS
from stella.xgos.link.sections import (
    host_section,
    instances_section,
    observes_reason,
    points_section,
    running_instances,
    standing_states,
    state_section,
)
from stella.xgos.link.transport import Answer, NoCredential, Transport, Unreachable
from stella.xgos.local_api.agent_api import Published

_LOG = logging.getLogger(__name__)
REPORT_SECONDS = DEFAULT_REPORT_SECONDS
MOST_POINTS = 500
MOST_ROWS = 500
_ALL_STATES_SECONDS = 60.0
_OK, _BAD_REQUEST, _TOO_LARGE = 200, 400, 413
_ROW_FIELDS = ("minutes", "violations", "states")
_NOW_FIELDS = ("host", "instances")
_POINTS_FIELD = "points"
_WATCHED_SECONDS = 1.0
_CONTESTED_SECONDS = 1.0
"""How soon instances are reported again of which the API says that they run elsewhere: they may be on their way here."""

_LOOK_SECONDS = 0.25
_EARLY = 0.9
_CLOCK_OFFSET = "stella.report.clock_offset"
_LARGEST_STEP_BACK_SECONDS = 60.0


class Reporter:
    """`step` is for the reporter's thread alone; `wake` may be called from any."""

    def __init__(
        self,
        transport: Transport,
        outbox: Outbox,
        board: Board,
        published: Callable[[], Published | None],
        *,
        wall: Callable[[], float] = time.time,
        back_off: BackOff | None = None,
    ) -> None:
        self._transport = transport
        self._outbox = outbox
        self._board = board
        self._published = published
        self._wall = wall
        self._back_off = back_off or BackOff()
        self._wake = threading.Event()
        self._most_rows = MOST_ROWS
        self._sent_at = 0.0
        self._states_told_at = float("-inf")
        self._whole_at = float("-inf")
        self._told_mode: Mode | None = None
        self._told_running: frozenset[str] | None = None
        self._is_contested = False
        board.watch = outbox.live.watch
        self._rows_alone = False  # the last report was refused for what it told of host or instances

    def wake(self) -> None:
        """Report at once: a state changed."""
        self._wake.set()

    def run(self, stop: threading.Event) -> None:
        """Until ``stop``."""
        while not stop.is_set():
            self._wake.clear()
            seconds = self.step()
            if self._back_off.failures:
                stop.wait(seconds)
            else:
                self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        """Until the next report is due, a state changed, or an instance came or went, for which another host may wait."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._wake.wait(min(_LOOK_SECONDS, left)):
            published = self._published()
            if published is not None and self._is_news(published):
                return

    def _is_news(self, published: Published) -> bool:
        running = running_instances(published)
        return running is not None and running != self._told_running

    def step(self) -> float:
        """Report once; returns the seconds to wait before the next time (0: there is more)."""
        batch = self._outbox.batch(self._most_rows)
        published = self._published()
        if published is None:
            return REPORT_SECONDS / 10
        now = self._wall()
        points = self._outbox.live.take(MOST_POINTS)
        whole = (
            batch is not None or self._is_due(now) or published.mode is not self._told_mode or self._is_news(published)
        )
        if not whole and not points:
            return _WATCHED_SECONDS
        all_states = not 0 <= now - self._states_told_at < _ALL_STATES_SECONDS or published.mode is not self._told_mode
        drained = batch is None or batch.sequence >= self._outbox.stored
        tell_states = whole and all_states and drained
        body = self._body(batch, published, states=tell_states, whole=whole)
        if points:
            body[_POINTS_FIELD] = points_section(points)
        try:
            answer = self._transport.post_report(wire.dumps(body).encode())
        except (Unreachable, NoCredential) as error:
            return self._failed(str(error))
        if answer.status != _OK:
            return self._refused(answer, batch, with_points=bool(points))
        if not self._taken(answer, batch, running_instances(published) if whole else None):
            return self._failed("the API's answer to a report cannot be used")
        if tell_states:
            self._states_told_at, self._told_mode = now, published.mode
        if whole:
            self._whole_at = now
            self._told_running = running_instances(published)
        self._most_rows = MOST_ROWS if drained else self._most_rows
        return self._back_off.succeeded(self._pause_seconds() if drained else 0.0)

    def _is_due(self, now: float) -> bool:
        """Whether the host is to be told as it is now: always, but for the small reports in between while instances are watched."""
        if not self._outbox.live.watched:
            return True
        return not 0 <= now - self._whole_at < _EARLY * self._board.report_seconds

    def _pause_seconds(self) -> float:
        seconds = self._board.report_seconds
        if self._is_contested:
            seconds = min(_CONTESTED_SECONDS, seconds)
        return min(_WATCHED_SECONDS, seconds) if self._outbox.live.watched else seconds

    def _body(self, batch: Batch | None, published: Published, *, states: bool, whole: bool) -> dict[str, Json]:
        """The report. One without rows repeats the last sequence; its later ``sent_at`` makes it newer."""
        now = self._wall()
        if now > self._sent_at or self._sent_at - now > _LARGEST_STEP_BACK_SECONDS:
            self._sent_at = now
        else:
            self._sent_at += 0.001
        rows = standing_states(published) if states else {}
        rows.update(batch.states if batch else {})
        why = observes_reason(published)
        body: dict[str, Json] = {
            "agent": self._outbox.agent,
            "epoch": self._outbox.epoch,
            "sequence": batch.sequence if batch else self._outbox.acknowledged,
            "sent_at": self._sent_at,
            "minutes": [wire.encode(row) for row in batch.minutes] if batch else [],
            "violations": [wire.encode(row) for row in batch.violations] if batch else [],
            "states": {uuid: state_section(row, published.mode, why) for uuid, row in rows.items()},
        }
        if not whole:
            return body
        rows_alone, self._rows_alone = self._rows_alone, False
        if rows_alone:
            return body
        instances = instances_section(published)
        return {**body, "host": host_section(published), **({"instances": instances} if instances is not None else {})}

    def _taken(self, answer: Answer, batch: Batch | None, running: frozenset[str] | None) -> bool:
        """Acknowledge in the outbox what the API has; False when its answer tells nothing. ``running`` was told of."""
        try:
            found = wire.parse(answer.body)
            accepted = wire.decode(int, found.get("accepted_sequence") if isinstance(found, dict) else None)
        except wire.InvalidWire:
            return False
        ignored = found.get("ignored") if isinstance(found, dict) else None
        if ignored:
            _LOG.warning("the API ignored parts of a report: %s", wire.dumps(ignored)[:300])
        if running is not None:
            parts = ignored if isinstance(ignored, list) else []
            self._is_contested = any(isinstance(part, dict) and part.get("uuid") in running for part in parts)
        if batch is not None:
            self._outbox.acknowledge(batch.epoch, min(accepted, batch.sequence))
        self._board.reported(self._wall())
        return True

    def _refused(self, answer: Answer, batch: Batch | None, *, with_points: bool) -> float:
        """Find what the API does not take, by sending fewer rows; one that it will never take is let go, logged and counted."""
        code, field, detail = _error_of(answer.body)
        rows = _rows(batch)
        if with_points and (answer.status == _TOO_LARGE or field.startswith(_POINTS_FIELD)):
            _LOG.warning("the API does not take live points, which are let go of: %s", detail or refusal(answer.status))
            self._outbox.live.clear()
            return self._back_off.succeeded(_WATCHED_SECONDS)
        about_rows = field.startswith(_ROW_FIELDS) and (code != _CLOCK_OFFSET or _dated_after(batch, self._wall()))
        if rows > 1 and (answer.status == _TOO_LARGE or (answer.status == _BAD_REQUEST and about_rows)):
            self._most_rows = max(1, rows // 2)
            return self._back_off.succeeded(0.0)
        if batch is not None and rows == 1 and answer.status == _BAD_REQUEST and about_rows:
            _LOG.error("the API will never take a row: %s: %s", detail, wire.dumps(batch)[:1000])
            self._outbox.acknowledge(batch.epoch, batch.sequence)
            self._board.rejected(1)
            self._most_rows = MOST_ROWS
            return self._back_off.succeeded(0.0)
        self._rows_alone = answer.status == _BAD_REQUEST and field.startswith(_NOW_FIELDS)
        return self._failed(": ".join(text for text in (refusal(answer.status), detail) if text))

    def _failed(self, error: str) -> float:
        if self._board.not_reported(error):
            _LOG.warning("report: %s; %d rows wait", error, self._outbox.depth)
        self._states_told_at = float("-inf")
        self._outbox.live.clear()
        return self._back_off.failed()


def _dated_after(batch: Batch | None, now: float) -> bool:
    """Whether rows are of a time that has not come by this host's own clock either: it was ahead when they were made."""
    minutes = [row.start for row in batch.minutes] if batch else []
    violations = [row.closed_at or row.opened_at for row in batch.violations] if batch else []
    return max([*minutes, *violations], default=now) > now


def _rows(batch: Batch | None) -> int:
    return len(batch.minutes) + len(batch.violations) + len(batch.states) if batch else 0


def _error_of(body: bytes) -> tuple[str, str, str]:
    """Code, field and text of the API's first error; empty where it tells none."""
    try:
        found = wire.parse(body)
    except wire.InvalidWire:
        return "", "", ""
    errors = found.get("errors") if isinstance(found, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    if not isinstance(first, dict):
        return "", "", ""
    return str(first.get("code") or ""), str(first.get("field") or ""), str(first.get("detail") or "")[:300]
