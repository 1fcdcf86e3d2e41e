"""Percentiles, counts, tables, and what becomes of a must."""

import json
import math
from pathlib import Path

import pytest

from stella.bench.scale import results
from stella.bench.scale.arguments import add_to
from stella.bench.scale.results import Must, Outcome
from stella.bench.scale.timings import Timings, percentile, spread
from stella.cmd.stella_bench import parser


@pytest.mark.parametrize(("ratio", "expected"), [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_percentile_is_the_nearest_rank(ratio: float, expected: float) -> None:
    assert percentile([float(n) for n in range(1, 101)], ratio) == expected


def test_spread_of_few_and_of_none() -> None:
    assert spread([3.0, 1.0, 2.0]).p99_seconds == 3.0 and spread([3.0, 1.0, 2.0]).p50_seconds == 2.0
    none = spread([])
    assert none.count == 0 and math.isnan(none.p99_seconds)


def test_nothing_counts_before_the_begin_and_after_the_end() -> None:
    timings = Timings()
    timings.answered("a", 200, 9.0)
    timings.begin()
    timings.answered("a", 200, 1.0)
    timings.answered("a", 503, 2.0, 0.5)
    timings.failed("b", "timed out")
    timings.end()
    timings.answered("a", 500, 9.0)
    assert timings.kinds["a"].count == 2 and timings.all.max_seconds == 2.0
    assert timings.count_status(500, 599) == 1 and timings.unexpected((200,)) == {"a 503": 1}
    assert timings.errors == {"b: timed out": 1} and max(timings.lags) == 0.5


@pytest.mark.parametrize("kept", [True, False])
def test_a_must_that_is_short_is_shown_so(tmp_path: Path, kept: bool) -> None:
    outcome = Outcome(
        command="load",
        settings={"hosts": 3},
        tables={"load": [results.row("poll", spread([0.001, 0.002])), {"what": "other", "per_second": 7}]},
        facts={"cores": "both"},
        musts=[Must(text="fast", kept=True, seen="1 ms"), Must(text="no 5xx", kept=kept, seen="2")],
    )
    path = results.write(tmp_path, outcome, results.machine())
    text = path.with_suffix(".txt").read_text()
    assert outcome.kept is kept
    assert ("SHORT  no 5xx: 2" in text) is not kept and "kept   fast: 1 ms" in text
    assert "2.0" in text and "cores: both" in text
    document = json.loads(path.read_text())
    assert document["tables"]["load"][0]["p99_ms"] == 2.0 and document["musts"][1]["kept"] is kept


def test_what_is_not_known_is_null_and_not_a_number_that_json_has_not() -> None:
    assert results.row("none", spread([]))["p99_ms"] is None


def test_the_command_line_has_the_three_figures() -> None:
    top = parser()
    assert top.parse_args(["scale", "load", "--hosts", "7"]).hosts == 7
    assert top.parse_args(["scale", "admission", "--hosts", "1,20"]).hosts == (1, 20)
    assert top.parse_args(["scale", "link"]).changes == 100
    for wrong in (["admission", "--hosts", "20,1"], ["load", "--hosts", "0"], ["link", "--database", "oracle"]):
        with pytest.raises(SystemExit):
            top.parse_args(["scale", *wrong])
    assert callable(add_to)
