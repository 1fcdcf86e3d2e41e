"""Fetches the host's intent and publishes it. What looks wrong changes nothing: SLOs stay in force until the API withdraws them."""

import logging
import threading
import time
from collections.abc import Callable

from stella.xgos.intents.cloud import CloudSource
from stella.xgos.link.backoff import BackOff
from stella.xgos.link.board import Board
from stella.xgos.link.intent import HostIntent, InvalidIntent, doubt, parse_intent
from stella.xgos.link.transport import Answer, NoCredential, Transport, Unreachable

_LOG = logging.getLogger(__name__)
_FIRST_POLL_SECONDS = 1.0
_FIRST_WAIT_SECONDS = 0.5
_OK, _NOT_MODIFIED = 200, 304


def refusal(status: int) -> str:
    """What an answer that is not a success means, in one line for a person."""
    if status in (401, 403, 404):
        return (
            f"HTTP {status}: the API does not know this host by its credential; enroll it and store the new credential"
        )
    if 300 <= status < 400:
        return f"HTTP {status}: redirects are not followed; set api_url to the API's own address"
    return f"HTTP {status}"


class Fetcher:
    """`step` is for the fetcher's thread alone."""

    def __init__(
        self,
        transport: Transport,
        cloud: CloudSource,
        board: Board,
        *,
        host_name: str,
        wall: Callable[[], float] = time.time,
        back_off: BackOff | None = None,
    ) -> None:
        self._transport = transport
        self._cloud = cloud
        self._board = board
        self._host_name = host_name
        self._wall = wall
        self._back_off = back_off or BackOff()
        self._etag = ""
        self._older: int | None = None
        self._poll_seconds = _FIRST_POLL_SECONDS

    def run(self, stop: threading.Event) -> None:
        """Until ``stop``. Begins at a moment by chance: hosts that start together do not ask together."""
        stop.wait(self._back_off.draw(_FIRST_WAIT_SECONDS))
        while not stop.wait(self.step()):
            pass

    def step(self) -> float:
        """Ask once; returns the seconds to wait before the next time."""
        if any(one.end <= self._wall() for one in self._board.status.classes.values()):
            self._etag = ""  # a new period, perhaps with new terms
        try:
            answer = self._transport.get_intent(self._etag)
        except (Unreachable, NoCredential) as error:
            return self._failed(str(error))
        if answer.status == _NOT_MODIFIED and self._etag:
            self._board.fetched(self._wall(), revision=self._cloud.revision, mode="")
            return self._back_off.succeeded(self._poll_seconds)
        if answer.status != _OK:
            return self._failed(refusal(answer.status))
        try:
            intent = parse_intent(answer.body, self._host_name)
        except InvalidIntent as error:
            return self._failed(f"the intent cannot be used: {error}")
        known = self._cloud.poll()
        doubtful = doubt(intent, known, self._older)
        if doubtful:
            if known is not None and intent.revision < known.revision:
                self._older = intent.revision if self._older is None else min(intent.revision, self._older)
            return self._failed(f"the intent is not followed: {doubtful}")
        return self._follow(intent, answer)

    def _follow(self, intent: HostIntent, answer: Answer) -> float:
        known = self._cloud.poll()
        mode = intent.mode or self._cloud.mode
        if known is None or known.revision != intent.revision or dict(known.wanted) != dict(intent.slos):
            self._cloud.publish(intent.revision, intent.slos, mode=mode)
            _LOG.info("the API asks for %d SLOs, revision %d", len(intent.slos), intent.revision)
        elif mode != self._cloud.mode:
            self._cloud.publish(intent.revision, intent.slos, mode=mode)
        if intent.mode and intent.mode != self._board.status.mode:
            _LOG.info("the API has this host in mode %s", intent.mode)
        self._etag, self._poll_seconds, self._older = answer.etag, intent.poll_seconds, None
        self._board.report_seconds = intent.report_seconds
        self._board.watch(intent.watched)
        self._board.told_classes(intent.classes)
        self._board.fetched(self._wall(), revision=intent.revision, mode=intent.mode)
        return self._back_off.succeeded(self._poll_seconds)

    def _failed(self, error: str) -> float:
        self._etag = ""
        self._board.watch(frozenset())
        if self._board.not_fetched(error):
            _LOG.warning("intent: %s; what was asked before stands", error)
        return self._back_off.failed()
