"""`python -m tests.openstack.outages [OUTAGE...]`: stops or kills services of the laboratory, one after the other, and measures.

A plain member's server sends packets and has a floor for them; others keep the host's CPUs busy. The floor is measured at the
tap. Needs root, and `make openstack` of this checkout; nobody else should use the laboratory meanwhile. Each outage takes about 2
minutes.
Exit codes: 0 every floor held and nothing was lost; 1 not so.
"""

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence

import pytest
from keystoneauth1.exceptions import ClientException
from laboratory import settings as laboratory_settings
from laboratory.enclosure import Enclosure
from laboratory.services import Services
from laboratory.settings import LaboratoryError

from tests.openstack.conftest import Failed, Person, eventually
from tests.openstack.outages.guests import Counter, Guest, delete, sink
from tests.openstack.outages.state import Cloud
from tests.openstack.outages.trial import KILLED, OUTAGES, STOPPED, Outcome, Setting, run

NAMES = ("outage-slo", "outage-hog-1", "outage-hog-2", "outage-hog-3")
"""The server with the floor, and those that keep the host busy."""

FLOORS = (3000, 2000, 1000, 500)
"""Packets/s; the largest that the host guarantees now is used: a busy machine has less to guarantee."""

LOAD_RATIO = 1.3
_ADMITTED_SECONDS = 120.0
_ANSWER_SECONDS = 90.0
_LEFT_SECONDS = 150.0
_HEADINGS = ("outage", "before", "during", "after", "recovered", "unknown", "verdict")


def say(text: str) -> None:
    """One line on standard output, at once."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def set_slo(member: Person, uuid: str, floor: int, limit_seconds: float) -> None:
    """As a member does, who gives up after ``limit_seconds``. Raises `Failed`."""
    began = time.monotonic()
    flags = ("--net-pps", str(floor), "--wait", "--timeout", "30")
    try:
        member.run("timeout", f"{limit_seconds:.0f}", "openstack", "slo", "set", "--server", uuid, *flags)
    except Failed as error:
        if time.monotonic() - began >= limit_seconds:
            raise Failed(f"no answer within {limit_seconds:.0f} s") from None
        raise Failed(str(error)) from None


def _largest_floor(member: Person, uuid: str) -> int:
    """Set the largest floor that is accepted; it is tried for two minutes, for a host must first report a server."""

    def ask() -> int | str:
        said = ""
        for floor in FLOORS:
            try:
                set_slo(member, uuid, floor, _ANSWER_SECONDS)
            except Failed as error:
                said = str(error)
            else:
                return floor
        return said

    return int(eventually(ask, lambda answer: isinstance(answer, int), seconds=_ADMITTED_SECONDS))


@contextlib.contextmanager
def _stage(admin: Person, member: Person) -> Iterator[Setting]:
    """Two servers under load, one with a floor."""
    found = laboratory_settings.load(make=False)
    enclosure = Enclosure(found) if found else None
    holder = enclosure.holder if enclosure else None
    if enclosure is None or holder is None:
        raise LaboratoryError("no laboratory of this checkout is up: make openstack")
    with contextlib.ExitStack() as stack:
        stack.enter_context(sink(enclosure))
        delete(member, NAMES)  # left by a run that was killed
        stack.callback(delete, member, NAMES)
        guests = [Guest(member, enclosure, name) for name in NAMES]
        for guest in guests:
            stack.callback(guest.close)
            guest.create("small")
        sender, *hogs = guests
        counter = Counter(holder, sender.tap())
        stack.callback(counter.close)
        floor = _largest_floor(member, sender.uuid)
        sender.send_packets(LOAD_RATIO * floor)
        for hog in hogs:
            hog.burn(threads=1)
        say(
            f"floor {floor} packets/s for {sender.uuid}; load {LOAD_RATIO:g} times that, {len(hogs)} busy vCPUs beside it"
        )
        counter.await_rate(floor)
        yield Setting(
            services=Services(enclosure),
            cloud=Cloud(admin),
            counter=counter,
            member=member,
            uuid=sender.uuid,
            floor=floor,
            set_slo=lambda value, limit_seconds: set_slo(member, sender.uuid, value, limit_seconds),
        )


def _row(outcome: Outcome) -> Sequence[str]:
    recovered = "not" if outcome.recovered_seconds is None else f"{outcome.recovered_seconds:.0f} s"
    unknown = "-" if outcome.unknown_seconds is None else f"{outcome.unknown_seconds} s"
    shown = (outcome.before.text, outcome.during.text, outcome.after.text)
    return (outcome.name, *shown, recovered, unknown, "held" if outcome.passed else "NOT")


def table(rows: Sequence[Sequence[str]]) -> str:
    """As Markdown."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _left(cloud: Cloud, uuid: str) -> str:
    """What Placement still holds for a server that was deleted, after it had time to go."""
    limit = time.monotonic() + _LEFT_SECONDS
    while held := cloud.holdings(uuid):
        if time.monotonic() > limit:
            return f"still in Placement after {_LEFT_SECONDS:.0f} s: {held}"
        time.sleep(2)
    return ""


def _try(name: str, setting: Setting, given: argparse.Namespace) -> Outcome | None:
    """One outage, told as it goes; None where the trial itself failed."""
    stop = given.stop or name in STOPPED
    how = f"stopped for {given.seconds:.0f} s" if stop else "killed and started again"
    say(f"{name}: {how} (1-minute load {os.getloadavg()[0]:.1f})")
    try:
        found = run(name, setting, away_seconds=given.seconds if stop else None, watch_seconds=given.watch)
    except (Failed, LaboratoryError, ClientException, AssertionError) as error:
        say(f"{name}: the trial itself failed: {' '.join(str(error).split())[:300]}")
        return None
    if found.meanwhile != "not asked":
        say(f"{name}: an SLO set meanwhile was {found.meanwhile}")
    for each in found.wrong:
        say(f"{name}: {each}")
    say(" | ".join(_row(found)))
    return found


def _run(given: argparse.Namespace) -> int:
    admin, member = Person("openstack.env"), Person("member.env")
    outcomes: list[Outcome | None] = []
    try:
        with _stage(admin, member) as setting:
            for name in given.outages or OUTAGES:
                outcomes.append(_try(name, setting, given))
        left = _left(Cloud(admin), setting.uuid)
    finally:  # what was measured is told, also of a run that was ended
        print("\nseconds below 95 % of the floor / seconds, and the longest time below it in one piece")
        print(table([_HEADINGS, *(_row(outcome) for outcome in outcomes if outcome)]), flush=True)
    print(left or "Nothing is left in Placement of the deleted server.")
    return int(bool(left) or not all(outcome and outcome.passed for outcome in outcomes))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the outages."""
    parser = argparse.ArgumentParser(prog="tests.openstack.outages", description="Outages in the laboratory.")
    parser.add_argument(
        "outages",
        nargs="*",
        metavar="OUTAGE",
        help=f"of {', '.join(STOPPED)} (stopped for a while), {', '.join(KILLED)} (killed and started again); default: all",
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long a service is stopped (60)")
    parser.add_argument("--watch", type=float, default=20.0, help="seconds that are measured before and after (20)")
    parser.add_argument(
        "--stop", action="store_true", help="stop all for a while, also those that are killed otherwise"
    )
    given = parser.parse_args(arguments)
    if unknown := sorted(set(given.outages) - set(OUTAGES)):
        parser.error(f"{unknown[0]!r} is none of {', '.join(OUTAGES)}")
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))  # so that what was stopped is started again
    try:
        return _run(given)
    except (Failed, LaboratoryError, ClientException, AssertionError, pytest.fail.Exception) as error:
        print(f"outages: {' '.join(str(error).split())[:500]}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
