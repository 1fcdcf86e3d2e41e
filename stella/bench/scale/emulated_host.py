"""One emulated host: it polls and reports when the server says so, as the real link does (`stella.xgos.link`)."""

import asyncio
import json
import random
import time
from collections.abc import Mapping
from typing import Any

from stella.bench.scale import bodies
from stella.bench.scale.fleet import EmulatedHost
from stella.bench.scale.http_client import Connection, NoAnswer
from stella.bench.scale.timings import Timings
from stella.model.report import MinuteRow, StateRow
from stella.xgos.link.backoff import BackOff
from stella.xgos.link.reporter import REPORT_SECONDS

POLL, POLL_CHANGED, REPORT = "poll (304)", "poll (200)", "report"
_ALL_STATES_SECONDS = 60.0
_MINUTE = 60


class Agent:
    """Two loops, each with a connection of its own. What was accepted is acknowledged by a report that is sent at once."""

    def __init__(
        self,
        host: EmulatedHost,
        credential: str,
        port: int,
        timings: Timings,
        chance: random.Random,
        *,
        revision: int,
    ) -> None:
        self._host = host
        self._path = f"/v1/hosts/{host.name}"
        self._headers = f"Authorization: Bearer {credential}\r\nAccept: application/json\r\n"
        self._port = port
        self._timings = timings
        self._chance = chance
        self._printed = bodies.prepare(host, chance, revision=revision)
        self._known = {guest.uuid: revision for guest in host.guests if guest.terms}
        self._states: dict[str, StateRow] = {}
        self._minutes: list[MinuteRow] = []
        self._minute: int | None = None
        self._states_told_at = float("-inf")
        self._sequence = 0
        self._wake = asyncio.Event()
        self._epoch = f"{chance.getrandbits(128):032x}"
        self._agent = f"{chance.getrandbits(128):032x}"
        self._answered: set[str] = set()
        self.poll_seconds = 1.0
        self.report_seconds = REPORT_SECONDS

    @property
    def connected(self) -> bool:
        """Whether it has polled and reported."""
        return len(self._answered) == 2

    async def poll(self, start_after_seconds: float) -> None:
        """Ask for the intent until cancelled."""
        connection, back_off, etag = Connection(self._port), BackOff(self._chance.uniform), ""
        wait = start_after_seconds
        try:
            while True:
                due = time.monotonic() + wait
                await asyncio.sleep(wait)
                sent = time.monotonic()
                headers = f"{self._headers}If-None-Match: {etag}\r\n" if etag else self._headers
                try:
                    answer = await connection.ask("GET", f"{self._path}/intent", headers)
                except NoAnswer as error:
                    self._timings.failed(POLL, str(error))
                    wait, etag = back_off.failed(), ""
                    continue
                kind = POLL if answer.status == 304 else POLL_CHANGED
                self._timings.answered(kind, answer.status, time.monotonic() - due, sent - due)
                if answer.status == 200:
                    etag = answer.etag
                    self._answered.add(POLL)
                    self.follow(json.loads(answer.body))
                elif answer.status != 304:
                    wait, etag = back_off.failed(), ""
                    continue
                wait = back_off.succeeded(self.poll_seconds)
        finally:
            connection.close()

    def follow(self, intent: Mapping[str, Any]) -> None:
        """Take over what is asked; what is new is acknowledged."""
        self.poll_seconds = intent["poll_seconds"]
        self.report_seconds = intent.get("report_seconds", REPORT_SECONDS)
        wanted = {uuid: slo["revision"] for uuid, slo in intent["slos"].items()}
        news = {u: bodies.acknowledged(revision) for u, revision in wanted.items() if self._known.get(u) != revision}
        self._known = wanted
        if news:
            self._states.update(news)
            self._sequence += len(news)
            self._wake.set()

    async def report(self, start_after_seconds: float) -> None:
        """Report until cancelled."""
        connection, back_off = Connection(self._port), BackOff(self._chance.uniform)
        wait = start_after_seconds
        try:
            while True:
                due = time.monotonic() + wait
                if await self._woken(wait):
                    due = time.monotonic()
                body, states, rows = self.body(time.time())
                sent = time.monotonic()
                try:
                    headers = f"{self._headers}Content-Type: application/json\r\n"
                    answer = await connection.ask("POST", f"{self._path}/reports", headers, body)
                except NoAnswer as error:
                    self._timings.failed(REPORT, str(error))
                    wait = await self._after_failure(back_off)
                    continue
                self._timings.answered(REPORT, answer.status, time.monotonic() - due, sent - due)
                if answer.status != 200:
                    wait = await self._after_failure(back_off)
                    continue
                self._answered.add(REPORT)
                self.taken(states, rows)
                wait = back_off.succeeded(self.report_seconds)
        finally:
            connection.close()

    def taken(self, states: Mapping[str, StateRow], rows: int) -> None:
        """A report was taken that had these states and so many minute rows."""
        del self._minutes[:rows]
        self._states = {uuid: row for uuid, row in self._states.items() if states.get(uuid) != row}

    async def _woken(self, seconds: float) -> bool:
        """Wait so long, or until a state is to be told at once."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        finally:
            self._wake.clear()
        return True

    async def _after_failure(self, back_off: BackOff) -> float:
        """As the real link does: after a failure nothing wakes it early."""
        self._states_told_at = float("-inf")
        await asyncio.sleep(back_off.failed())
        return 0.0

    def body(self, now: float) -> tuple[bytes, Mapping[str, StateRow], int]:
        """The report at ``now`` (Unix seconds), and which states and how many minute rows are in it."""
        printed = self._printed[int(now) % len(self._printed)]
        minute = int(now) // _MINUTE * _MINUTE
        if self._minute is None:
            self._minute = minute
        if minute > self._minute:
            rows = bodies.minute_rows(self._host, self._minute, self._chance)
            self._minutes += rows
            self._sequence += len(rows)
            self._minute = minute
        states = dict(self._states)
        if now - self._states_told_at >= _ALL_STATES_SECONDS:
            states = {**printed.states, **states}
            self._states_told_at = now
        body = bodies.print_report(
            agent=self._agent,
            epoch=self._epoch,
            sequence=self._sequence,
            sent_at=now,
            printed=printed,
            minutes=self._minutes,
            states=states,
        )
        return body, states, len(self._minutes)
