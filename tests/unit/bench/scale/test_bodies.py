"""Reports of emulated hosts against those of the real link, byte for byte."""

import random
from pathlib import Path

import pytest

from stella.bench.scale import bodies
from stella.bench.scale.emulated_host import Agent
from stella.bench.scale.fleet import EmulatedHost, Fleet
from stella.bench.scale.published import publish
from stella.bench.scale.timings import Timings
from stella.control.windows import InstanceWindow, Window
from stella.model import wire
from stella.model.allocation import ObjectiveReport
from stella.model.attainment import Status
from stella.xgos.accounting.outbox import Outbox
from stella.xgos.link.board import Board
from stella.xgos.link.reporter import Reporter
from stella.xgos.link.transport import Answer

MINUTE = 1_800_000_000
NOW = MINUTE + 61.5


class _Api:
    """Takes every report, and keeps what came."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def get_intent(self, etag: str) -> Answer:
        raise AssertionError("a reporter asks for no intent")

    def post_report(self, body: bytes) -> Answer:
        self.bodies.append(body)
        sequence = wire.parse(body)["sequence"]  # type: ignore[index,call-overload]
        return Answer(status=200, body=wire.dumps({"accepted_sequence": sequence, "ignored": []}).encode())


@pytest.fixture
def host() -> EmulatedHost:
    return next(iter(Fleet(hosts=1)))


def _record_minute(outbox: Outbox, host: EmulatedHost) -> None:
    """One closed minute, and the window that closes it."""
    guests = [guest for guest in host.guests if guest.terms]
    for second in range(MINUTE, MINUTE + 61):
        instances = [
            InstanceWindow(
                uuid=guest.uuid,
                objectives=tuple(
                    ObjectiveReport(metric=o.metric, kind="floor", value=1.0, usage=2.0, demand=2.0, status=Status.MET)
                    for o in guest.terms.slo.objectives
                ),
            )
            for guest in guests
            if guest.terms
        ]
        outbox.record_window(Window(start_unix_seconds=second, instances=tuple(instances)))


def test_a_report_is_byte_for_byte_that_of_the_real_link(host: EmulatedHost, tmp_path: Path) -> None:
    outbox, api = Outbox(tmp_path, background=False), _Api()
    published = publish(host, random.Random(3), revision=7)
    (printed, *_) = bodies.prepare(host, random.Random(3), revision=7)
    reporter = Reporter(api, outbox, Board("http://api", host.name), lambda: published, wall=lambda: NOW)
    reporter.step()
    _record_minute(outbox, host)
    acknowledged = host.guests[0].uuid
    outbox.record_state(acknowledged, 8, bodies.acknowledged(8).state)
    outbox.flush()
    batch = outbox.batch()
    assert batch is not None and len(batch.minutes) > 10
    reporter.step()

    first = bodies.print_report(
        agent=outbox.agent, epoch=outbox.epoch, sequence=0, sent_at=NOW, printed=printed, states=printed.states
    )
    second = bodies.print_report(
        agent=outbox.agent,
        epoch=outbox.epoch,
        sequence=batch.sequence,
        sent_at=NOW + 0.001,
        printed=printed,
        minutes=batch.minutes,
        states={acknowledged: bodies.acknowledged(8)},
    )
    assert api.bodies == [first, second]


def test_a_minute_row_has_no_more_than_sixty_seconds_and_one_row_for_each_objective(host: EmulatedHost) -> None:
    rows = bodies.minute_rows(host, MINUTE, random.Random(1))
    assert len(rows) == sum(len(guest.terms.slo.objectives) for guest in host.guests if guest.terms)
    assert len({(row.uuid, row.metric) for row in rows}) == len(rows)
    assert {row.counts.seconds for row in rows} == {60}


def _agent(host: EmulatedHost) -> Agent:
    return Agent(host, "credential", 1, Timings(), random.Random(1), revision=1)


def test_an_emulated_host_obeys_the_intervals_and_acknowledges_what_is_new(host: EmulatedHost) -> None:
    agent = _agent(host)
    known = {guest.uuid: {"revision": 1} for guest in host.guests if guest.terms}
    new = next(guest.uuid for guest in host.guests if guest.terms is None)
    intent = {"poll_seconds": 4.5, "report_seconds": 20.0, "slos": {**known, new: {"revision": 2}}}
    agent.follow(intent)
    assert (agent.poll_seconds, agent.report_seconds) == (4.5, 20.0)
    _, states, _ = agent.body(float(MINUTE))
    assert states[new] == bodies.acknowledged(2)
    assert set(states) == {*known, new}, "the first report tells all states"
    agent.follow({**intent, "slos": known})
    agent.taken(states, 0)
    _, states, _ = agent.body(MINUTE + 1.0)
    assert states == {}, "nothing is new"


def test_an_emulated_host_reports_each_minute_until_it_was_taken(host: EmulatedHost) -> None:
    agent = _agent(host)
    agent.body(MINUTE + 30.0)
    _, states, none = agent.body(MINUTE + 59.0)
    body, states, rows = agent.body(MINUTE + 61.0)
    again, _, more = agent.body(MINUTE + 121.0)
    assert (none, more) == (0, 2 * rows) and rows > 0
    assert wire.parse(again)["sequence"] == 2 * rows  # type: ignore[index,call-overload]
    agent.taken(states, more)
    assert agent.body(MINUTE + 122.0)[2] == 0
    assert len(wire.parse(body)["minutes"]) == rows  # type: ignore[index,call-overload,arg-type]
