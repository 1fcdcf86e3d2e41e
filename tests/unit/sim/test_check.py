"""`stella-sim check`: the verdict over cases, its table, one case in words, and what it refuses."""

from dataclasses import replace

import pytest

from stella.cmd import stella_sim
from stella.sim import telling
from stella.sim.cases import Case, Event, case
from stella.sim.check import PROPERTIES, Pair, Result, broken, table
from stella.sim.instance import InstanceSpec
from stella.sim.loads import compute

GOOD = Result(
    seed=1,
    cores=2,
    held_ratio=1.0,
    changes_per_minute=0.0,
    wasted_ratio=0.0,
    best_effort_ratio=1.0,
    pair=Pair(uuid="a", having=2, without=1),
)
BAD = replace(GOOD, seed=7, held_ratio=0.5, wasted_ratio=0.2)


def test_what_lies_within_the_limits_holds() -> None:
    assert broken(GOOD) == ()
    assert broken(replace(GOOD, pair=None)) == ()
    assert broken(replace(GOOD, held_ratio=0.97, changes_per_minute=6.0)) == ()


def test_what_does_not_is_named() -> None:
    assert [each.name for each in broken(BAD)] == [PROPERTIES[0].name, PROPERTIES[2].name]


def test_an_instance_that_is_slower_for_its_slo_is_found() -> None:
    slower = replace(GOOD, pair=Pair(uuid="a", having=0.9, without=1.0))
    assert [each.name for each in broken(slower)] == [PROPERTIES[4].name]
    assert Pair(uuid="a", having=0.0, without=0.0).ratio == 1.0


def test_the_table_names_the_worst_seed_for_each_number_of_cpus() -> None:
    lines = list(table([GOOD, BAD, replace(GOOD, seed=3, cores=16)]))
    assert len(lines) == 1 + 2 * len(PROPERTIES)
    assert lines[1].split()[-9:] == ["2", "2", "0.750", "0.500", "7", "no:", "1", "do", "not"]
    assert lines[2].split()[-6:] == ["16", "1", "1.000", "1.000", "3", "yes"]


def small(seed: int, cores: int) -> Case:
    """Two seconds of a host on which everything happens at once."""
    made = case(seed, cores)
    late = InstanceSpec(uuid="late", name="late", loads=(compute(1),))
    here = made.instances[:3]
    known = [e for e in made.events if e.slo is not None and e.uuid in {spec.uuid for spec in here}]
    arrival = Event(at_seconds=1.0, what="late arrives", uuid="late", arrives=late)
    return replace(made, seconds=3.0, instances=here, events=(arrival, *known))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stella.sim.check.case", small)
    monkeypatch.setattr(telling, "case", small)


@pytest.mark.usefixtures("short")
def test_one_seed_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert stella_sim.main(["check", "--seed", "3", "--cpus", "2"]) in (0, 1)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "seed 3: a host of 2 CPUs for 3 s, a tick every 0.25 s"
    assert any("late arrives" in line for line in said)
    assert [line.partition(":")[0] for line in said[-len(PROPERTIES) :]] == [each.name for each in PROPERTIES]


@pytest.mark.usefixtures("short")
def test_seeds_are_told_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert stella_sim.main(["check", "--seeds", "2", "--cpus", "2,3,2"]) in (0, 1)
    assert len(capsys.readouterr().out.splitlines()) == 1 + 2 * len(PROPERTIES)


def test_the_command_succeeds_when_all_holds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stella_sim, "results", lambda _seeds, _cpus, **_: iter([GOOD]))
    assert stella_sim.main(["check"]) == 0
    assert capsys.readouterr().err == ""


def test_a_property_that_does_not_hold_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stella_sim, "results", lambda _seeds, _cpus, **_: iter([GOOD, BAD]))
    assert stella_sim.main(["check", "--seeds", "2", "--cpus", "2"]) == stella_sim.FAILED
    assert capsys.readouterr().err.splitlines()[0] == f"seed 7, 2 CPUs: {PROPERTIES[0].name}: 0.500, not >= 0.97"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seeds", "0"], "--seeds"),
        (["--seed", "-1"], "--seed"),
        (["--cpus", "2,"], "--cpus"),
        (["--cpus", "0"], "--cpus"),
        (["--cpus", "2;16"], "--cpus"),
        (["--cpus", "100000"], "--cpus"),
        (["--seed", "1", "--seeds", "2"], "not allowed with"),
    ],
)
def test_wrong_usage_is_refused_in_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        stella_sim.main(["check", *arguments])
    assert ended.value.code == stella_sim.USAGE
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
