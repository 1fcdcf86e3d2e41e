"""What is deleted when, and that it changes no figure."""

import time

import pytest
from sqlalchemy import func, select

from stella.cmd import stella_manage
from stella.control.rollup import DAY_SECONDS, HOUR_SECONDS
from stella.db.models import (
    DecisionRow,
    Host,
    Instance,
    Minute,
    Point,
    RollUp,
    SloChange,
    SloRow,
    Table,
    ViolationRow,
)
from stella.engine.duties import DUTIES, rollups
from stella.model.report import StatusCounts
from tests.functional.conftest import BOTH_DATABASES, NOW, Cloud, uuid
from tests.functional.engines import run_duties
from tests.functional.ledger import DAY, Ledger, ledger

pytestmark = BOTH_DATABASES

VM = uuid(1)


def rows(cloud: Cloud, table: type[Table]) -> int:
    with cloud.database.reader() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def purge(cloud: Cloud, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, str]:
    capsys.readouterr()
    assert stella_manage.main(["--config-file", str(cloud.config_path), "db", "purge", *words]) == 0
    return dict(line.split(": ") for line in capsys.readouterr().out.splitlines())


def a_week_of_minutes(cloud: Cloud) -> Ledger:
    book = ledger(cloud)
    for day in range(7):
        starts = range(DAY - (day + 1) * DAY_SECONDS, DAY - day * DAY_SECONDS, 15 * 60)
        book.keep({start: StatusCounts(met=50, violated=start // 900 % 7) for start in starts})
    return book


def test_minutes_go_by_whole_rolled_up_hours_and_no_figure_changes(cloud: Cloud) -> None:
    book = a_week_of_minutes(cloud)
    cloud.clock.now = DAY + 40 * DAY_SECONDS - 3 * DAY_SECONDS + 90 * 60 + 3600  # 90 minutes into the fourth day
    run_duties(cloud, DUTIES)
    with cloud.database.reader() as session:
        assert session.scalar(select(func.min(Minute.start))) == DAY - 3 * DAY_SECONDS + 3600, "whole hours alone"
    assert rows(cloud, RollUp) == 7 * 24 + 7
    for first, last in ((-7, 0), (-7, -5), (-4, -1)):
        book.check(DAY + first * DAY_SECONDS, DAY + last * DAY_SECONDS)
    book.check(DAY - 5 * DAY_SECONDS + 7 * HOUR_SECONDS, DAY - 4 * DAY_SECONDS + HOUR_SECONDS)


def test_a_minute_of_an_hour_whose_minutes_are_gone_is_not_stored(cloud: Cloud) -> None:
    book = a_week_of_minutes(cloud)
    cloud.clock.now = DAY + 40 * DAY_SECONDS
    run_duties(cloud, DUTIES)
    kept = book.keep({DAY - 6 * DAY_SECONDS + 60: StatusCounts(met=1)})
    del book.rows[DAY - 6 * DAY_SECONDS + 60]
    assert kept.stored == 0 and "whole alone" in kept.ignored[0][1]
    book.check(DAY - 7 * DAY_SECONDS, DAY)


def test_a_report_tells_which_minutes_are_too_old(cloud: Cloud) -> None:
    host = cloud.host("host1")
    host.add(VM)
    old = int(NOW) // 60 * 60 - 41 * DAY_SECONDS
    minute = {"uuid": VM, "metric": "cpu", "counts": {"met": 60}}
    answer = host.report(minutes=[{**minute, "start": old}, {**minute, "start": old + 2 * DAY_SECONDS}]).json
    assert answer["stored_minutes"] == 1
    assert answer["ignored"] == [{"uuid": VM, "reason": "minutes: older than minutes are kept"}]


def test_hours_go_when_their_day_holds_them_and_days_after_years(cloud: Cloud) -> None:
    book = a_week_of_minutes(cloud)
    cloud.clock.now = DAY + 300
    run_duties(cloud, DUTIES)
    cloud.clock.now = DAY + (400 - 5) * DAY_SECONDS + 60
    run_duties(cloud, DUTIES)
    assert rows(cloud, RollUp) == 5 * 24 + 7
    book.check(DAY - 7 * DAY_SECONDS, DAY)
    cloud.clock.now = DAY + (1827 - 5) * DAY_SECONDS + 60
    run_duties(cloud, DUTIES)
    assert rows(cloud, RollUp) == 5


def add_history(cloud: Cloud, book: Ledger) -> None:
    """A point, a decision, violations and changes of SLOs of 500 days ago, and the same of today."""

    def add(session: object) -> None:
        instance, host = book.instance_id, book.host_id
        made: list[Table] = []
        for number, at in enumerate((DAY - 500.0 * DAY_SECONDS, float(DAY))):
            common = {"user_id": "u", "request_id": "r"}
            made.append(Point(instance_id=instance, at=int(at), objectives="[]"))
            made.append(DecisionRow(decided_at=at, kind="host_mode", reason="x", **common))
            change = {"instance_id": instance, "changed_at": at, "remote_address": "", **common}
            made += [SloChange(generation=2 * number + n, before=None, after="{}", **change) for n in (1, 2)]
            for n, closed in enumerate((at + 5, at + 9, None)):
                made.append(
                    ViolationRow(
                        host_id=host,
                        reported_id=f"{number}-{n}",
                        instance_id=instance,
                        metric=("cpu", "cpu", "block_bytes")[n],
                        opened_at=at + n,
                        closed_at=closed,
                    )
                )
        session.add_all(made)  # type: ignore[attr-defined]
        session.add(  # type: ignore[attr-defined]
            SloRow(
                instance_id=instance,
                generation=2,
                revision=1,
                objectives='{"cpu": {"floor": 0.1}, "block_bytes": {"floor": 1}}',
                reserved_cpu_cores=0.1,
                state="enforced",
                changed_at=DAY - 500.0 * DAY_SECONDS,
            )
        )

    cloud.database.write(add)


def test_history_is_kept_for_a_year_and_what_is_in_force_for_longer(cloud: Cloud) -> None:
    book = ledger(cloud)
    add_history(cloud, book)
    with cloud.database.reader() as session:
        before = session.get_one(Host, book.host_id)
    cloud.clock.now = DAY + 60.0
    run_duties(cloud, DUTIES)
    assert rows(cloud, Point) == 1 and rows(cloud, DecisionRow) == 1 and rows(cloud, SloRow) == 1
    with cloud.database.reader() as session:
        assert sorted(session.scalars(select(SloChange.generation))) == [2, 3, 4], "2 set what is in force"
        left = sorted(session.scalars(select(ViolationRow.reported_id)))
        host = session.get_one(Host, book.host_id)
        assert session.get(Instance, book.instance_id) is not None
    assert left[-3:] == ["1-0", "1-1", "1-2"] and "0-0" not in left and "0-1" not in left
    assert (host.generation, host.intent_revision) == (before.generation, before.intent_revision)


def test_purge_by_hand_prints_what_it_deletes(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    book = a_week_of_minutes(cloud)
    add_history(cloud, book)
    cloud.clock.now = DAY + 300.0
    run_duties(cloud, (rollups.DUTY,))
    minutes, decisions = rows(cloud, Minute), rows(cloud, DecisionRow)
    path = cloud.config_path  # the command asks the machine's clock, whatever year it is
    path.write_text(path.read_text() + "[engine]\nhour_retention_days = 36500\nday_retention_days = 36500\n")
    since = int(time.time() - DAY) // DAY_SECONDS
    kept = purge(cloud, capsys, "--dry-run", "--older-than", str(since + 400))
    assert kept["decisions"] == "1 would be deleted" and kept["minutes"] == "0 would be deleted"
    assert rows(cloud, DecisionRow) == decisions and rows(cloud, Minute) == minutes
    would = purge(cloud, capsys, "--dry-run", "--older-than", str(since + 2))
    did = purge(cloud, capsys, "--older-than", str(since + 2))
    counts = {name: int(text.split()[0]) for name, text in did.items()}
    assert counts == {name: int(text.split()[0]) for name, text in would.items()}
    assert 0 < counts["minutes"] < minutes and counts["decisions"] == 1 and counts["hours"] == 0
    assert rows(cloud, Minute) == minutes - counts["minutes"]
    assert rows(cloud, DecisionRow) == decisions - counts["decisions"]
    again = purge(cloud, capsys, "--older-than", str(since + 2))
    assert {text.split()[0] for text in again.values()} == {"0"}
    book.check(DAY - 7 * DAY_SECONDS, DAY)


@pytest.mark.parametrize("days", ["0", "-1", "x", "99999999", "1.5"])
def test_purge_by_hand_refuses_nonsense(cloud: Cloud, days: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        stella_manage.main(["--config-file", str(cloud.config_path), "db", "purge", "--older-than", days])
    assert stopped.value.code == 2 and "--older-than" in capsys.readouterr().err
