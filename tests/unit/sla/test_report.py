"""A month by hand: one class, four instances; and the same again from the file alone."""

import copy
import json
from typing import Any

import pytest

from stella.model.report import StatusCounts
from stella.sla import exact, periods, report, terms
from stella.sla.recompute import InvalidReport, recompute
from stella.sla.report import ObjectiveRow, Subject

TERMS = terms.parse(
    {
        "attainment_target_ratio": "0.999",
        "credits": [{"below_ratio": "0.999", "credit_ratio": "0.1"}, {"below_ratio": "0.99", "credit_ratio": "0.25"}],
        "price": {"amount": "49.90", "currency": "EUR"},
    }
)
PERIOD = periods.month("2026-11", periods.zone("Asia/Seoul"))
SUBJECT = Subject(
    sla_uuid="5" * 8, sla_name="gold", generation=1, time_zone="Asia/Seoul", project_id="p1", period=PERIOD,
    until=PERIOD.end, final=True,
)  # fmt: skip
EXCLUSION = {"id": 1, "kind": "maintenance", "reason": "kernel", "author": "op", "withdrawn_at": None}
CORRECTION = {"id": 1, "uuid": "a", "metric": "cpu", "reason": "r", "author": "op", "withdrawn_at": None}


def row(uuid: str, metric: str = "cpu", excluded: dict[int, StatusCounts] | None = None, **counts: int) -> ObjectiveRow:
    return ObjectiveRow(
        uuid=uuid,
        name=f"vm-{uuid}",
        project_id="p1",
        metric=metric,
        counts=StatusCounts(**counts),
        excluded=excluded or {},
    )


ROWS = [
    # as measured 1500 of 1 000 000 s were missed, 0.9985: below 0.999. 600 of them were in the maintenance: 900 of 999 400 are left,
    # 0.999099, met. The correction counts 200 met seconds as violated: 1100 of 999 400, 0.998899 (cut off), 10 % of 49.90.
    row("a", met=998_500, violated=1_200, degraded=300, self_limited=77, no_demand=5, excluded={1: StatusCounts(violated=600)}),
    row("b", no_demand=2_592_000),  # zero demand: no attainment, nothing owed
    row("c", unknown=2_592_000),  # all unknown, against the provider: nothing met, 25 %: 12.475, rounded up to 12.48
    row("d", met=1_000_000),
    row("d", "block_bytes", met=999, violated=1),  # just met: 1 of 1000 is allowed
    row("e", met=500, violated=1),  # 1 of 501, allowed 0: 0.998003
    row("e", "network_bytes", met=90, violated=10),  # the worst: 0.9, 25 %
]  # fmt: skip


def made(**changes: Any) -> dict[str, Any]:
    correction = {**CORRECTION, "seconds": 200, "source": "met", "target": "violated"}
    given: dict[str, Any] = {"rows": ROWS, "exclusions": [EXCLUSION], "corrections": [correction], **changes}
    return report.assemble(SUBJECT, TERMS, given["rows"], given["exclusions"], given["corrections"])


def test_a_month_by_hand() -> None:
    found = made()
    results = {result["uuid"]: result for result in found["results"]}
    (cpu,) = results["a"]["objectives"]
    assert cpu == {
        "metric": "cpu",
        "attainment_ratio": "0.998899",
        "attainment_ratio_measured": "0.998500",
        "attainment_ratio_without_exclusions": "0.999099",
        "met_seconds": 998_300,
        "missed_seconds": 1_100,
        "allowed_seconds": 999,
        "unknown_seconds": 0,
        "own_limits_seconds": 77,
        "is_met": False,
    }
    told = {
        uuid: (r["attainment_ratio"], r["is_met"], r["credit_ratio"], r["credit_ratio_measured"], r["credit_amount"])
        for uuid, r in results.items()
    }
    assert told == {
        "a": ("0.998899", False, "0.1", "0.1", "4.99"),
        "b": (None, True, "0", "0", "0.00"),
        "c": ("0.000000", False, "0.25", "0.25", "12.48"),
        "d": ("0.999000", True, "0", "0", "0.00"),
        "e": ("0.900000", False, "0.25", "0.25", "12.48"),
    }
    assert found["totals"] == {
        "instances": 5,
        "instances_missed": 3,
        "instances_credited": 3,
        "met_seconds": 998_300 + 1_000_000 + 999 + 500 + 90,
        "missed_seconds": 1_100 + 2_592_000 + 1 + 1 + 10,
        "attainment_ratio": "0.435420",  # 1 999 889 of 4 593 001
        "attainment_ratio_measured": "0.435407",  # 2 000 089 of 4 593 601
        "credit_amount": "29.95",
        "currency": "EUR",
    }
    assert found["period"]["start"] == "2026-10-31T15:00:00Z" and found["period"]["end"] == "2026-11-30T15:00:00Z"


def test_without_and_with_what_is_withdrawn() -> None:
    assert made(corrections=[])["results"][0]["credit_ratio"] == "0"
    withdrawn = {"withdrawn_at": "2026-12-01T00:00:00Z"}
    (first, *_) = made(corrections=[], exclusions=[EXCLUSION | withdrawn])["results"]
    assert (first["attainment_ratio"], first["credit_ratio"]) == ("0.998500", "0.1")
    correction = {**CORRECTION, "seconds": 200, "source": "met", "target": "violated"}
    assert made(corrections=[correction | withdrawn])["results"] == made(corrections=[])["results"]


def test_unknown_seconds_that_are_ignored() -> None:
    ignoring = terms.parse({**terms.show(TERMS), "unknown": "ignored"})
    found = report.assemble(SUBJECT, ignoring, [row("c", met=10, unknown=90)], [], [])
    assert found["results"][0]["attainment_ratio"] == "1.000000"
    assert found["results"][0]["objectives"][0]["unknown_seconds"] == 90, "told apart, never silent"


def test_the_same_again_bit_for_bit_and_what_was_changed_is_found() -> None:
    text = json.dumps(made(), indent=3)
    found = recompute(json.loads(text))
    assert found.differences == () and found.totals["credit_amount"] == "29.95"
    forged = json.loads(text)
    forged["results"][0]["credit_amount"] = "0.00"
    assert [d.partition(":")[0] for d in recompute(forged).differences] == ["sha256", "results of a"]
    forged = json.loads(text)
    forged["rollups"][0]["seconds"]["violated"] -= 600
    forged.pop("sha256")
    forged["sha256"] = exact.digest(forged)
    assert [d.partition(":")[0] for d in recompute(forged).differences] == ["results of a", "totals"]


def test_order_does_not_matter() -> None:
    assert made(rows=ROWS[::-1]) == made()


def test_an_empty_month() -> None:
    found = made(rows=[], exclusions=[], corrections=[])
    assert found["results"] == [] and found["totals"]["credit_amount"] == "0.00"
    assert found["totals"]["attainment_ratio"] is None and recompute(found).differences == ()


@pytest.mark.parametrize(
    "change",
    [
        None,
        [],
        "text",
        {},
        {"format": "stella-sla-report/1"},
        {"terms": {"attainment_target_ratio": "2"}},
        {"terms": 1},
        {"rollups": [1]},
        {"rollups": [{"uuid": "a"}]},
        {"results": 5},
        {"totals": {"a": 0.5}},
        {"exclusions": [{}]},
        {"corrections": None},
    ],
)
def test_what_is_no_report(change: object) -> None:
    given: object = change
    if isinstance(change, dict) and "format" not in change and change:
        given = copy.deepcopy(made()) | change
    with pytest.raises(InvalidReport) as error:
        recompute(given)
    assert "\n" not in str(error.value)
