"""How often hosts ask: any number of them is a load that the server bears."""

import pytest

from stella import conf
from stella.api.intervals import HostCount, choose


@pytest.mark.parametrize("hosts", [1, 50, 200, 900])
def test_all_hosts_together_stay_below_the_bound(hosts: int) -> None:
    link = conf.load([], logging=False).link
    chosen = choose(link, hosts=hosts, has_pending=False)
    assert hosts / chosen.poll_seconds <= link.largest_polls_per_second * 1.001
    assert hosts / chosen.report_seconds <= link.largest_reports_per_second * 1.001


def test_few_hosts_ask_as_often_as_configured_and_many_never_less_than_keeps_them_from_silence() -> None:
    link = conf.load([], logging=False).link
    few, many = (choose(link, hosts=count, has_pending=False) for count in (50, 100_000))
    assert (few.poll_seconds, few.report_seconds) == (0.5, link.report_seconds)
    assert few.poll_seconds <= 0.5
    assert (many.poll_seconds, many.report_seconds) == (60.0, link.silent_seconds / 3)
    assert choose(link, hosts=1000, has_pending=True).poll_seconds == link.pending_poll_seconds


def test_hosts_are_counted_now_and_then_and_again_after_a_step_of_the_clock() -> None:
    now, counted = [100.0], [0]

    def count() -> int:
        counted[0] += 1
        return counted[0]

    known = HostCount(count, lambda: now[0])
    assert [known(), known()] == [1, 1]
    now[0] += 11
    assert known() == 2
    now[0] -= 1000
    assert known() == 3
