"""Intent is followed when it is whole, for this host and not older; whatever else is answered changes nothing."""

from typing import Any

import pytest

from stella.model.slo import Metric
from stella.sla.terms import Unknown
from stella.xgos.intents.cloud import CloudSource
from stella.xgos.link.transport import Answer, NoCredential, Unreachable
from tests.unit.xgos.conftest import VM1, VM2
from tests.unit.xgos.link.conftest import Rig, error, intent_body, ok


def test_it_publishes_and_asks_with_the_etag_at_the_servers_interval(rig: Rig) -> None:
    rig.api.intents = [ok(intent_body(3), '"3"'), Answer(status=304), ok(intent_body(4, poll_seconds=9e9), '"4"')]
    assert [rig.fetcher.step() for _ in range(3)] == [2.0, 2.0, 60.0]
    assert rig.api.etags == ["", '"3"', '"3"']
    found = rig.cloud.poll()
    assert found is not None and found.revision == 4
    slo = found.wanted[VM1].slo
    assert slo is not None and slo.floor(Metric.CPU) == 0.2
    assert (rig.board.status.mode, rig.board.status.revision, rig.board.status.intent_error) == ("enforce", 4, "")


def test_unknown_keys_are_ignored_and_an_unknown_metric_is_refused_for_that_slo_only(rig: Rig) -> None:
    body = intent_body(3, later={"a": [1]}, mode="sleep")
    body["slos"][VM1]["later"] = 1
    body["slos"][VM2] = {"revision": 2, "objectives": {"gpu": {"floor": 1}}}
    rig.api.intents = [ok(body)]
    rig.fetcher.step()
    found = rig.cloud.poll()
    assert found is not None and found.wanted[VM1].slo is not None
    assert found.wanted[VM2].slo is None and "gpu" in found.wanted[VM2].error and found.wanted[VM2].revision == 2
    assert rig.board.status.mode == ""


WRONG: list[Any] = [
    Answer(status=200, body=b"<html>"),
    Answer(status=200, body=b""),
    ok([]),
    ok({}),
    ok({"revision": 9}),
    ok(intent_body(9, slos=None)),
    ok(intent_body(9, slos={VM1: None})),
    ok(intent_body(9, host="host2")),
    ok(intent_body(-1)),
    ok(intent_body(2, slos={})),
    ok(intent_body(3, slos={})),
    Answer(status=302),
    Answer(status=304),
    *(error(status) for status in (400, 401, 404, 413, 429, 500, 503)),
    Unreachable("away"),
    NoCredential("no file"),
]


@pytest.mark.parametrize("wrong", WRONG)
def test_what_looks_wrong_changes_nothing_and_is_told(rig: Rig, wrong: Any) -> None:
    rig.api.intents = [ok(intent_body(3)), wrong, ok(intent_body(3))]
    rig.fetcher.step()
    before = rig.cloud.poll()
    assert rig.fetcher.step() == 1.0
    assert rig.cloud.poll() is before
    assert rig.board.status.intent_error and not rig.board.status.connected
    assert rig.fetcher.step() == 2.0
    assert rig.board.status.intent_error == ""


def test_an_older_database_is_doubted_also_after_a_restart_of_the_agent(rig: Rig) -> None:
    rig.api.intents = [ok(intent_body(417))]
    rig.fetcher.step()
    rig.cloud.__init__(rig.cloud._path)  # type: ignore[misc]  # as a new process would
    assert isinstance(rig.cloud, CloudSource)
    rig.api.intents = [ok(intent_body(416, slos={})), ok(intent_body(418, slos={})), ok(intent_body(419))]
    rig.fetcher.step()
    assert rig.cloud.revision == 417 and "417" in rig.board.status.intent_error
    rig.fetcher.step()
    assert rig.cloud.revision == 417, "it has caught up, and what it never knew looks withdrawn"
    rig.fetcher.step()
    assert rig.cloud.revision == 419 and rig.board.status.intent_error == ""
    rig.api.intents = [ok(intent_body(420, slos={}))]
    rig.fetcher.step()
    assert rig.cloud.revision == 420, "nobody doubts a withdrawal afterwards"


def test_it_backs_off_while_the_api_is_away_for_five_minutes(rig: Rig) -> None:
    rig.api.intents = [ok(intent_body(3), '"3"')]
    rig.fetcher.step()
    waited: list[float] = []
    while sum(waited) < 300:
        waited.append(rig.fetcher.step())
    assert waited[:6] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0] and max(waited) == 30.0
    rig.api.intents = [ok(intent_body(3), '"3"'), Answer(status=304)]
    assert [rig.fetcher.step(), rig.fetcher.step()] == [2.0, 2.0]
    assert rig.api.etags[-2:] == ["", '"3"'], "after a failure the whole is asked for"


def test_what_the_api_asks_of_the_link_reaches_it(rig: Rig) -> None:
    told: list[frozenset[str]] = []
    rig.board.watch = told.append
    watched = {VM1.upper(): 2e9, 7: 1, "x": "soon"}
    rig.api.intents = [
        ok(intent_body(3, report_seconds=7.5, watched=watched)),
        ok(intent_body(3, report_seconds=1e9, watched=[VM1])),
        ok(intent_body(3, report_seconds=0)),
        Unreachable("away"),
    ]
    intervals = []
    for _ in range(4):
        rig.fetcher.step()
        intervals.append(rig.board.report_seconds)
    assert intervals == [7.5, 60.0, 0.5, 0.5]
    assert told == [frozenset({VM1, "7", "x"}), frozenset(), frozenset(), frozenset()], "away: nobody can look"


def test_an_api_of_the_release_before_leaves_the_interval_of_that_release(rig: Rig) -> None:
    rig.api.intents = [ok(intent_body(3))]
    rig.fetcher.step()
    assert rig.board.report_seconds == 3.0 and rig.outbox.live.watched == frozenset()


def test_the_mode_is_kept_with_the_intent_and_stays_while_the_api_is_away(rig: Rig) -> None:
    rig.api.intents = [ok(intent_body(3, mode="observe")), Unreachable("away"), ok(intent_body(4, mode="dance"))]
    for _ in range(3):
        rig.fetcher.step()
        assert rig.cloud.mode == "observe"
    assert CloudSource(rig.cloud._path).mode == "observe"
    assert CloudSource(rig.cloud._path, keep_mode=False).mode == "", "without a link nobody could change it"
    rig.api.intents = [ok(intent_body(4, mode="maintenance"))]
    rig.fetcher.step()
    assert CloudSource(rig.cloud._path).mode == "maintenance"


@pytest.mark.parametrize(("told", "kept"), [(True, True), (False, False), (None, False), ("yes", False)])
def test_what_another_host_kept_is_known_as_that_after_a_restart_too(rig: Rig, told: object, kept: bool) -> None:
    """The release before does not say it, and one after this may say more."""
    body = intent_body(3)
    body["slos"][VM1]["accepted"] = told
    rig.api.intents = [ok(body)]
    rig.fetcher.step()
    for cloud in (rig.cloud, CloudSource(rig.cloud._path)):
        found = cloud.poll()
        assert found is not None and found.wanted[VM1].accepted is kept and found.wanted[VM1].slo is not None


def classed(revision: int, found: object) -> dict[str, Any]:
    body = intent_body(revision)
    body["slos"][VM1]["sla"] = found
    return body


def test_classes_are_told_and_asked_for_anew_when_their_period_ends(rig: Rig) -> None:
    now = int(rig.fetcher._wall())
    gold = {"name": "gold", "attainment_target_ratio": "0.999", "unknown": "ignored", "start": now - 60, "until": now}
    later = {**gold, "until": now + 60}
    rig.api.intents = [ok(classed(3, gold), '"3"'), ok(classed(3, later), '"4"'), Answer(status=304)]
    for _ in range(3):
        rig.fetcher.step()
    assert rig.api.etags == ["", "", '"4"']
    (known,) = rig.board.status.classes.values()
    assert (known.name, known.terms.target_ppm, known.terms.unknown) == ("gold", 999_000, Unknown.IGNORED)
    assert (known.start, known.end) == (now - 60, now + 60)


@pytest.mark.parametrize(
    "found",
    [None, "gold", {}, {"name": "gold", "attainment_target_ratio": "2", "start": 1, "until": 2}, {"name": "gold"}, 7],
)
def test_a_class_that_cannot_be_read_is_none_and_the_slo_is_followed(rig: Rig, found: object) -> None:
    rig.api.intents = [ok(classed(3, found))]
    rig.fetcher.step()
    assert rig.board.status.classes == {} and rig.cloud.poll() is not None and not rig.board.status.intent_error
